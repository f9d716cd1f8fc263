"""Uptime: the share of the ordered time that was on the air, from runs and incidents.

`tally` and `periods` are pure functions. `uptimes` reads the rows.

Rules: a channel is due on the air from Start to the end of its run. It counts as off the air
before it is first measured on air, during its incidents of severity lost, and while all of its
outputs were lost at the same time. An output is off the air while its channel is, and during
its own lost incidents. What is lost or degraded by a drill is planned, until the drill's fault
is over. Planned session roll-overs and degraded air do not count as off the air;
both are given separately. After the last report of a silent worker the state is unknown, and
that time counts neither way.

Past outputs of a channel are not recorded: the outputs enabled now are used instead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from django.db.models import Prefetch, Q

from streams.models import Channel, Incident, Output, Run
from streams.monitoring.worker_silence import FRESH
from streams.programme.lookahead import Span, merged

LOST: Final = Incident.Severity.LOST.value
DEGRADED: Final = Incident.Severity.DEGRADED.value
PLANNED: Final = Incident.Severity.PLANNED.value
#: Periods of 24-hour days that end now.
ROLLING: Final = {"7d": timedelta(days=7), "30d": timedelta(days=30)}
#: An output counts as lost since its last report, which may be older than the drill's fault.
DRILL_LEAD: Final = timedelta(seconds=3)
#: Periods that start at local midnight: of today, Monday, and the first of the month.
CALENDAR: Final = ("day", "week", "month")


@dataclass(frozen=True, slots=True)
class Trouble:
    """The span of an incident. `ends` is None while it is open."""

    begins: datetime
    ends: datetime | None
    severity: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """The span of a run. `ends`: its end, or the last report; None: up to now."""

    begins: datetime
    on_air: datetime | None
    ends: datetime | None = None
    #: The run is open, but its worker is silent: the time after `ends` is unknown.
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Uptime:
    """Figures of one period in seconds. `percent` and the mean are None without data.

    Ordered time is known plus unknown time; `percent` is on-air time by known time.
    `incidents` counts those that lost air; `longest_seconds` is the longest time off the air
    within the period; the mean covers the outages that ended in it, each from its start.
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


# ---- pure ------------------------------------------------------------------------------------


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


def tally(
    runs: Sequence[Stretch], troubles: Sequence[Trouble], period: Span, now: datetime
) -> Uptime:
    """Compute the figures of one period up to now, exact to the microsecond."""
    begins, ends = period[0], min(period[1], now)
    covered = merged((run.begins, run.ends or now) for run in runs)
    unknown = merged((run.ends, now) for run in runs if run.silent and run.ends)
    lost = [(one.begins, one.ends or now) for one in troubles if one.severity == LOST]
    warming = [(run.begins, run.on_air or run.ends or now) for run in runs]
    off = common(merged([*lost, *warming]), covered)
    here = [(begins, ends)] if begins < ends else []
    off_here = common(off, here)
    covered_here = common(covered, here)
    covered_seconds, off_seconds = seconds(covered_here), seconds(off_here)
    still_open = {now} if off and off[-1][1] >= now else set()
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
        ordered_seconds=covered_seconds + seconds(common(unknown, here)),
        on_air_seconds=covered_seconds - off_seconds,
        off_air_seconds=off_seconds,
        degraded_seconds=_of(DEGRADED, troubles, off, covered_here, now),
        planned_seconds=_of(PLANNED, troubles, off, covered_here, now),
        unknown_seconds=seconds(common(unknown, here)),
        incidents=sum(bool(common([span], covered_here)) for span in lost),
        longest_seconds=max((seconds([span]) for span in off_here), default=0.0),
        mean_time_to_recovery_seconds=sum(recovered) / len(recovered) if recovered else None,
    )


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
        result.append(Trouble(one.begins, one.ends if whole else ends, PLANNED))
        if not whole:
            # The channel did not recover while the drill watched: an outage like any other.
            result.append(Trouble(ends, one.ends, one.severity))
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


def _of(
    severity: str,
    troubles: Iterable[Trouble],
    off: Sequence[Span],
    covered: Sequence[Span],
    now: datetime,
) -> float:
    """Returns the seconds of that severity while the channel was on the air."""
    spans = merged(
        (one.begins, one.ends or now) for one in troubles if one.severity == severity
    )
    there = common(spans, covered)
    return seconds(there) - seconds(common(there, off))


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


def seconds(spans: Iterable[Span]) -> float:
    return sum(((ends - begins) for begins, ends in spans), timedelta()).total_seconds()


