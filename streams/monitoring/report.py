"""The report of what is on air, shared by health, status commands, API and pages.

`channel_report` is pure: it turns rows and the time into a frozen report. `report` reads the
rows.

Only a playout worker knows what is on air. If none has reported lately, the state is "unknown":
the last values of a dead worker are not shown as current ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Final, TypeVar

from django.core.exceptions import ObjectDoesNotExist
from django.db.models import OuterRef, Prefetch, Subquery

from streams.models import (
    Channel,
    ChannelState,
    Incident,
    Node,
    Output,
    OutputState,
    Run,
)
from streams.monitoring import formatting, verdict, worker_silence
from streams.monitoring.verdict import Ours, Sent, Theirs, Verdict
from streams.monitoring.worker_silence import FRESH, Here, clock
from streams.outputs.platforms import PLATFORMS, Platform
from streams.planning import plans
from streams.playout.contract.moment import when
from streams.playout.contract.picture import Flaw, Remedy
from streams.playout.contract.states import AirState, OutputAir

#: Interval between two attempts of a failed preflight.
PREFLIGHT_RETRY: Final = timedelta(seconds=60)
UNKNOWN: Final = "unknown"

#: In these states a run is in progress, so the item on air is known.
_PLAYING: Final = (AirState.ON_AIR.value, AirState.DEGRADED.value, AirState.FAILING.value)


@dataclass(frozen=True, slots=True)
class OutputReport:
    """bitrate in bit/s; `failures`: consecutive ones; `label`: its state for people.

    `session_due`: the session is renewed at the first item after it; null: never. `node`: the
    node that sends it. `second_node`: a second node is to send it; `sender` says in a sentence
    whether one does.
    """

    id: int
    name: str
    platform: str
    enabled: bool
    state: str
    label: str
    since: datetime | None
    cause: str
    failures: int
    retry_at: datetime | None
    bitrate: int | None
    fps: float | None
    speed: float | None
    session_since: datetime | None
    session_due: datetime | None
    node: str = ""
    second_node: bool = False
    sender: str = ""
    #: Null: the channel is off, or the output is disabled.
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class IncidentReport:
    id: int
    subject: str
    severity: str
    cause: str
    opened_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class RunReport:
    id: int
    started_at: datetime
    started_by: str
    on_air_at: datetime | None


T = TypeVar("T", RunReport, IncidentReport)


@dataclass(frozen=True, slots=True)
class NowReport:
    title: str
    kind: str
    since: datetime | None
    until: datetime | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class ChannelReport:
    """bitrate in bit/s, measured at the hub."""

    slug: str
    name: str
    desired_state: str
    state: str
    label: str
    since: datetime | None
    cause: str
    #: Whether a playout worker reports on this channel.
    supervised: bool
    ordered_at: datetime | None
    ordered_by: str
    on_air_since: datetime | None
    bitrate: int | None
    preview: bool
    run: RunReport | None
    now: NowReport | None
    next: str
    outputs: tuple[OutputReport, ...]
    #: Open incidents, oldest first.
    incidents: tuple[IncidentReport, ...]
    last_incident: IncidentReport | None

    @property
    def ordered_on(self) -> bool:
        return self.desired_state == Channel.DesiredState.ON.value

    @property
    def down(self) -> bool:
        lost = self.state in {AirState.FAILING.value, UNKNOWN} or not self.supervised
        return self.ordered_on and lost

    @property
    def well(self) -> bool:
        return not self.down and self.state in {AirState.OFF.value, AirState.ON_AIR.value}

    def public(self) -> dict[str, Any]:
        """Returns the public part for `/health`, which needs no login.

        Its contract has six states. An unknown state is given as `degraded`, and `confirmed`
        is false.
        """
        confirmed = self.state != UNKNOWN
        return {
            "slug": self.slug,
            "desired_state": self.desired_state,
            "state": self.state if confirmed else AirState.DEGRADED.value,
            "confirmed": confirmed,
            "since": self.since,
            "cause": self.cause,
            "on_air_since": self.on_air_since,
        }

    def detail(self) -> dict[str, Any]:
        """Returns the public part and all values for operators. No secret is ever loaded."""
        return asdict(self) | self.public()


@dataclass(frozen=True, slots=True)
class Report:
    channels: tuple[ChannelReport, ...]

    @property
    def status(self) -> str:
        """ok, degraded or down."""
        if any(channel.down for channel in self.channels):
            return "down"
        return "ok" if all(channel.well for channel in self.channels) else "degraded"

    def public(self) -> dict[str, Any]:
        return {"status": self.status, "channels": [c.public() for c in self.channels]}

    def detail(self) -> dict[str, Any]:
        return {"status": self.status, "channels": [c.detail() for c in self.channels]}


# ---- pure ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Air:
    state: str
    since: datetime | None
    cause: str
    supervised: bool


def _air(
    channel: Channel,
    row: ChannelState | None,
    run: Run | None,
    seen: Mapping[str, datetime],
    here: Here | None,
    now: datetime,
) -> _Air:
    """Returns the state to show: that of the row only if a live worker confirms it."""
    zone = channel.zone
    ordered_on = channel.desired_state == Channel.DesiredState.ON
    owner = row.owner if row and row.owner in seen else ""
    worker_seen = seen[owner] if owner else max(seen.values(), default=None)
    supervised = worker_seen is not None and now - worker_seen <= FRESH
    measured = row.measured_at if row else None
    fresh = supervised and measured is not None and now - measured <= FRESH

    if not ordered_on and run is None and not (fresh and row and row.state != AirState.OFF):
        # The worker closes a run when its processes have ended: without an open run it is off.
        since = row.since if row and row.state == AirState.OFF else channel.ordered_at
        return _Air(AirState.OFF.value, since, "", supervised)

    untouched = run is not None and (measured is None or measured < run.started_at)
    if not supervised:
        # The witness applies only if this machine has a playout worker of its own.
        witness = here if here and (here.node in seen or not seen) else None
        cause = f"Unknown: {worker_silence.sentence(witness, owner, worker_seen, now, zone)}"
        if ordered_on and untouched:
            cause += " It was ordered on, but no worker has started it."
            return _Air(AirState.STARTING.value, channel.ordered_at, cause, supervised)
        cause += " FFmpeg may still be playing."
        return _Air(UNKNOWN, worker_seen, cause, supervised)
    if ordered_on and (untouched or row is None or (not fresh and _is_retried(run, now))):
        # Its preflight, or a worker that has no slate yet, reports the reason.
        reason = "" if run is None else run.held_by
        if not reason and row is not None and row.state == AirState.STARTING:
            reason = row.cause
        cause = reason or "Waiting for the playout worker to start it."
        return _Air(AirState.STARTING.value, channel.ordered_at, cause, supervised)
    if not fresh or row is None:
        cause = (
            "Unknown: the playout worker runs, but has not measured this channel since "
            f"{clock(measured, zone)}."
        )
        return _Air(UNKNOWN, measured, cause, supervised)
    if ordered_on and row.state == AirState.OFF:
        return _Air(AirState.STARTING.value, channel.ordered_at, row.cause, supervised)
    if not ordered_on and row.state not in {AirState.OFF, AirState.STOPPING}:
        return _Air(AirState.STOPPING.value, channel.ordered_at, "", supervised)
    return _Air(row.state, row.since, row.cause, supervised)


def _is_retried(run: Run | None, now: datetime) -> bool:
    """Whether a failed preflight, repeated every minute, prevents the start."""
    if run is None or run.checked_at is None or not run.held_by:
        return False
    return now - run.checked_at < 2 * PREFLIGHT_RETRY


def _state_of(output: Output) -> Any:
    try:
        return output.state
    except ObjectDoesNotExist:
        return None


def _output_report(
    output: Output, air: _Air, channel: ChannelState | None, now: datetime
) -> OutputReport:
    row = _state_of(output)
    state, reported = OutputAir.OFF.value, False
    if air.state == UNKNOWN:
        state = UNKNOWN
    elif air.state != AirState.OFF and row is not None:
        if row.state == OutputAir.OFF or _is_fresh(row, now):
            state, reported = row.state, True
        elif output.enabled:
            # Its sender was another node, or another run.
            state = UNKNOWN
    measured = reported and state != OutputAir.OFF
    since = row.session_since if measured else None
    node = row.node if measured else ""
    owner = channel.owner if channel is not None else ""
    lasts, _ = output.roll_over
    return OutputReport(
        id=output.pk,
        name=output.name,
        platform=PLATFORMS[Platform(output.platform)].label,
        enabled=output.enabled,
        state=state,
        label=formatting.label(state) if output.enabled or measured else "Disabled",
        since=row.since if reported else None,
        cause=row.cause if reported else "",
        failures=row.failures if reported else 0,
        retry_at=row.retry_at if reported else None,
        bitrate=row.bitrate if measured else None,
        fps=row.fps if measured else None,
        speed=row.speed if measured else None,
        session_since=since,
        session_due=since + lasts if since and lasts else None,
        node=node,
        second_node=output.second_node,
        sender=_sender(node, owner) if output.second_node and node else "",
        verdict=None
        if air.state == AirState.OFF or not output.enabled
        else _verdict(output, state, row if measured else None, channel, now),
    )


def _is_fresh(row: OutputState, now: datetime) -> bool:
    return row.measured_at is not None and now - row.measured_at <= FRESH


def _verdict(
    output: Output,
    state: str,
    row: OutputState | None,
    channel: ChannelState | None,
    now: datetime,
) -> Verdict:
    sent, ours = Sent(state), Ours(None)
    if row is not None:
        sent = Sent(
            *(state, row.cause, row.bitrate, row.acknowledged, row.resent_percent),
            *(row.queued_bytes, row.lag_seconds, row.speed, row.late),
        )
    if channel is not None and state != UNKNOWN:
        flaws = {Flaw(name): when(since) for name, since in channel.flaws.items()}
        ours = Ours(channel.inspected_at, flaws, _ignored(output.channel))
    return verdict.judge(sent, ours, _theirs(output), now)


def _theirs(output: Output) -> Theirs | None:
    """What the platform said; None: no account is chosen, so it is not asked."""
    if output.account_id is None:
        return None
    try:
        row = output.platform_report
    except ObjectDoesNotExist:
        return Theirs(UNKNOWN, "", None)
    return Theirs(row.level, row.sentence, row.checked_at, row.valid_until)


def _ignored(channel: Channel) -> frozenset[Flaw]:
    """The flaws that are none on this channel."""
    orders = plans.remedies(channel).items()
    return frozenset(flaw for flaw, order in orders if order is Remedy.IGNORE)


def _sender(node: str, owner: str) -> str:
    if node == owner:
        return f"No second node sends it: {node} does, which plays the channel."
    return f"Sent by {node}, the second node."


def _read(report: type[T], row: Run | Incident) -> T:
    """Return the fields of a report that have the names of a row's."""
    return report(**{field: getattr(row, field) for field in report.__slots__})


