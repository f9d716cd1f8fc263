"""Orders, claims and runs drills."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.db.models import Q

from streams.control.actions import ActionRefusedError, Note
from streams.drill import faults, watch
from streams.drill.faults import NotPossibleError, Scene
from streams.drill.promises import (
    PROMISES,
    Fault,
    Measured,
    Standing,
    Verdict,
    judge,
    refusal,
)
from streams.models import Channel, ChannelState, Drill, Incident, OutputState
from streams.playout.contract.states import AirState, OutputAir
from streamsite.processes.claims import Background, Claims, Heartbeat, lives, this_process

#: Seconds between two measurements.
POLL_INTERVAL_S: Final = 0.1
#: Seconds for the hub to list the segment from which air is measured.
FIRST_SEGMENT_S: Final = 15.0
#: Segments that must follow the recovery before the air is judged.
SEGMENTS_AFTER: Final = 2
#: Seconds beyond a promise for which the drill watches, so that a late recovery is measured.
PATIENCE_S: Final = 45.0
#: Seconds for channel and outputs to be on air and settled before a fault.
SETTLE_TIMEOUT_S: Final = 60.0
#: Seconds after which an output's next failure is its first again, and a margin.
SETTLED_S: Final = 12.0
HEARTBEAT_S: Final = 5.0
#: A drill that nobody has taken up, or whose worker on another machine is silent, is over.
MAX_SILENCE: Final = timedelta(minutes=5)
#: Times that the order's message may be handed on, until a worker of the right node has it.
HAND_ONS: Final = 20
_OPEN: Final = Q(status__in=[Drill.Status.ORDERED, Drill.Status.RUNNING])
_CLAIMS: Final = Claims(Drill, "worker", related=("channel", "run"))


class DrillRefusedError(ActionRefusedError):
    """The channel can't be drilled now. HTTP 409."""


def now() -> datetime:
    return datetime.now(UTC)


# ---- orders ----------------------------------------------------------------------------------
def order(
    channel: Channel,
    chosen: Sequence[Fault],
    *,
    by: str,
    note: Note,
    confirmed: bool,
    here: str = "",
) -> Drill:
    """Order a drill on the node that plays the channel. Raises `DrillRefusedError`.

    `confirmed` and `here`: as `refusal` takes them.
    """
    if not chosen:
        raise DrillRefusedError("Choose at least one fault.")
    close_abandoned()
    if sentence := refusal(standing(channel), confirmed=confirmed, here=here):
        raise DrillRefusedError(sentence)
    state = channel.state
    try:
        with transaction.atomic():
            row = Drill.objects.create(
                channel=channel,
                run_id=state.run_id,
                node=state.owner,
                faults=list(dict.fromkeys(chosen)),
                requested_by=by,
                created_at=now(),
            )
            note()
    except IntegrityError:
        raise DrillRefusedError(
            f"A drill is running on {state.owner}. Wait until it is over."
        ) from None
    return row


def standing(channel: Channel) -> Standing:
    state = ChannelState.objects.filter(pk=channel.pk).first()
    if state is None:
        return Standing(
            channel.name, channel.test_channel, on_air=False, cause="", node="", live=False
        )
    channel.state = state
    on_air = state.plays(now()) and state.state == AirState.ON_AIR
    other = Drill.objects.filter(_OPEN, node=state.owner).select_related("channel").first()
    return Standing(
        name=channel.name,
        test_channel=channel.test_channel,
        on_air=on_air,
        cause=state.cause,
        node=state.owner,
        live=state.now_kind == "live",
        drilled=other.channel.name if other else "",
    )


def current_refusal(channel: Channel, *, confirmed: bool) -> str:
    """Return why the channel can't be drilled now, for its page; empty if it can."""
    return refusal(standing(channel), confirmed=confirmed)


def withdraw(row: Drill, why: str) -> None:
    """Close an order that could not be handed on."""
    Drill.objects.filter(pk=row.pk, status=Drill.Status.ORDERED).update(
        status=Drill.Status.FAILED, finished_at=now(), note=why
    )


def close_abandoned() -> int:
    """Close drills whose process has ended, or that no worker takes up. Returns how many."""
    count = 0
    for row in Drill.objects.filter(_OPEN).select_related("channel"):
        running = row.status == Drill.Status.RUNNING
        silent = now() - (row.heartbeat_at or row.created_at) > MAX_SILENCE
        alive = lives(row.worker) if running else None
        if alive or (alive is None and not silent):
            continue
        text = (
            "The process that ran it has ended."
            if running
            else f"No jobs worker of {row.node} took it up. Is its jobs service running?"
        )
        same = Drill.objects.filter(pk=row.pk, status=row.status, worker=row.worker)
        until = min(now(), (row.heartbeat_at or row.created_at) + timedelta(minutes=1))
        with transaction.atomic():
            closed = same.update(status=Drill.Status.FAILED, finished_at=now(), note=text)
            if closed and row.fault and row.fault_at:
                _into_history(row, row.fault_at, max(until, row.fault_at))
        count += closed
    return count


