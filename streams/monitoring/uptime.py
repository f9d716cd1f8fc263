"""How much of the ordered time was on the air, from the ledger of runs and incidents.

`tally` and `periods` are pure: spans and the time in, figures out. `uptimes` fetches the rows.

What counts: a channel is due on the air from Start to the end of its run. Off the air is what
comes before it is first seen there, what an incident of the channel calls lost, and the time in
which all of its outputs were lost at once; an output is off the air where its channel is, and
where its own incidents say so. A session that was rolled over as planned costs nothing, nor
does air that was degraded: both are told beside. After the last word of a worker that fell
silent nothing is known, and that time counts neither way.

The ledger does not tell which outputs a channel had in the past: those that are enabled now are
taken for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from django.db.models import Prefetch, Q

from streams.models import Channel, Incident, Output, Run
from streams.monitoring.worker_silence import FRESH

LOST: Final = Incident.Severity.LOST.value
DEGRADED: Final = Incident.Severity.DEGRADED.value
PLANNED: Final = Incident.Severity.PLANNED.value
#: Periods that end now: so many days of 24 hours.
ROLLING: Final = {"7d": timedelta(days=7), "30d": timedelta(days=30)}
#: Periods that begin at a local midnight: today's, Monday's, the first of the month's.
CALENDAR: Final = ("day", "week", "month")

Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Trouble:
    """An incident's span. `ends` is None while it is open."""

    begins: datetime
    ends: datetime | None
    severity: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """A run's span. `ends`: its end, or up to when it is known; None: up to now."""

    begins: datetime
    on_air: datetime | None
    ends: datetime | None = None
    #: Of an open run whose worker is silent: what follows `ends` is unknown.
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Uptime:
    """Times in seconds. `percent` and the mean are None where nothing is there to count.

    Of ordered = known + unknown seconds, percent is on air by known. `incidents` counts those
    that lost air; `longest` is the longest stretch off the air, within the period; the mean is
    taken over the stretches off the air that ended in it, each from its very beginning.
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
    """The usual periods up to now. A local day has 23 or 25 hours where the clock changes."""
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
    """The figures of one period, exact to the microsecond. What lies after now is left out."""
    begins, ends = period[0], min(period[1], now)
    known = merged((run.begins, run.ends or now) for run in runs)
    unknown = merged((run.ends, now) for run in runs if run.silent and run.ends)
    lost = [(one.begins, one.ends or now) for one in troubles if one.severity == LOST]
    warming = [(run.begins, run.on_air or run.ends or now) for run in runs]
    off = common(merged([*lost, *warming]), known)
    here = [(begins, ends)] if begins < ends else []
    off_here = common(off, here)
    known_here = common(known, here)
    known_seconds, off_seconds = seconds(known_here), seconds(off_here)
    still_open = {now} if off and off[-1][1] >= now else set()
    recovered = [
        (end - begin).total_seconds()
        for begin, end in off
        if begins < end <= ends and end not in still_open
    ]
    return Uptime(
        begins=begins,
        ends=ends,
        percent=100 * (known_seconds - off_seconds) / known_seconds if known_seconds else None,
        ordered_seconds=known_seconds + seconds(common(unknown, here)),
        on_air_seconds=known_seconds - off_seconds,
        off_air_seconds=off_seconds,
        degraded_seconds=_of(DEGRADED, troubles, off, known_here, now),
        planned_seconds=_of(PLANNED, troubles, off, known_here, now),
        unknown_seconds=seconds(common(unknown, here)),
        incidents=sum(bool(common([span], known_here)) for span in lost),
        longest_seconds=max((seconds([span]) for span in off_here), default=0.0),
        mean_time_to_recovery_seconds=sum(recovered) / len(recovered) if recovered else None,
    )


def at_once(groups: Sequence[Sequence[Trouble]], now: datetime) -> list[Trouble]:
    """The time in which every group had lost its air, as troubles of their own."""
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
    known: Sequence[Span],
    now: datetime,
) -> float:
    """Seconds of that severity while it was on the air all the same."""
    spans = merged(
        (one.begins, one.ends or now) for one in troubles if one.severity == severity
    )
    there = common(spans, known)
    return seconds(there) - seconds(common(there, off))


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same time, each moment once, in order."""
    found: list[Span] = []
    for begins, ends in sorted(spans):
        if begins >= ends:
            continue
        if found and begins <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], ends))
        else:
            found.append((begins, ends))
    return found


def common(one: Sequence[Span], other: Sequence[Span]) -> list[Span]:
    """The time that is in both. Each is in order and overlaps itself nowhere."""
    found: list[Span] = []
    left = right = 0
    while left < len(one) and right < len(other):
        begins = max(one[left][0], other[right][0])
        ends = min(one[left][1], other[right][1])
        if begins < ends:
            found.append((begins, ends))
        if one[left][1] < other[right][1]:
            left += 1
        else:
            right += 1
    return found


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
    """`zone`: where its days begin. An output is off the air also where its channel is."""

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
) -> list[ChannelUptime]:
    """Of all channels, or of one, or of one output: the usual periods, or `span` alone."""
    channels = Channel.objects.select_related("state")
    if slug is not None:
        channels = channels.filter(slug=slug)
    if output is not None:
        channels = channels.filter(outputs=output)
    wanted = list(channels.prefetch_related(Prefetch("outputs", Output.objects.defer("key"))))
    asked = {
        channel.pk: {"span": span} if span else periods(now, channel.zone) for channel in wanted
    }
    since = min(
        (begins for spans in asked.values() for begins, _ in spans.values()), default=now
    )
    lasting = Q(ended_at=None) | Q(ended_at__gt=since)
    runs: dict[int, list[Run]] = {}
    for run in Run.objects.filter(lasting, channel__in=wanted):
        runs.setdefault(run.channel_id, []).append(run)
    # A stretch off the air may have begun before the period: its run tells from when on.
    oldest = min((run.started_at for some in runs.values() for run in some), default=since)
    troubles: dict[int, list[Incident]] = {}
    for incident in Incident.objects.filter(
        Q(closed_at=None) | Q(closed_at__gt=min(since, oldest)), channel__in=wanted
    ):
        troubles.setdefault(incident.channel_id, []).append(incident)
    return [
        _channel(
            channel,
            [_stretch(run, channel, now) for run in runs.get(channel.pk, [])],
            troubles.get(channel.pk, []),
            asked[channel.pk],
            output,
            now,
        )
        for channel in wanted
    ]


def _channel(
    channel: Channel,
    runs: Sequence[Stretch],
    incidents: Sequence[Incident],
    spans: Mapping[str, Span],
    wanted: int | None,
    now: datetime,
) -> ChannelUptime:
    whole = [_trouble(row) for row in incidents if not _of_an_output(row)]
    outputs = list(channel.outputs.all())
    own = {
        output.pk: [_trouble(row) for row in incidents if row.output_id == output.pk]
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
            if wanted is None or output.pk == wanted
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
    """Also of one that was deleted since: its incidents remain, without it."""
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
