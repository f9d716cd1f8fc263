"""State machine of a pusher, as a pure step: values in, actions out.

    OFF ─Enabled──▶ CONNECTING ──Moved──▶ ON_AIR
                        ▲  │ Exited          │ Exited
                        │  ▼                 ▼
                     (Launch) ◀──Ticked── RETRYING ──max_retries in a row──▶ FAILING
                                                                   (still retried, or GIVEN_UP)

    ON_AIR ──ItemSent, session.after over──▶ ROLLING ──Exited──▶ ROLLING ──Moved──▶ ON_AIR
           ──Ticked, session.by over───────▶ (Halt)   (Launch)      │ Exited
                                                                    ▼
                                                                RETRYING

A process that sends no data although there is some is off air after `policy.noticed` seconds,
and halted after `policy.stall`; its exit then counts as an ordinary failure. If the window
itself received nothing new, the process is kept: another session would have nothing to send.

Servers refuse a second publisher of one key, so a session is rolled over by stopping and then
starting. This is not a failure: it is not counted and causes no delay. If the first attempt of
the new session fails, the output is lost like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, assert_never

from streams.playout.contract.output_status import Status
from streams.playout.contract.plan import Policy
from streams.playout.contract.states import OutputAir

#: Seconds between retries beyond the cap.
LONG_RETRIES_S = (60.0, 120.0)
#: The cause while its process still tries.
TAKES_NOTHING: Final = "The destination takes nothing."


@dataclass(frozen=True, slots=True)
class Session:
    """Maximum duration of a session in seconds; 0: unlimited."""

    #: After this, it ends with the item that is on air.
    after: float = 0.0
    #: After this, it ends regardless of the item.
    by: float = 0.0


ENDLESS: Final = Session()


# ---- events


@dataclass(frozen=True, slots=True)
class Enabled:
    """The output is to be on air, and there is data to send."""


@dataclass(frozen=True, slots=True)
class Disabled:
    """The output was disabled or removed, its address changed, or the channel stops."""


@dataclass(frozen=True, slots=True)
class Moved:
    """The destination has accepted data."""


@dataclass(frozen=True, slots=True)
class Offered:
    """There is new data to send."""


@dataclass(frozen=True, slots=True)
class Exited:
    cause: str


@dataclass(frozen=True, slots=True)
class Adopted:
    """A pusher of an earlier supervisor is running."""

    launched: float


@dataclass(frozen=True, slots=True)
class ItemSent:
    """The destination has received a whole item, and no other output is being rolled over."""


@dataclass(frozen=True, slots=True)
class Ticked:
    pass


@dataclass(frozen=True, slots=True)
class RenewOrdered:
    """The session is to be replaced. `cause`: why, as a sentence."""

    cause: str


Event = (
    Enabled | Disabled | Moved | Offered | Exited | Adopted | ItemSent | Ticked | RenewOrdered
)


# ---- actions


@dataclass(frozen=True, slots=True)
class Launch:
    pass


@dataclass(frozen=True, slots=True)
class Halt:
    """End the process; its exit is reported as an event."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The output is off air since `at`: open an incident."""

    at: float
    cause: str


@dataclass(frozen=True, slots=True)
class Rolled:
    """The session that began at `began` ended at `at`, as planned; another one follows.

    `cause`: why, if it was not because of its age.
    """

    at: float
    began: float
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Regained:
    """The output is back on air since `at`, or was disabled: close the incident."""

    at: float


@dataclass(frozen=True, slots=True)
class Explained:
    """The output is still off air, now for another cause."""

    at: float
    cause: str


#: Changes that are reported to the channel.
Change = Lost | Explained | Rolled | Regained
Action = Launch | Halt | Change


def delay(failures: int, policy: Policy) -> float | None:
    """Seconds to wait after so many consecutive failures; None: give up.

    0, 1, 2, 4, ... up to the cap, then 60 and 120 forever: a channel that runs around the clock
    never gives up, and a destination that is down is not flooded.
    """
    if policy.give_up:
        # The schedule of WORKER_GIVE_UP: 30, 60, 120 s, and no more after three.
        if failures > policy.max_retries:
            return None
        return policy.retry_cap * float(1 << min(failures - 1, 20))
    if failures <= 1:
        return 0.0
    step = failures - 2
    # The exponent is bounded: failures can count for months.
    doubled = policy.retry_first * float(1 << min(step, 20))
    if doubled < policy.retry_cap:
        return doubled
    steps_to_cap = 0
    while policy.retry_first * (1 << steps_to_cap) < policy.retry_cap:
        steps_to_cap += 1
    past = step - steps_to_cap
    if past <= 0:
        return policy.retry_cap
    return max(policy.retry_cap, LONG_RETRIES_S[min(past, len(LONG_RETRIES_S)) - 1])


def step(
    status: Status, event: Event, now: float, policy: Policy, session: Session = ENDLESS
) -> tuple[Status, tuple[Action, ...]]:
    match event:
        case Enabled() | Disabled() | Moved():
            return _SIMPLE[type(event)](status, now)
        case Offered():
            first = now if status.offered is None else status.offered
            return replace(status, offered=first), ()
        case Adopted(launched):
            # It may be on air or hang: its next report, or the stall limit, decides.
            adopted = replace(status, running=True, launched=launched, moved=now, offered=now)
            return _enter(adopted, OutputAir.CONNECTING, now), ()
        case ItemSent():
            return _roll_over(status, now, session.after)
        case RenewOrdered(cause):
            return _renewed(status, cause, now)
        case Exited(cause):
            return _exited(status, cause, now, policy)
        case Ticked():
            return _ticked(status, now, policy, session)
        case _:
            assert_never(event)


