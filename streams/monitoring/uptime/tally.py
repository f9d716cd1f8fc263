"""The share of the ordered time that was on the air: pure functions of runs and incidents.

Rules: a channel is due on the air from Start to the end of its run. It counts as off the air
before it is first measured on air, during its incidents of severity lost, and while all of its
outputs were lost at the same time. An output is off the air while its channel is, and during
its own lost incidents. What is lost or degraded by a drill is planned, until the drill's fault
is over. Planned session roll-overs and degraded air do not count as off the air;
both are given separately. After the last report of a silent worker the state is unknown, and
that time counts neither way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from streams.monitoring.uptime.causes import CauseGroup, by_cause
from streams.programme.lookahead import Span, merged

LOST: Final = "lost"
DEGRADED: Final = "degraded"
PLANNED: Final = "planned"
#: Periods of 24-hour days that end now.
ROLLING: Final = {f"{days}d": timedelta(days=days) for days in (7, 30, 90)}
#: An output counts as lost since its last report, which may be older than the drill's fault.
DRILL_LEAD: Final = timedelta(seconds=3)
#: Periods that start at local midnight: of today, Monday, and the first of the month.
CALENDAR: Final = ("day", "week", "month")


@dataclass(frozen=True, slots=True)
class Trouble:
    """The span of an incident. `ends` is None while it is open.

    `kind` and `cause` are those of its group; empty for a span that is no single incident.
    """

    begins: datetime
    ends: datetime | None
    severity: str
    kind: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The span of a run. `ends`: its end, or the last report; None: up to now."""

    begins: datetime
    on_air: datetime | None
    ends: datetime | None = None
    #: The run is open, but its worker is silent: the time after `ends` is unknown.
    silent: bool = False


def clipped(runs: Sequence[Stretch], moment: datetime | None) -> list[Stretch]:
    """Return the runs from a moment on; None: all of them.

    An output is neither on nor off the air before it was added.
    """
    if moment is None:
        return list(runs)
    return [
        replace(
            run,
            begins=max(run.begins, moment),
            on_air=None if run.on_air is None else max(run.on_air, moment),
        )
        for run in runs
        if run.ends is None or run.ends > moment
    ]


@dataclass(frozen=True, slots=True)
class Uptime:
    """Figures of one period in seconds. `percent` and the mean are None without data.

    Ordered time is known plus unknown time; `percent` is on-air time by known time.
    `off_air_seconds` were not planned; `planned_seconds` are roll-overs, moves and drills.
    `incidents` counts those that lost air; `longest_seconds` is the longest time off the air
    within the period, `longest_on_air_seconds` the longest on it; the mean covers the outages
    that ended in it, each from its start. `causes`: all incidents, the most seconds first.
    """

    begins: datetime
    ends: datetime
    percent: float | None
    ordered_seconds: float
    on_air_seconds: float
    off_air_seconds: float
    degraded_seconds: float
    planned_seconds: float
    unknown_seconds: float
    incidents: int
    longest_seconds: float
    mean_time_to_recovery_seconds: float | None
    longest_on_air_seconds: float = 0.0
    causes: tuple[CauseGroup, ...] = ()


@dataclass(frozen=True, slots=True)
class Air:
    """All spans of a channel or an output up to `now`, sorted and without overlaps.

    `covered` is the known part of the ordered time. `lost` are single incidents, unmerged.
    `partly`: of a channel, while an output was off the air and the channel was not.
    """

    now: datetime
    covered: list[Span]
    unknown: list[Span]
    off: list[Span]
    degraded: list[Span]
    planned: list[Span]
    lost: list[Span]
    troubles: tuple[Trouble, ...]
    partly: Sequence[Span] = ()

    @property
    def impaired(self) -> list[Span]:
        """A channel is degraded while one of its outputs is lost, too."""
        return merged([*self.degraded, *self.partly])


def periods(now: datetime, zone: ZoneInfo) -> dict[str, Span]:
    """Returns the standard periods up to now. Local days may have 23 or 25 hours."""
    today = now.astimezone(zone).date()
    first_days = {
        "day": today,
        "week": today - timedelta(days=today.weekday()),
        "month": today.replace(day=1),
    }
    spans = {
        name: (datetime.combine(first_days[name], time(), zone).astimezone(UTC), now)
        for name in CALENDAR
    }
    return spans | {name: (now - length, now) for name, length in ROLLING.items()}


def air(
    runs: Sequence[Stretch],
    troubles: Sequence[Trouble],
    now: datetime,
    listed: Sequence[Trouble] | None = None,
    of_outputs: Sequence[Trouble] = (),
) -> Air:
    """Returns the spans on and off the air.

    `listed`: the incidents to group by cause; None: the troubles. `of_outputs`: those of the
    outputs of a channel.
    """
    covered = merged((run.begins, run.ends or now) for run in runs)
    lost = [(one.begins, one.ends or now) for one in troubles if one.severity == LOST]
    warming = [(run.begins, run.on_air or run.ends or now) for run in runs]
    off = common(merged([*lost, *warming]), covered)

    def others(severity: str, troubles: Sequence[Trouble] = troubles) -> list[Span]:
        spans = merged(
            (one.begins, one.ends or now) for one in troubles if one.severity == severity
        )
        return without(common(spans, covered), off)

    return Air(
        now=now,
        covered=covered,
        unknown=merged((run.ends, now) for run in runs if run.silent and run.ends),
        off=off,
        degraded=others(DEGRADED),
        planned=others(PLANNED),
        lost=lost,
        troubles=tuple(troubles if listed is None else listed),
        partly=others(LOST, of_outputs),
    )