# ---- rows ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OutputUptime:
    id: int
    name: str
    periods: Mapping[str, Uptime]


@dataclass(frozen=True, slots=True)
class ChannelUptime:
    """`zone`: the time zone of its days. An output is off the air while its channel is."""

    slug: str
    name: str
    zone: str
    periods: Mapping[str, Uptime]
    outputs: tuple[OutputUptime, ...]


def uptimes(
    now: datetime,
    *,
    slug: str | None = None,
    output: int | None = None,
    span: Span | None = None,
    among: Collection[int] | None = None,
) -> list[ChannelUptime]:
    """Returns the uptime of all channels, one channel or one output.

    It covers the standard periods, or only `span`. `among`: only channels with these ids.
    """
    channels = Channel.objects.select_related("state")
    if slug is not None:
        channels = channels.filter(slug=slug)
    if output is not None:
        channels = channels.filter(outputs=output)
    if among is not None:
        channels = channels.filter(pk__in=among)
    rows = list(channels.prefetch_related(Prefetch("outputs", Output.objects.defer("key"))))
    spans_by_channel = {
        channel.pk: {"span": span} if span else periods(now, channel.zone) for channel in rows
    }
    since = min(
        (begins for spans in spans_by_channel.values() for begins, _ in spans.values()),
        default=now,
    )
    lasting = Q(ended_at=None) | Q(ended_at__gt=since)
    runs: dict[int, list[Run]] = {}
    for run in Run.objects.filter(lasting, channel__in=rows):
        runs.setdefault(run.channel_id, []).append(run)
    # An outage may have started before the period: read incidents from its run's start on.
    oldest = min((run.started_at for some in runs.values() for run in some), default=since)
    troubles: dict[int, list[Incident]] = {}
    for incident in Incident.objects.filter(
        Q(closed_at=None) | Q(closed_at__gt=min(since, oldest)), channel__in=rows
    ):
        troubles.setdefault(incident.channel_id, []).append(incident)
    return [
        _channel(
            channel,
            [_stretch(run, channel, now) for run in runs.get(channel.pk, [])],
            troubles.get(channel.pk, []),
            spans_by_channel[channel.pk],
            output,
            now,
        )
        for channel in rows
    ]


def _channel(
    channel: Channel,
    runs: Sequence[Stretch],
    incidents: Sequence[Incident],
    spans: Mapping[str, Span],
    output_id: int | None,
    now: datetime,
) -> ChannelUptime:
    drills = [
        (row.opened_at, row.closed_at)
        for row in incidents
        if row.subject == Incident.DRILL and row.closed_at is not None
    ]

    def troubles(rows: Iterable[Incident]) -> list[Trouble]:
        return planned_by(drills, map(_trouble, rows))

    whole = troubles(
        row for row in incidents if not _of_an_output(row) and row.subject != Incident.DRILL
    )
    outputs = list(channel.outputs.all())
    own = {
        output.pk: troubles(row for row in incidents if row.output_id == output.pk)
        for output in outputs
    }
    all_lost = at_once([own[output.pk] for output in outputs if output.enabled], now)
    return ChannelUptime(
        slug=channel.slug,
        name=channel.name,
        zone=channel.zone.key,
        periods=_tallied(runs, [*whole, *all_lost], spans, now),
        outputs=tuple(
            OutputUptime(
                output.pk, output.name, _tallied(runs, [*whole, *own[output.pk]], spans, now)
            )
            for output in outputs
            if output_id is None or output.pk == output_id
        ),
    )


def _tallied(
    runs: Sequence[Stretch],
    troubles: Sequence[Trouble],
    spans: Mapping[str, Span],
    now: datetime,
) -> dict[str, Uptime]:
    return {name: tally(runs, troubles, span, now) for name, span in spans.items()}


def _of_an_output(row: Incident) -> bool:
    """Returns whether it concerns an output, including an output deleted since."""
    return row.output_id is not None or row.subject.startswith(("output-", "session-"))


def _trouble(row: Incident) -> Trouble:
    return Trouble(row.opened_at, row.closed_at, row.severity)


def _stretch(run: Run, channel: Channel, now: datetime) -> Stretch:
    if run.ended_at is not None:
        return Stretch(run.started_at, run.on_air_at, run.ended_at)
    state = getattr(channel, "state", None)
    measured = state.measured_at if state is not None and state.run_id == run.pk else None
    if measured is None or now - measured <= FRESH:
        return Stretch(run.started_at, run.on_air_at)
    return Stretch(run.started_at, run.on_air_at, measured, silent=True)