def _enter(status: Status, state: OutputAir, now: float) -> Status:
    return status if status.state is state else replace(status, state=state, since=now)


def _enabled(status: Status, now: float) -> tuple[Status, tuple[Action, ...]]:
    if status.state is not OutputAir.OFF or status.running:
        return status, ()
    return _launched(_enter(status, OutputAir.CONNECTING, now), now), (Launch(),)


def _launched(status: Status, now: float) -> Status:
    # A new session has part of the window to send.
    return replace(
        status,
        running=True,
        launched=now,
        moved=now,
        offered=now,
        on_air=None,
        retry_at=None,
    )


def _disabled(status: Status, now: float) -> tuple[Status, tuple[Action, ...]]:
    actions: tuple[Action, ...] = (Halt(),) if status.running else ()
    if status.lost is not None or status.rolled is not None:
        actions += (Regained(now),)
    off = replace(status, failures=0, retry_at=None, lost=None, rolled=None, cause="")
    return _enter(off, OutputAir.OFF, now), actions


def _moved(status: Status, now: float) -> tuple[Status, tuple[Action, ...]]:
    if not status.running or status.state is OutputAir.OFF:
        return status, ()
    if status.state is OutputAir.ROLLING and status.rolled is None:
        # The old session is still ending.
        return replace(status, moved=now, offered=None), ()
    gap = status.lost is not None or status.rolled is not None
    actions: tuple[Action, ...] = (Regained(now),) if gap else ()
    on_air = now if status.on_air is None else status.on_air
    moved = replace(
        status, moved=now, offered=None, on_air=on_air, lost=None, rolled=None, cause=""
    )
    return _enter(moved, OutputAir.ON_AIR, now), actions


def _exited(
    status: Status, cause: str, now: float, policy: Policy
) -> tuple[Status, tuple[Action, ...]]:
    exited = replace(status, running=False, on_air=None)
    if status.state is OutputAir.OFF:
        return exited, ()
    if status.state is OutputAir.ROLLING and status.rolled is None:
        begun = _launched(replace(exited, rolled=now, failures=0, cause=""), now)
        return begun, (Rolled(now, status.launched, status.cause), Launch())
    settled = status.on_air is not None and now - status.on_air >= policy.settled
    failures = 1 if settled else status.failures + 1
    actions: tuple[Action, ...] = ()
    lost = status.lost
    if lost is None:
        # A stalled pusher was off air since its data stopped, not since the stall was detected.
        lost = now if status.on_air is None else min(now, status.moved)
        actions = (Lost(lost, cause),)
    elif cause != status.cause:
        actions = (Explained(now, cause),)
    wait = delay(failures, policy)
    failed = replace(
        exited,
        failures=failures,
        lost=lost,
        rolled=None,
        cause=cause,
        retry_at=None if wait is None else now + wait,
    )
    if wait is None:
        return _enter(failed, OutputAir.GIVEN_UP, now), actions
    failing = failures >= policy.max_retries
    state = OutputAir.FAILING if failing else OutputAir.RETRYING
    failed = _enter(failed, state, now)
    if wait == 0:
        return _launched(failed, now), (*actions, Launch())
    return failed, actions


def _ticked(
    status: Status, now: float, policy: Policy, session: Session
) -> tuple[Status, tuple[Action, ...]]:
    if status.running:
        if status.offered is not None and now - status.offered > policy.stall:
            # Repeated at each tick until the process is gone. `moved` stays unchanged, so that
            # the incident starts where the data stopped.
            return status, (Halt(),)
        waits = status.offered is not None and now - status.offered >= policy.noticed
        if waits and status.state is OutputAir.ON_AIR:
            lost = replace(status, lost=status.moved, cause=TAKES_NOTHING)
            return _enter(lost, OutputAir.RETRYING, now), (Lost(status.moved, TAKES_NOTHING),)
        return _roll_over(status, now, session.by)
    if status.retry_at is not None and now >= status.retry_at:
        return _launched(status, now), (Launch(),)
    return status, ()


def _roll_over(status: Status, now: float, after: float) -> tuple[Status, tuple[Action, ...]]:
    """End the session if it has lasted for `after` seconds; 0: never."""
    if status.state is not OutputAir.ON_AIR or not after or now - status.launched < after:
        return status, ()
    return _enter(status, OutputAir.ROLLING, now), (Halt(),)


def _renewed(status: Status, cause: str, now: float) -> tuple[Status, tuple[Action, ...]]:
    if status.state is not OutputAir.ON_AIR:
        return status, ()
    return _enter(replace(status, cause=cause), OutputAir.ROLLING, now), (Halt(),)


#: What the events without a value of their own do.
_SIMPLE: Final[
    Mapping[type[Event], Callable[[Status, float], tuple[Status, tuple[Action, ...]]]]
] = {Enabled: _enabled, Disabled: _disabled, Moved: _moved}
