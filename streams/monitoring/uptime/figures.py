"""The uptime of channels and outputs, from the rows of runs, incidents and takeovers.

Past outputs of a channel are not recorded: the outputs enabled now are used instead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db.models import F, OuterRef, Prefetch, Q, Subquery

from streams.models import AsRun, Channel, Incident, Output, Run, Takeover
from streams.monitoring.uptime import causes
from streams.monitoring.uptime.causes import Moment, Transitions
from streams.monitoring.uptime.tally import (
    Air,
    Stretch,
    Trouble,
    Uptime,
    air,
    at_once,
    clipped,
    figures,
    periods,
    planned_by,
)
from streams.monitoring.worker_silence import FRESH
from streams.playout.contract.turn import FAILOVER
from streams.programme.lookahead import Span

#: Of an outage of several incidents, what is older than this before a period is not read.
MAX_OUTAGE: Final = timedelta(days=7)
#: Of Python's calendar: a period may be requested from there on.
EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
#: Incidents of a channel that went over to another node, or to a node that started anew, by the
#: start of their cause (streams.playout.channel.adoption).
MOVED: Final = (
    "Nothing was playing: the channel moved from ",
    "Nothing was playing: the machine or its playout processes had stopped.",
)


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
    transitions: Mapping[str, tuple[Transitions, ...]]


@dataclass(frozen=True, slots=True)
class ChannelAir:
    """The spans of a channel and of its outputs, and its transitions."""

    channel: Channel
    air: Air
    outputs: tuple[tuple[Output, Air], ...]
    moments: tuple[Moment, ...]


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
    rows = channels(slug=slug, output=output, among=among)
    spans_by_channel = {
        channel.pk: {"span": span} if span else periods(now, channel.zone) for channel in rows
    }
    since = min(
        (begins for spans in spans_by_channel.values() for begins, _ in spans.values()),
        default=now,
    )
    return [
        _figures(one, spans_by_channel[one.channel.pk], output)
        for one in airs(rows, since, now)
    ]


def channels(
    *, slug: str | None = None, output: int | None = None, among: Collection[int] | None = None
) -> list[Channel]:
    """Returns the channels with what `airs` needs. No secret is loaded."""
    rows = Channel.objects.select_related("state")
    if slug is not None:
        rows = rows.filter(slug=slug)
    if output is not None:
        rows = rows.filter(outputs=output)
    if among is not None:
        rows = rows.filter(pk__in=among)
    outputs = Output.objects.defer("key", "secret_query").order_by("pk")
    return list(rows.prefetch_related(Prefetch("outputs", outputs)))


def airs(rows: Sequence[Channel], since: datetime, now: datetime) -> list[ChannelAir]:
    """Returns the spans of these channels from `since` up to now. Five queries.

    The channels come with their states and outputs.
    """
    lasting = Q(ended_at=None) | Q(ended_at__gt=since)
    runs: dict[int, list[Run]] = {}
    for run in Run.objects.filter(lasting, channel__in=rows):
        runs.setdefault(run.channel_id, []).append(run)
    # An outage may have started before the period, with an incident that is closed by then.
    oldest = min((run.started_at for some in runs.values() for run in some), default=since)
    if since - EARLIEST > MAX_OUTAGE:
        oldest = max(oldest, since - MAX_OUTAGE)
    troubles: dict[int, list[Incident]] = {}
    for incident in Incident.objects.filter(
        Q(closed_at=None) | Q(closed_at__gt=min(since, oldest)), channel__in=rows
    ):
        troubles.setdefault(incident.channel_id, []).append(incident)
    moments: dict[int, list[Moment]] = {}
    for channel_id, moment in _moments(rows, since, now):
        moments.setdefault(channel_id, []).append(moment)
    return [
        _air(
            channel,
            [_stretch(run, channel, now) for run in runs.get(channel.pk, [])],
            troubles.get(channel.pk, []),
            moments.get(channel.pk, []),
            now,
        )
        for channel in rows
    ]


def _figures(
    one: ChannelAir, spans: Mapping[str, Span], output_id: int | None
) -> ChannelUptime:
    def figures_of(own: Air) -> dict[str, Uptime]:
        return {name: figures(own, span) for name, span in spans.items()}

    channel = one.channel
    return ChannelUptime(
        slug=channel.slug,
        name=channel.name,
        zone=channel.zone.key,
        periods=figures_of(one.air),
        outputs=tuple(
            OutputUptime(output.pk, output.name, figures_of(own))
            for output, own in one.outputs
            if output_id is None or output.pk == output_id
        ),
        transitions={
            name: causes.transitions(one.moments, span) for name, span in spans.items()
        },
    )


def _air(
    channel: Channel,
    runs: Sequence[Stretch],
    incidents: Sequence[Incident],
    moments: Sequence[Moment],
    now: datetime,
) -> ChannelAir:
    drills = [
        (row.opened_at, row.closed_at)
        for row in incidents
        if row.subject == Incident.DRILL and row.closed_at is not None
    ]
    outputs = list(channel.outputs.all())
    names = {output.pk: output.name for output in outputs}

    def troubles(rows: Iterable[Incident]) -> list[Trouble]:
        return planned_by(
            drills, (_trouble(row, names.get(row.output_id or 0, "")) for row in rows)
        )

    faults = [row for row in incidents if row.subject != Incident.DRILL]
    whole = troubles(row for row in faults if not _of_an_output(row))
    own = {
        output.pk: troubles(row for row in faults if row.output_id == output.pk)
        for output in outputs
    }
    all_lost = at_once([own[output.pk] for output in outputs if output.enabled], now)
    moved = (
        Moment("node", row.closed_at, (row.closed_at - row.opened_at).total_seconds())
        for row in incidents
        if row.subject == "channel" and row.closed_at and row.cause.startswith(MOVED)
    )
    return ChannelAir(
        channel,
        air(
            runs,
            [*whole, *all_lost],
            now,
            listed=troubles(faults),
            of_outputs=[one for output in outputs if output.enabled for one in own[output.pk]],
        ),
        tuple(
            (output, air(clipped(runs, output.added_at), [*whole, *own[output.pk]], now))
            for output in outputs
        ),
        (*moments, *moved),
    )


def _moments(
    channels: Sequence[Channel], since: datetime, now: datetime
) -> Iterator[tuple[int, Moment]]:
    """Yields the takeovers and the failovers of items that came on the air, by channel."""
    takeovers = Takeover.objects.filter(
        channel__in=channels, on_air_at__gte=since, on_air_at__lte=now
    )
    for takeover in takeovers.order_by():
        if takeover.on_air_at is not None and takeover.transition is not None:
            moment = Moment("takeover", takeover.on_air_at, takeover.transition)
            yield takeover.channel_id, moment
    before = AsRun.objects.filter(
        run=OuterRef("run"), started_at__lt=OuterRef("started_at")
    ).order_by("-started_at", "-pk")
    failovers = AsRun.objects.filter(
        rule=FAILOVER, run__channel__in=channels, started_at__gte=since, started_at__lte=now
    ).annotate(
        channel=F("run__channel"),
        failed_at=Subquery(before.values("ended_at")[:1]),
        rule_before=Subquery(before.values("rule")[:1]),
    )
    for entry in (
        failovers.exclude(rule_before=FAILOVER)
        .exclude(failed_at=None)
        .order_by()
        .values_list("channel", "started_at", "failed_at")
    ):
        channel_id, started_at, failed_at = entry
        seconds = max(0.0, (started_at - failed_at).total_seconds())
        yield channel_id, Moment("failover", started_at, seconds)


def _of_an_output(row: Incident) -> bool:
    """Returns whether it concerns an output, including an output deleted since."""
    return row.output_id is not None or row.subject.startswith(
        ("output-", "session-", "platform-")
    )


def _trouble(row: Incident, output: str) -> Trouble:
    return Trouble(
        row.opened_at,
        row.closed_at,
        row.severity,
        causes.kind(row.subject),
        causes.normalised(row.subject, row.cause, output),
    )


def _stretch(run: Run, channel: Channel, now: datetime) -> Stretch:
    if run.ended_at is not None:
        return Stretch(run.started_at, run.on_air_at, run.ended_at)
    state = getattr(channel, "state", None)
    measured = state.measured_at if state is not None and state.run_id == run.pk else None
    if measured is None or now - measured <= FRESH:
        return Stretch(run.started_at, run.on_air_at)
    return Stretch(run.started_at, run.on_air_at, measured, silent=True)