def figures(spans: Air, period: Span) -> Uptime:
    """Compute the figures of one period, exact to the microsecond."""
    now, off = spans.now, spans.off
    begins, ends = period[0], min(period[1], now)
    here = [(begins, ends)] if begins < ends else []
    off_here = common(off, here)
    covered_here = common(spans.covered, here)
    on_here = without(covered_here, off_here)
    covered_seconds, off_seconds = seconds(covered_here), seconds(off_here)
    unknown_seconds = seconds(common(spans.unknown, here))
    # An outage that runs into unknown time has no known end.
    still_open = {span[0] for span in spans.unknown}
    if off and off[-1][1] >= now:
        still_open.add(now)
    recovered = [
        (end - begin).total_seconds()
        for begin, end in off
        if begins < end <= ends and end not in still_open
    ]
    return Uptime(
        begins=begins,
        ends=ends,
        percent=100 * (covered_seconds - off_seconds) / covered_seconds
        if covered_seconds
        else None,
        ordered_seconds=covered_seconds + unknown_seconds,
        on_air_seconds=covered_seconds - off_seconds,
        off_air_seconds=off_seconds,
        degraded_seconds=seconds(common(spans.impaired, here)),
        planned_seconds=seconds(common(spans.planned, here)),
        unknown_seconds=unknown_seconds,
        incidents=sum(bool(common([span], covered_here)) for span in spans.lost),
        longest_seconds=longest(off_here),
        mean_time_to_recovery_seconds=sum(recovered) / len(recovered) if recovered else None,
        longest_on_air_seconds=longest(on_here),
        causes=by_cause(
            (
                (one.kind, one.severity, one.cause),
                common([(one.begins, one.ends or now)], covered_here),
            )
            for one in spans.troubles
            if one.cause
        ),
    )


def tally(
    runs: Sequence[Stretch], troubles: Sequence[Trouble], period: Span, now: datetime
) -> Uptime:
    """Compute the figures of one period up to now."""
    return figures(air(runs, troubles, now), period)


def planned_by(drills: Sequence[Span], troubles: Iterable[Trouble]) -> list[Trouble]:
    """Returns the troubles; the part of each that a drill caused is planned."""
    result: list[Trouble] = []
    for one in troubles:
        ends = next(
            (end for begin, end in drills if begin - DRILL_LEAD <= one.begins < end), None
        )
        if ends is None or one.severity == PLANNED:
            result.append(one)
            continue
        whole = one.ends is not None and one.ends <= ends
        result.append(
            Trouble(one.begins, one.ends if whole else ends, PLANNED, one.kind, one.cause)
        )
        if not whole:
            # The channel did not recover while the drill watched: an outage like any other.
            result.append(Trouble(ends, one.ends, one.severity, one.kind, one.cause))
    return result


def at_once(groups: Sequence[Sequence[Trouble]], now: datetime) -> list[Trouble]:
    """Returns the times in which all groups had lost their air simultaneously."""
    spans: list[Span] | None = None
    for group in groups:
        lost = merged((one.begins, one.ends or now) for one in group if one.severity == LOST)
        spans = lost if spans is None else common(spans, lost)
    return [
        Trouble(begins, None if ends >= now else ends, LOST) for begins, ends in spans or ()
    ]


def common(one: Sequence[Span], other: Sequence[Span]) -> list[Span]:
    """Returns the intersection. Both inputs are sorted and without overlaps."""
    result: list[Span] = []
    left = right = 0
    while left < len(one) and right < len(other):
        begins = max(one[left][0], other[right][0])
        ends = min(one[left][1], other[right][1])
        if begins < ends:
            result.append((begins, ends))
        if one[left][1] < other[right][1]:
            left += 1
        else:
            right += 1
    return result


def without(one: Sequence[Span], other: Sequence[Span]) -> list[Span]:
    """Returns the parts of `one` outside of `other`. Both are sorted and without overlaps."""
    result: list[Span] = []
    right = 0
    for begin, ends in one:
        begins = begin
        while right < len(other) and other[right][1] <= begins:
            right += 1
        place = right
        while place < len(other) and other[place][0] < ends:
            if begins < other[place][0]:
                result.append((begins, other[place][0]))
            begins = max(begins, other[place][1])
            place += 1
        if begins < ends:
            result.append((begins, ends))
    return result


def seconds(spans: Iterable[Span]) -> float:
    return sum(((ends - begins) for begins, ends in spans), timedelta()).total_seconds()


def longest(spans: Iterable[Span]) -> float:
    return max((seconds([span]) for span in spans), default=0.0)
