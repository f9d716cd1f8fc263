"""The state machine of a pusher, branch by branch."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.playout.contract.output_status import Status
from streams.playout.contract.plan import Policy
from streams.playout.contract.states import OutputAir
from streams.playout.outputs import state_machine
from streams.playout.outputs.state_machine import (
    TAKES_NOTHING,
    Adopted,
    Disabled,
    Enabled,
    Exited,
    Explained,
    Halt,
    ItemSent,
    Launch,
    Lost,
    Moved,
    Offered,
    Regained,
    RenewOrdered,
    Rolled,
    Session,
    Ticked,
)

POLICY = Policy()
CONNECTING = Status(OutputAir.CONNECTING, since=100, running=True, launched=100, moved=100)
ON_AIR = replace(CONNECTING, state=OutputAir.ON_AIR, since=101, moved=150, on_air=101)
MOVING = replace(ON_AIR, moved=179)
#: Rolling over: the old session ends, the new one starts.
ENDING = replace(ON_AIR, state=OutputAir.ROLLING, since=160, moved=160, offered=160)
#: Data last moved at 150, and there has been more to send since then.
OFFERED = replace(ON_AIR, offered=150)
#: Nothing is taken, and its process still tries.
REFUSED = replace(OFFERED, state=OutputAir.RETRYING, since=158, lost=150, cause=TAKES_NOTHING)
RENEWED = replace(ENDING, cause="late")
BEGINNING = Status(
    OutputAir.ROLLING, since=160, running=True, launched=161, moved=161, offered=161, rolled=161
)
SESSION = Session(after=60, by=80)
RETRYING = Status(
    OutputAir.RETRYING,
    since=150,
    failures=2,
    retry_at=160,
    lost=150,
    cause="The server is down.",
)


@pytest.mark.parametrize(
    ("before", "event", "now", "state", "actions"),
    [
        (Status(), Enabled(), 100, OutputAir.CONNECTING, (Launch(),)),
        (CONNECTING, Enabled(), 101, OutputAir.CONNECTING, ()),
        (CONNECTING, Moved(), 101, OutputAir.ON_AIR, ()),
        (ON_AIR, Moved(), 151, OutputAir.ON_AIR, ()),
        (Status(), Moved(), 1, OutputAir.OFF, ()),
        # On air for long enough: the first retry is immediate; the output is lost from now on.
        (ON_AIR, Exited("x"), 150, OutputAir.RETRYING, (Lost(150, "x"), Launch())),
        # It had stalled before it was ended: the output was lost when its data stopped.
        (ON_AIR, Exited("x"), 162, OutputAir.RETRYING, (Lost(150, "x"), Launch())),
        # It never came on air: the output is lost since the first failure.
        (CONNECTING, Exited("x"), 103, OutputAir.RETRYING, (Lost(103, "x"), Launch())),
        (RETRYING, Ticked(), 159.9, OutputAir.RETRYING, ()),
        (RETRYING, Ticked(), 160, OutputAir.RETRYING, (Launch(),)),
        (replace(RETRYING, running=True), Moved(), 162, OutputAir.ON_AIR, (Regained(162),)),
        # The third consecutive failure; the incident is already open.
        (
            replace(RETRYING, running=True),
            Exited("y"),
            161,
            OutputAir.FAILING,
            (Explained(161, "y"),),
        ),
        # ... and a changed cause is reported.
        (replace(RETRYING, running=True), Exited(RETRYING.cause), 161, OutputAir.FAILING, ()),
        (OFFERED, Ticked(), 157.9, OutputAir.ON_AIR, ()),
        (OFFERED, Ticked(), 158, OutputAir.RETRYING, (Lost(150, TAKES_NOTHING),)),
        (REFUSED, Ticked(), 160, OutputAir.RETRYING, ()),
        (REFUSED, Moved(), 160, OutputAir.ON_AIR, (Regained(160),)),
        (REFUSED, Ticked(), 160.1, OutputAir.RETRYING, (Halt(),)),
        (REFUSED, Exited("x"), 161, OutputAir.RETRYING, (Explained(161, "x"), Launch())),
        (OFFERED, Ticked(), 160.1, OutputAir.ON_AIR, (Halt(),)),
        # The window received nothing new: another session would have nothing to send either.
        (ON_AIR, Ticked(), 179, OutputAir.ON_AIR, ()),
        (ON_AIR, Offered(), 160, OutputAir.ON_AIR, ()),
        (ON_AIR, Disabled(), 160, OutputAir.OFF, (Halt(),)),
        (RETRYING, Disabled(), 155, OutputAir.OFF, (Regained(155),)),
        (Status(running=True), Exited("x"), 1, OutputAir.OFF, ()),
        (Status(), Adopted(2), 5, OutputAir.CONNECTING, ()),
        # A due session ends with the item, or at its limit regardless of the item.
        (ON_AIR, ItemSent(), 159.9, OutputAir.ON_AIR, ()),
        (ON_AIR, ItemSent(), 160, OutputAir.ROLLING, (Halt(),)),
        (MOVING, Ticked(), 179.9, OutputAir.ON_AIR, ()),
        (MOVING, Ticked(), 180, OutputAir.ROLLING, (Halt(),)),
        (CONNECTING, ItemSent(), 500, OutputAir.CONNECTING, ()),
        # The old process may still report; its end is no failure.
        (ENDING, Moved(), 160.1, OutputAir.ROLLING, ()),
        (ENDING, ItemSent(), 160.1, OutputAir.ROLLING, ()),
        (MOVING, RenewOrdered("late"), 180, OutputAir.ROLLING, (Halt(),)),
        (RENEWED, Exited("x"), 161, OutputAir.ROLLING, (Rolled(161, 100, "late"), Launch())),
        (RETRYING, RenewOrdered("late"), 155, OutputAir.RETRYING, ()),
        (ENDING, Exited("x"), 161, OutputAir.ROLLING, (Rolled(161, 100), Launch())),
        (ENDING, Ticked(), 170.1, OutputAir.ROLLING, (Halt(),)),
        (ENDING, Disabled(), 161, OutputAir.OFF, (Halt(),)),
        (BEGINNING, Moved(), 163, OutputAir.ON_AIR, (Regained(163),)),
        (BEGINNING, Disabled(), 163, OutputAir.OFF, (Halt(), Regained(163))),
        # A failed first attempt is an ordinary loss.
        (BEGINNING, Exited("x"), 163, OutputAir.RETRYING, (Lost(163, "x"), Launch())),
        (BEGINNING, Ticked(), 171.1, OutputAir.ROLLING, (Halt(),)),
    ],
)
def test_every_branch(
    before: Status,
    event: state_machine.Event,
    now: float,
    state: OutputAir,
    actions: tuple[state_machine.Action, ...],
) -> None:
    after, done = state_machine.step(before, event, now, POLICY, SESSION)
    assert (after.state, done) == (state, actions)


def waits(policy: Policy, failures: int) -> list[float | None]:
    return [state_machine.delay(count, policy) for count in range(1, failures + 1)]


def test_retries_come_fast_then_slow_and_never_end() -> None:
    expected = [0, 1, 2, 4, 8, 16, 30, 60, 120, 120]
    assert waits(POLICY, 10) == expected
    assert state_machine.delay(1_000_000, POLICY) == 120


def test_give_up_retries_three_times_and_stops() -> None:
    assert waits(Policy(give_up=True), 4) == [30, 60, 120, None]
    status = replace(RETRYING, running=True, failures=3)
    after, _ = state_machine.step(status, Exited("x"), 200, Policy(give_up=True))
    assert (after.state, after.retry_at) == (OutputAir.GIVEN_UP, None)
    assert state_machine.step(after, Ticked(), 100_000, Policy(give_up=True)) == (after, ())


def test_a_cap_above_the_long_retries_is_kept() -> None:
    assert state_machine.delay(50, Policy(retry_cap=600)) == 600


def test_a_server_that_accepts_and_drops_is_not_flooded() -> None:
    """On air for a second each time: the failures keep counting."""
    status, _ = state_machine.step(Status(), Enabled(), 0, POLICY)
    now, launches = 0.0, 1
    for _ in range(6):
        status, _ = state_machine.step(status, Moved(), now, POLICY)
        now += 1
        status, actions = state_machine.step(status, Exited("dropped"), now, POLICY)
        if Launch() not in actions:
            assert status.retry_at is not None
            now = status.retry_at
            status, actions = state_machine.step(status, Ticked(), now, POLICY)
        launches += actions.count(Launch())
    assert (launches, status.failures) == (7, 6)
    assert now >= 0 + 1 + 2 + 4 + 8 + 16


def test_a_slow_window_does_not_count_as_a_stalled_destination() -> None:
    """A segment every 50 s, sent at once: no session ends because of that."""
    status, now = MOVING, 200.0
    for _ in range(5):
        status, _ = state_machine.step(status, Offered(), now, POLICY)
        status, _ = state_machine.step(status, Moved(), now + 9, POLICY)
        for later in (15.0, 30.0, 49.0):
            assert state_machine.step(status, Ticked(), now + later, POLICY)[1] == ()
        now += 50


def test_a_stalled_destination_is_disconnected_ten_seconds_after_the_offer() -> None:
    status, _ = state_machine.step(MOVING, Offered(), 185, POLICY)
    status, _ = state_machine.step(status, Offered(), 194, POLICY)
    assert state_machine.step(status, Ticked(), 192.9, POLICY)[1] == ()
    # Known before that, and lost since its data stopped.
    status, actions = state_machine.step(status, Ticked(), 193, POLICY)
    assert actions == (Lost(179, TAKES_NOTHING),)
    assert state_machine.step(status, Ticked(), 195, POLICY)[1] == ()
    assert state_machine.step(status, Ticked(), 195.1, POLICY)[1] == (Halt(),)
    # The same applies to one that never accepts anything.
    assert state_machine.step(
        state_machine.step(Status(), Enabled(), 0, POLICY)[0], Ticked(), 10.1, POLICY
    )[1] == (Halt(),)


def test_a_settled_session_resets_the_failure_count() -> None:
    status = replace(ON_AIR, failures=7)
    after, actions = state_machine.step(status, Exited("x"), 101 + POLICY.settled, POLICY)
    assert after.failures == 1
    assert Launch() in actions


def test_a_rollover_is_no_failure_and_the_next_session_lasts_as_long() -> None:
    status, _ = state_machine.step(
        replace(ENDING, failures=2), Exited("x"), 161, POLICY, SESSION
    )
    assert (status.failures, status.launched, status.cause) == (0, 161, "")
    status, _ = state_machine.step(status, Moved(), 162, POLICY, SESSION)
    assert state_machine.step(status, ItemSent(), 220.9, POLICY, SESSION) == (status, ())
    status, actions = state_machine.step(status, ItemSent(), 221, POLICY, SESSION)
    assert actions == (Halt(),)


def test_an_adopted_session_is_as_old_as_its_process() -> None:
    status, _ = state_machine.step(Status(), Adopted(100), 155, POLICY, SESSION)
    status, _ = state_machine.step(status, Moved(), 156, POLICY, SESSION)
    _, actions = state_machine.step(status, ItemSent(), 160, POLICY, SESSION)
    assert actions == (Halt(),)


def test_without_a_limit_nothing_is_rolled_over() -> None:
    for event in (ItemSent(), Ticked()):
        status = replace(ON_AIR, moved=1e9)
        assert state_machine.step(status, event, 1e9, POLICY) == (status, ())


EVENTS = st.sampled_from(
    [
        *(Enabled(), Disabled(), Moved(), Exited("x"), Exited("y"), ItemSent(), Offered()),
        *(Ticked(), Ticked(), Moved()),
    ]
)


@given(st.lists(st.tuples(st.floats(0.01, 30), EVENTS), max_size=60))
def test_at_most_one_process_runs_and_every_gap_is_closed_once(
    story: list[tuple[float, state_machine.Event]],
) -> None:
    """Stop before start: a server refuses a second publisher of one key."""
    status, now, running, gap = Status(), 0.0, False, ""
    for wait, event in story:
        now += wait
        if isinstance(event, Exited | Moved) and not running:
            # Without a process there is nothing to report.
            continue
        running = running and not isinstance(event, Exited)
        status, done = state_machine.step(status, event, now, POLICY, SESSION)
        for action in done:
            match action:
                case Launch():
                    assert not running
                    running = True
                case Halt():
                    assert running
                case Explained():
                    assert gap == "lost"
                case Rolled():
                    assert not gap
                    gap = "planned"
                case Lost():
                    # Replaces a planned gap, or follows none.
                    assert gap != "lost"
                    gap = "lost"
                case Regained():
                    assert gap
                    gap = ""
        assert status.running == running
        assert (status.lost is not None, status.rolled is not None) == (
            gap == "lost",
            gap == "planned",
        )