def channel_report(
    channel: Channel,
    *,
    row: ChannelState | None,
    run: Run | None,
    outputs: Sequence[Output],
    incidents: Sequence[Incident],
    seen: Mapping[str, datetime],
    here: Here | None,
    now: datetime,
) -> ChannelReport:
    """Build the report of one channel from its rows.

    Args:
        channel: The channel.
        row: Its latest state, if a worker has written one.
        run: Its open run.
        outputs: Its outputs.
        incidents: The open ones and the latest one, newest first.
        seen: The time of each node's last report.
        here: The state of this machine's own worker.
        now: The time of the report.
    """
    air = _air(channel, row, run, seen, here, now)
    playing = row if row is not None and air.state in _PLAYING else None
    return ChannelReport(
        slug=channel.slug,
        name=channel.name,
        desired_state=channel.desired_state,
        state=air.state,
        label=formatting.label(air.state),
        since=air.since,
        cause=air.cause,
        supervised=air.supervised,
        ordered_at=channel.ordered_at,
        ordered_by=channel.ordered_by,
        on_air_since=playing.on_air_since if playing else None,
        bitrate=playing.bitrate if playing else None,
        preview=channel.preview,
        run=_read(RunReport, run) if run else None,
        now=NowReport(
            playing.now_title,
            playing.now_kind,
            playing.now_since,
            playing.now_until,
            playing.now_why,
        )
        if playing and playing.now_title
        else None,
        next=playing.next_title if playing else "",
        outputs=tuple(_output_report(output, air, row, now) for output in outputs),
        incidents=tuple(
            _read(IncidentReport, incident)
            for incident in reversed(incidents)
            if incident.closed_at is None
        ),
        last_incident=_read(IncidentReport, incidents[0]) if incidents else None,
    )