# ---- the drill -------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Result:
    """A fault's row in `Drill.results`."""

    fault: str
    label: str
    at: str
    promise: str
    within_s: float
    measured: dict[str, Any] | None
    verdict: str
    #: Why it is not kept, or why it was not possible.
    reason: str


def take(pk: int) -> Drill | None:
    """Claim an ordered drill for this process; None if another one has it, or it was closed."""
    free = Q(status=Drill.Status.ORDERED)
    columns = {"status": Drill.Status.RUNNING, "heartbeat_at": now()}
    return _CLAIMS.take(pk, this_process(), free, **columns)


def run(row: Drill, run_dir: Path, report: Callable[[Result], object] = bool) -> Drill:
    """Run a claimed drill to its end. `report` receives each result.

    Raises `ClaimLostError`.
    """
    results: list[Result] = []
    mine = _CLAIMS.mine(row)
    heartbeat = Heartbeat(mine, f"drill {row.pk}", HEARTBEAT_S)
    note, status = "The drill was interrupted.", Drill.Status.FAILED
    try:
        with Background(heartbeat.send, HEARTBEAT_S):
            for name in row.faults:
                result = _drill(row, Fault(name), run_dir)
                results.append(result)
                mine.update(results=[asdict(one) for one in results], fault="", fault_at=None)
                report(result)
        note, status = "", Drill.Status.DONE
    finally:
        mine.update(status=status, finished_at=now(), note=note, fault="", fault_at=None)
    row.refresh_from_db()
    return row


def _drill(row: Drill, fault: Fault, run_dir: Path) -> Result:
    promise = PROMISES[fault]
    at = now()

    def result(verdict: Verdict, reason: str, measured: Measured | None = None) -> Result:
        return Result(
            *(fault.value, promise.label, at.isoformat(), promise.sentence, promise.within_s),
            *(asdict(measured) if measured else None, verdict.value, reason),
        )

    if not _settled(row.channel):
        return result(
            Verdict.UNKNOWN, "Not drilled: the channel was not on air without a fault."
        )
    at = now()
    try:
        measured = _measure(row, faults.scene(row.channel, run_dir), fault)
    except NotPossibleError as error:
        return result(Verdict.UNKNOWN, f"Not possible here: {error}")
    return result(*judge(promise, measured), measured)


def _settled(channel: Channel) -> bool:
    """Wait until channel and outputs are on air, and have been for a while."""
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    while time.monotonic() < deadline:
        state = ChannelState.objects.get(pk=channel.pk)
        outputs = OutputState.objects.filter(output__channel=channel, output__enabled=True)
        unsettled = outputs.exclude(
            state=OutputAir.ON_AIR.value,
            session_since__lt=now() - timedelta(seconds=SETTLED_S),
        )
        on_air = state.plays(now()) and state.state == AirState.ON_AIR
        if on_air and not unsettled.exists():
            return True
        time.sleep(POLL_INTERVAL_S)
    return False


def _measure(row: Drill, scene: Scene, fault: Fault) -> Measured:
    """Bring the fault about and watch until it is over, or the patience is."""
    promise = PROMISES[fault]
    segments = watch.Segments(scene.folder / "hls")
    _until(lambda: bool(segments.poll()), FIRST_SEGMENT_S)
    before = watch.sessions(scene.folder)
    began = watch.now()
    # What an incident is counted as must be known even if this process is killed.
    _CLAIMS.mine(row).update(fault=fault.value, fault_at=_when(began))
    recovered_at: float | None = None
    happened = False

    def held() -> bool:
        segments.poll()
        return False

    try:
        with faults.applied(fault, scene) as applied:
            began, happened = watch.now(), True
            _until(held, promise.hold_s)
        released = watch.now() if promise.hold_s else began

        def over() -> bool:
            nonlocal recovered_at
            segments.poll()
            recovered_at = recovered_at or applied.recovered(watch.now())
            return (
                recovered_at is not None and len(segments.after(recovered_at)) >= SEGMENTS_AFTER
            )

        _until(over, promise.within_s + PATIENCE_S)
        ended = watch.now()
        after = watch.sessions(scene.folder)
        kept = [
            after.get(name) == one for name, one in before.items() if name not in applied.ends
        ]
        return Measured(
            recovered_s=None
            if recovered_at is None
            else round(max(0.0, recovered_at - released), 2),
            watched_s=round(ended - released, 1),
            air_lost_s=_rounded(watch.air_lost(segments.seen)),
            session_kept=all(kept) if kept else None,
            detail=applied.detail(),
        )
    finally:
        if happened:
            _into_history(row, _when(began), now(), fault)


def _until(check: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not check():
        time.sleep(POLL_INTERVAL_S)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)


def _when(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _into_history(
    row: Drill, begins: datetime, ends: datetime, fault: Fault | None = None
) -> None:
    """Note the fault in the history of the run: what is lost meanwhile was planned."""
    label = PROMISES[fault or Fault(row.fault)].label
    Incident.objects.create(
        channel=row.channel,
        run_id=row.run_id,
        subject=Incident.DRILL,
        severity=Incident.Severity.PLANNED,
        cause=f"Drill: {label[0].lower()}{label[1:]}, ordered by {row.requested_by}.",
        opened_at=begins,
        closed_at=ends,
    )
