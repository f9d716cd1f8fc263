"""The uptime as CSV: a line for each day of a channel and of its outputs, or its incidents."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from django.db.models import Q

from media_library.playlists.m3u_csv import harmless
from streams.models import Channel, Incident
from streams.monitoring.uptime import page, timeline
from streams.monitoring.uptime.figures import airs, channels
from streams.monitoring.uptime.tally import figures

DAY_COLUMNS: Final = (
    "day", "output", "percent", "ordered_seconds", "on_air_seconds", "off_air_seconds",
    "planned_seconds", "degraded_seconds", "unknown_seconds", "incidents", "longest_seconds",
    "longest_on_air_seconds", "mean_time_to_recovery_seconds",
)  # fmt: skip
INCIDENT_COLUMNS: Final = (
    "opened_at", "closed_at", "seconds", "severity", "subject", "output", "cause",
)  # fmt: skip


class _Line:
    """A file object for `csv` that returns each written line."""

    def write(self, line: str) -> str:
        return line


def days(channel: Channel, now: datetime) -> Iterator[str]:
    """Yields the last 90 days line by line. No cell is executed as a formula."""
    writer = csv.writer(_Line())
    yield writer.writerow(DAY_COLUMNS)
    rows = channels(slug=channel.slug)
    for one in airs(rows, page.since(rows, now), now):
        parts = [("", one.air), *((output.name, air) for output, air in one.outputs)]
        for day, span in timeline.local_days(channel.zone, now, timeline.DAYS):
            for name, air in parts:
                day_figures = figures(air, span)
                cells = (getattr(day_figures, column) for column in DAY_COLUMNS[2:])
                line = (
                    day.isoformat(),
                    name,
                    *("" if cell is None else cell for cell in cells),
                )
                yield writer.writerow([harmless(str(cell)) for cell in line])


def incidents(channel: Channel, now: datetime) -> Iterator[str]:
    """Yields the incidents of the last 90 days line by line, oldest first."""
    writer = csv.writer(_Line())
    yield writer.writerow(INCIDENT_COLUMNS)
    since = page.since([channel], now)
    rows = Incident.objects.filter(Q(closed_at=None) | Q(closed_at__gt=since), channel=channel)
    rows = rows.select_related("output").defer("output__key", "output__secret_query")
    for row in rows.order_by("opened_at", "pk").iterator(chunk_size=1000):
        seconds = (row.closed_at - row.opened_at).total_seconds() if row.closed_at else ""
        line = (
            _iso(row.opened_at), _iso(row.closed_at), seconds, row.severity, row.subject,
            row.output.name if row.output else "", row.cause,
        )  # fmt: skip
        yield writer.writerow([harmless(str(cell)) for cell in line])


def _iso(moment: datetime | None) -> str:
    if moment is None:
        return ""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
