"""Timelines of a day in slots, and bars of days: what a page draws of the air. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from streams.monitoring import formatting
from streams.monitoring.uptime.tally import Air, common, seconds, without
from streams.programme.lookahead import Span, merged

#: Days of a bar.
DAYS: Final = 90
#: The span of a timeline, and its slots of five minutes: the worst moment of a slot colours it.
HOURS_24: Final = timedelta(hours=24)
SLOTS: Final = 288
#: Outages and other stretches that a page lists.
MAX_STRETCHES: Final = 200


class AirKind(StrEnum):
    """What a stretch of air is, the worst first. Unknown is neither good nor bad."""

    LOST = "lost"
    DEGRADED = "degraded"
    PLANNED = "planned"
    UNKNOWN = "unknown"
    ON_AIR = "on_air"
    OFF = "off"

    @property
    def label(self) -> str:
        return _LABELS[self]


_LABELS: Final = {
    AirKind.LOST: "Off the air",
    AirKind.DEGRADED: "Degraded",
    AirKind.PLANNED: "Planned interruption",
    AirKind.UNKNOWN: "Unknown",
    AirKind.ON_AIR: "On the air",
    AirKind.OFF: "Not ordered on",
}


@dataclass(frozen=True, slots=True)
class Segment:
    begins: datetime
    ends: datetime
    kind: AirKind

    @property
    def seconds(self) -> float:
        return (self.ends - self.begins).total_seconds()


@dataclass(frozen=True, slots=True)
class Slot:
    """A part of a timeline. `moment`: where what colours it begins."""

    place: int
    kind: AirKind
    moment: datetime
    width: int = 1


class Level(StrEnum):
    """Colour of a day's cell: green, amber, red, grey."""

    GOOD = "good"
    FAIR = "fair"
    BAD = "bad"
    NONE = "none"


#: A day below this percentage is red, if so many seconds were lost: the first minutes of a
#: channel would be by its start alone.
BAD_PERCENT: Final = 99.0
BAD_SECONDS: Final = 60.0
WHOLE_PERCENT: Final = 100.0


@dataclass(frozen=True, slots=True)
class Day:
    """A local day. `percent` of the known part of the ordered time; None: nothing is known."""

    day: date
    begins: datetime
    level: Level
    percent: float | None
    off_air_seconds: float
    degraded_seconds: float
    planned_seconds: float
    unknown_seconds: float

    @property
    def sentence(self) -> str:
        """The cell in words."""
        parts = []
        if self.percent is not None:
            parts.append(f"{percent(self.percent)} on the air")
        for length, words in (
            (self.off_air_seconds, "off the air"),
            (self.degraded_seconds, "degraded"),
            (self.planned_seconds, "planned interruptions"),
            (self.unknown_seconds, "unknown"),
        ):
            if length:
                parts.append(f"{formatting.span(max(1, length))} {words}")
        return f"{self.day:%d %b %Y}: {', '.join(parts) or 'not ordered on'}"


def percent(value: float | None) -> str:
    """Formats a percentage. Rounded down: 100 % means that nothing was lost."""
    if value is None:
        return formatting.NOTHING
    return "100 %" if value >= WHOLE_PERCENT else f"{int(value * 1000) / 1000:.3f} %"


def _spans(air: Air) -> list[tuple[AirKind, Sequence[Span]]]:
    degraded = air.impaired
    planned = without(air.planned, degraded)
    rest = without(without(without(air.covered, air.off), degraded), planned)
    return [
        (AirKind.LOST, air.off),
        (AirKind.DEGRADED, degraded),
        (AirKind.PLANNED, planned),
        # Another run may have begun after that of a silent worker.
        (AirKind.UNKNOWN, without(air.unknown, air.covered)),
        (AirKind.ON_AIR, rest),
    ]


def segments(air: Air, span: Span) -> list[Segment]:
    """Returns the segments of the span in their order, up to now; gaps are Off."""
    begins, ends = span[0], min(span[1], air.now)
    if begins >= ends:
        return []
    here = [(begins, ends)]
    result = [
        Segment(*part, kind) for kind, spans in _spans(air) for part in common(spans, here)
    ]
    covered = merged((one.begins, one.ends) for one in result)
    result += [Segment(*part, AirKind.OFF) for part in without(here, covered)]
    return sorted(result, key=lambda one: one.begins)


def slots(parts: Sequence[Segment], span: Span, count: int = SLOTS) -> list[Slot]:
    """Returns slots of equal length; the worst segment of each colours it."""
    step = (span[1] - span[0]) / count
    order = list(AirKind)
    result: list[Slot] = []
    first = 0
    for place in range(count):
        opens, closes = span[0] + place * step, span[0] + (place + 1) * step
        while first < len(parts) and parts[first].ends <= opens:
            first += 1
        worst: Segment | None = None
        for part in parts[first:]:
            if part.begins >= closes:
                break
            if worst is None or order.index(part.kind) < order.index(worst.kind):
                worst = part
        if worst is not None:
            result.append(Slot(place, worst.kind, max(opens, worst.begins)))
    return result


def joined(slots: Sequence[Slot]) -> list[Slot]:
    """Returns slots in a row of one kind as one: for a strip in which nothing is chosen."""
    result: list[Slot] = []
    for one in slots:
        last = result[-1] if result else None
        if last and last.kind == one.kind and last.place + last.width == one.place:
            result[-1] = Slot(last.place, last.kind, last.moment, last.width + 1)
        else:
            result.append(one)
    return result


def sentence(parts: Sequence[Segment]) -> str:
    """Returns a timeline in words: the seconds of each kind."""
    totals: dict[AirKind, float] = {}
    for part in parts:
        totals[part.kind] = totals.get(part.kind, 0.0) + part.seconds
    words = [
        f"{kind.label.lower()} {formatting.span(totals[kind])}"
        for kind in AirKind
        if kind in totals
    ]
    return f"Last 24 hours: {', '.join(words)}." if words else "Nothing is known."


def local_days(zone: ZoneInfo, now: datetime, count: int) -> Iterator[tuple[date, Span]]:
    """Yields the last local days up to today, the oldest first."""
    today = now.astimezone(zone).date()
    for back in range(count - 1, -1, -1):
        day = today - timedelta(days=back)
        opens, closes = (
            datetime.combine(one, time(), zone).astimezone(UTC)
            for one in (day, day + timedelta(days=1))
        )
        yield day, (opens, min(closes, now))


def days(air: Air, zone: ZoneInfo, count: int = DAYS) -> list[Day]:
    """Returns the last local days up to today, the oldest first."""
    return [_day(air, day, span) for day, span in local_days(zone, air.now, count)]


def _day(air: Air, day: date, span: Span) -> Day:
    here = [span] if span[0] < span[1] else []
    covered, off, degraded, planned, unknown = (
        seconds(common(spans, here))
        for spans in (air.covered, air.off, air.impaired, air.planned, air.unknown)
    )
    share = 100 * (covered - off) / covered if covered else None
    return Day(
        day,
        span[0],
        _level(share, off, degraded, unknown),
        share,
        off,
        degraded,
        planned,
        unknown,
    )


def _level(share: float | None, off: float, degraded: float, unknown: float) -> Level:
    if share is None:
        return Level.NONE
    if share < BAD_PERCENT and off >= BAD_SECONDS:
        return Level.BAD
    if off or degraded:
        return Level.FAIR
    # Nothing bad is known, but not all is known.
    return Level.NONE if unknown else Level.GOOD
