"""The as-run log as CSV, as evidence of what was aired."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from django.db.models import Q
from django.utils.dateparse import parse_date, parse_datetime

from media_library.playlists.m3u_csv import harmless
from streams.models import AsRun, Channel

#: The default span of an export.
SPAN: Final = timedelta(days=7)
COLUMNS: Final = (
    "started_at", "ended_at", "seconds", "title", "key", "kind", "rule", "why", "ending",
    "cause", "in_point_seconds", "run",
)  # fmt: skip
#: Rows per batch.
CHUNK: Final = 1000


class SpanError(ValueError):
    """An invalid span. `str()` of it is a sentence for the person who typed it."""


def span(begins: str, ends: str, *, now: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Parse two texts: dates, which count as whole days, or times, in `zone` by default.

    An empty end is now; an empty start is `SPAN` before the end. Raises `SpanError`.
    """
    until = _moment(ends, zone, late=True) if ends else now
    try:
        since = _moment(begins, zone, late=False) if begins else until - SPAN
    except OverflowError:
        raise SpanError(f"{ends!r} is too early: nothing was aired at that time.") from None
    if not ends and since >= now:
        raise SpanError("The start is in the future: nothing has been aired yet.")
    if until <= since:
        raise SpanError("The end is not after the start: swap them.")
    return since, until


def _moment(text: str, zone: ZoneInfo, *, late: bool) -> datetime:
    try:
        day = parse_date(text)
        moment = None if day is not None else parse_datetime(text)
        if day is not None:
            return _midnight(day + timedelta(days=late), zone)
        if moment is not None:
            local = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
            return local.astimezone(UTC)
    except (ValueError, OverflowError):
        # Such as 2026-02-30: the format is right, but the day does not exist.
        pass
    raise SpanError(f"{text!r} is not a time. Write it as 2026-03-01 or 2026-03-01T20:15.")


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


class _Line:
    """A file object for `csv` that returns each written line."""

    def write(self, line: str) -> str:
        return line


def lines(channel: Channel, since: datetime, until: datetime) -> Iterator[str]:
    """Yields the CSV line by line, oldest first: entries on air within the span.

    No cell is executed as a formula by a spreadsheet.
    """
    writer = csv.writer(_Line())
    yield writer.writerow(COLUMNS)
    for row in _rows(channel, since, until):
        yield writer.writerow([harmless(cell) for cell in _cells(row)])


def _rows(channel: Channel, since: datetime, until: datetime) -> Iterator[AsRun]:
    """Yields the rows in batches: a slow reader holds no transaction open."""
    rows = (
        AsRun.objects.filter(run__channel=channel, started_at__lt=until)
        .filter(Q(ended_at__isnull=True) | Q(ended_at__gt=since))
        .select_related("item")
        .order_by("started_at", "pk")
    )
    some = list(rows[:CHUNK])
    while some:
        yield from some
        last = some[-1]
        behind = Q(started_at__gt=last.started_at) | Q(
            started_at=last.started_at, pk__gt=last.pk
        )
        some = list(rows.filter(behind)[:CHUNK]) if len(some) == CHUNK else []


def _cells(row: AsRun) -> tuple[str, ...]:
    seconds = "" if row.ended_at is None else (row.ended_at - row.started_at).total_seconds()
    return (
        _iso(row.started_at),
        _iso(row.ended_at),
        "" if seconds == "" else f"{seconds:.3f}",
        row.title,
        row.item.key if row.item else "",
        row.kind,
        row.rule,
        row.why,
        row.ending,
        row.cause,
        f"{row.in_point:.3f}",
        str(row.run_id),
    )


def _iso(moment: datetime | None) -> str:
    if moment is None:
        return ""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