# ---- rows ------------------------------------------------------------------------------------


def report(
    now: datetime, *, slug: str | None = None, among: Collection[int] | None = None
) -> Report:
    """Returns the report of all channels, or of one. Seven queries in any case.

    `among`: only channels with these ids; None: all of them.
    """
    newest = Incident.objects.filter(channel=OuterRef("pk")).order_by("-opened_at", "-pk")
    # The key is never loaded, so it can never be shown.
    outputs = Output.objects.defer("key").select_related("state", "platform_report")
    channels = (
        Channel.objects.select_related("state")
        .annotate(newest_incident=Subquery(newest.values("pk")[:1]))
        .prefetch_related(Prefetch("outputs", outputs.order_by("pk")))
    )
    if slug is not None:
        channels = channels.filter(slug=slug)
    if among is not None:
        channels = channels.filter(pk__in=among)
    rows = list(channels)
    open_runs = Run.objects.filter(channel__in=rows, ended_at=None).order_by()
    runs = {run.channel_id: run for run in open_runs}
    incidents: dict[int, list[Incident]] = {}
    for incident in _incidents([row.newest_incident for row in rows if row.newest_incident]):
        incidents.setdefault(incident.channel_id, []).append(incident)
    nodes = Node.objects.order_by().values_list("name", "seen_at")
    seen = {name: at for name, at in nodes if at is not None}
    here = worker_silence.local_worker()
    return Report(
        tuple(
            channel_report(
                row,
                row=_channel_state(row),
                run=runs.get(row.pk),
                outputs=list(row.outputs.all()),
                incidents=incidents.get(row.pk, []),
                seen=seen,
                here=here,
                now=now,
            )
            for row in rows
        )
    )


def _incidents(newest: list[int]) -> list[Incident]:
    """Returns the incidents with these ids and all open ones, the latest first.

    Two queries: for both conditions at once, or for the open ones of one channel, SQLite would
    read all incidents of a channel.
    """
    rows = chain(
        Incident.objects.filter(closed_at=None).order_by(),
        Incident.objects.filter(pk__in=newest).order_by(),
    )
    by_pk = {incident.pk: incident for incident in rows}
    return sorted(by_pk.values(), key=lambda row: (row.opened_at, row.pk), reverse=True)


def _channel_state(channel: Channel) -> ChannelState | None:
    try:
        return channel.state
    except ObjectDoesNotExist:
        return None
