"""The recent history for the channel's page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import QuerySet

from streams.models import AsRun, Channel, Incident, Sample
from streams.playout.ffmpeg import process

#: Rows per table on the channel's page; the admin's lists show the rest.
ROWS: Final = 12
#: The span of the bit rate curves. Samples are taken every ten seconds.
SPAN: Final = timedelta(minutes=15)
#: A process whose last sample is older has ended; a player is sampled once a minute.
GONE: Final = timedelta(seconds=30)
PLAYER_GONE: Final = timedelta(seconds=90)

#: Units of the curve's drawing area.
WIDTH: Final = 120
HEIGHT: Final = 24


@dataclass(frozen=True, slots=True)
class Process:
    """A process's last sample and its bit rate over `SPAN`."""

    role: str
    last: Sample
    #: Points of an SVG polyline in `WIDTH` × `HEIGHT`; empty: too few samples.
    curve: str


@dataclass(frozen=True, slots=True)
class Stretch:
    incident: Incident
    seconds: float


def of(channel: Channel, now: datetime) -> dict[str, Any]:
    """Returns the context of `streams/panels.html`."""
    incidents: QuerySet[Incident] = channel.incidents.select_related("output")
    # Problems that keep an item off the air come first.
    open_ones = channel.upcoming_problems.filter(cleared_at=None).order_by(
        "soft", "airs_at", "pk"
    )
    problems = list(open_ones[: ROWS + 1])
    return {
        "channel": channel,
        "upcoming_problems": problems[:ROWS],
        "upcoming_problems_left": open_ones.count() - ROWS if len(problems) > ROWS else 0,
        "processes": processes(channel, now),
        "block_names": dict(channel.blocks.values_list("pk", "name")),
        "as_run": AsRun.objects.filter(run__channel=channel)[:ROWS],
        "incidents": [
            Stretch(incident, incident.lasted(now).total_seconds())
            for incident in incidents[:ROWS]
        ],
        "curve_box": f"0 0 {WIDTH} {HEIGHT}",
    }


def processes(channel: Channel, now: datetime) -> list[Process]:
    by_role: dict[str, list[Sample]] = {}
    samples = channel.samples.filter(at__gt=now - SPAN).select_related("output").order_by("at")
    for sample in samples:
        role = f"{sample.role} {sample.output.name}" if sample.output else sample.role
        by_role.setdefault(role, []).append(sample)
    return [
        Process(role, taken[-1], curve(taken, now))
        for role, taken in by_role.items()
        if now - taken[-1].at < (PLAYER_GONE if taken[-1].role == process.PLAYER else GONE)
    ]


def curve(samples: list[Sample], now: datetime) -> str:
    """Returns the bit rates as points, scaled from zero to the highest value."""
    measured = [(sample.at, sample.bitrate) for sample in samples if sample.bitrate is not None]
    top = max((value for _, value in measured), default=0)
    if len(measured) < 2 or not top:  # noqa: PLR2004 (a line has two ends)
        return ""
    start = now - SPAN
    return " ".join(
        f"{(at - start) / SPAN * WIDTH:.1f},{HEIGHT - 1 - value / top * (HEIGHT - 2):.1f}"
        for at, value in measured
    )
