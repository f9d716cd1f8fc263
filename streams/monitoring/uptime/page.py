"""Reads what the uptime page, the control room and the public status page show."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from django.db.models import Q

from streams.models import AsRun, Channel, Incident, LogLine, Output
from streams.monitoring.uptime import causes, timeline
from streams.monitoring.uptime.causes import Transitions
from streams.monitoring.uptime.figures import ChannelAir, airs, channels
from streams.monitoring.uptime.tally import Air, Uptime, figures, periods
from streams.monitoring.uptime.timeline import AirKind, Day, Slot
from streams.programme.lookahead import Span

#: What is read around a moment, to each side.
AROUND: Final = timedelta(minutes=2)
#: Rows of each kind around a moment.
MAX_ROWS: Final = 200
#: Periods, as the page names them.
PERIOD_LABELS: Final = {
    "day": "Today",
    "week": "This week",
    "month": "This month",
    "7d": "7 days",
    "30d": "30 days",
    "90d": "90 days",
}
#: The causes listed are those of this period.
CAUSES_OF: Final = "30d"
#: Units of a strip: one for each slot, and the height of each kind. Worse is taller, so that it
#: is not the colour alone that tells them apart.
HEIGHT: Final = 24
HEIGHTS: Final = {
    AirKind.LOST: 24,
    AirKind.DEGRADED: 19,
    AirKind.PLANNED: 14,
    AirKind.ON_AIR: 14,
    AirKind.UNKNOWN: 7,
    AirKind.OFF: 2,
}


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of a strip, in units of its drawing area."""

    kind: AirKind
    x: int
    y: int
    width: int
    height: int
    moment: datetime


@dataclass(frozen=True, slots=True)
class Strip:
    bars: list[Bar]
    sentence: str
    box: str = f"0 0 {timeline.SLOTS} {HEIGHT}"


@dataclass(frozen=True, slots=True)
class Part:
    """A channel or one of its outputs on the page."""

    name: str
    output: Output | None
    days: list[Day]
    periods: Mapping[str, Uptime]
    strip: Strip


def strip(air: Air, span: Span, *, chosen: bool) -> Strip:
    """Returns a strip of the span. `chosen`: each slot leads to its own moment."""
    parts = timeline.segments(air, span)
    result = timeline.slots(parts, span)
    return Strip(
        [_bar(slot) for slot in (result if chosen else timeline.joined(result))],
        timeline.sentence(parts),
    )


def _bar(slot: Slot) -> Bar:
    height = HEIGHTS[slot.kind]
    return Bar(slot.kind, slot.place, HEIGHT - height, slot.width, height, slot.moment)


def since(zones: Sequence[Channel], now: datetime) -> datetime:
    """Returns the start of the first day of a bar."""
    return min(
        (
            span[0]
            for channel in zones
            for _, span in timeline.local_days(channel.zone, now, timeline.DAYS)
        ),
        default=now,
    )


def last_day(now: datetime) -> Span:
    return now - timeline.HOURS_24, now


# ---- pages -----------------------------------------------------------------------------------


def overview(now: datetime, among: Collection[int] | None) -> list[tuple[Channel, Part]]:
    """Returns the bar and the figures of each channel. Six queries."""
    rows = channels(among=among)
    return [
        (one.channel, _part(one, None, one.air, now, last_day(now), chosen=False))
        for one in airs(rows, since(rows, now), now)
    ]


def channel_page(
    channel: Channel, now: datetime, *, day: date | None = None, at: datetime | None = None
) -> dict[str, Any]:
    """Returns the context of the channel's page. Twelve queries at most.

    `day`: the local day of the timeline; None: the last 24 hours. `at`: a moment to look at.
    """
    rows = channels(slug=channel.slug)
    (one,) = airs(rows, since(rows, now), now)
    days = dict(timeline.local_days(channel.zone, now, timeline.DAYS))
    span = days[day] if day in days else last_day(now)
    whole = _part(one, None, one.air, now, span, chosen=True)
    listed = [
        part
        for part in timeline.segments(one.air, span)
        if part.kind not in {AirKind.ON_AIR, AirKind.OFF}
    ]
    return {
        "channel": channel,
        "whole": whole,
        "outputs": [
            _part(one, output, air, now, span, chosen=True) for output, air in one.outputs
        ],
        "labels": PERIOD_LABELS,
        "causes": whole.periods[CAUSES_OF].causes,
        "transitions": _transitions(one, now),
        "span": span,
        "day": day if day in days else None,
        "stretches": listed[: timeline.MAX_STRETCHES],
        "stretches_left": max(0, len(listed) - timeline.MAX_STRETCHES),
        "kinds": list(AirKind),
        "height": HEIGHT,
        "at": at,
        "moment": around(channel, at) if at is not None else None,
    }


def _part(
    one: ChannelAir, output: Output | None, air: Air, now: datetime, span: Span, *, chosen: bool
) -> Part:
    zone = one.channel.zone
    return Part(
        name=output.name if output else one.channel.name,
        output=output,
        days=timeline.days(air, zone),
        periods={name: figures(air, period) for name, period in periods(now, zone).items()},
        strip=strip(air, span, chosen=chosen),
    )


def _transitions(one: ChannelAir, now: datetime) -> tuple[Transitions, ...]:
    return causes.transitions(one.moments, periods(now, one.channel.zone)["90d"])


def around(channel: Channel, at: datetime) -> dict[str, Any]:
    """Returns what happened around a moment: log, as-run entries and incidents."""
    begins, ends = at - AROUND, at + AROUND
    log = LogLine.objects.filter(channel=channel, at__gte=begins, at__lte=ends)
    played = AsRun.objects.filter(run__channel=channel, started_at__lte=ends).filter(
        Q(ended_at=None) | Q(ended_at__gte=begins)
    )
    incidents = Incident.objects.filter(channel=channel, opened_at__lte=ends).filter(
        Q(closed_at=None) | Q(closed_at__gte=begins)
    )
    # The page names the stills; the API sends them.
    incidents = incidents.select_related("evidence").defer("evidence__still")
    return {
        "begins": begins,
        "ends": ends,
        "log": list(log.order_by("at", "pk")[:MAX_ROWS]),
        "as_run": list(played.order_by("started_at", "pk")[:MAX_ROWS]),
        "incidents": list(incidents.order_by("opened_at", "pk")[:MAX_ROWS]),
    }


def strips(now: datetime, among: Collection[int] | None) -> dict[str, Strip]:
    """Returns the strip of the last 24 hours of each channel, by slug. Six queries."""
    span = last_day(now)
    return {
        one.channel.slug: strip(one.air, span, chosen=False)
        for one in airs(channels(among=among), span[0], now)
    }


def days_and_percent(channel: Channel, now: datetime) -> tuple[list[Day], float | None]:
    """Returns the bar of a channel, and its percentage of the last 90 days."""
    rows = channels(slug=channel.slug)
    if not rows:
        return [], None
    (one,) = airs(rows, since(rows, now), now)
    days = timeline.days(one.air, channel.zone)
    return days, figures(one.air, periods(now, channel.zone)["90d"]).percent
