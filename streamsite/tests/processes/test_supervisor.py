"""Which child is started, told to end or killed, and when."""

from __future__ import annotations

import signal

from streamsite.processes.supervisor import (
    FIRST_RESTART_DELAY_S,
    MAX_RESTART_DELAY_S,
    STEADY_S,
    STOP_TIMEOUT_S,
    Action,
    Child,
    Ended,
    Event,
    Opened,
    ProcessGroup,
    Send,
    Start,
    StopOrdered,
    Ticked,
    step,
)

BOTH = (Send("web", signal.SIGTERM), Send("jobs", signal.SIGTERM))


def played(*events: tuple[float, Event]) -> tuple[ProcessGroup, list[tuple[Action, ...]]]:
    """A group of two processes after these events, and the actions of each event."""
    group = ProcessGroup((Child("web"), Child("jobs")))
    done = []
    for at, event in events:
        group, actions = step(group, event, at)
        done.append(actions)
    return group, done


def test_all_children_are_started_at_once() -> None:
    group, done = played((0, Ticked()), (1, Ticked()))
    assert done == [(Start("web"), Start("jobs")), ()]
    assert group.wakes_at is None


def test_the_others_wait_until_the_pages_are_open_or_have_had_their_time() -> None:
    group = ProcessGroup((Child("web"), Child("jobs", due=20.0)))
    group, actions = step(group, Ticked(), 0.0)
    assert actions == (Start("web"),)
    late, actions = step(group, Ticked(), 20.0)
    assert actions == (Start("jobs"),)
    opened, _ = step(group, Opened(), 3.0)
    assert step(opened, Ticked(), 3.0)[1] == (Start("jobs"),)
    # Opened after that: nothing is started twice.
    late, _ = step(late, Opened(), 25.0)
    assert step(late, Ticked(), 25.0)[1] == ()


def test_an_opening_shortens_no_pause_after_an_end() -> None:
    group = ProcessGroup((Child("web"), Child("jobs")))
    for event in (Ticked(), Ended("jobs"), Opened(), Ticked()):
        group, actions = step(group, event, 1.0)
        assert actions == ((Start("web"), Start("jobs")) if actions else ())
    assert group.wakes_at == 1.0 + FIRST_RESTART_DELAY_S


def test_a_stop_before_the_pages_are_open_starts_nothing_more() -> None:
    group = ProcessGroup((Child("web"), Child("jobs", due=20.0)))
    for event in (Ticked(), StopOrdered(), Opened()):
        group, _ = step(group, event, 1.0)
    assert step(group, Ticked(), 2.0)[1] == ()
    group, _ = step(group, Ended("web"), 2.0)
    assert group.gone


def test_child_that_ended_is_started_again_after_a_pause() -> None:
    group, done = played((0, Ticked()), (5, Ended("web")), (5, Ticked()))
    assert done[1:] == [(), ()]
    assert group.wakes_at == 5 + FIRST_RESTART_DELAY_S
    _, done = played((0, Ticked()), (5, Ended("web")), (5 + FIRST_RESTART_DELAY_S, Ticked()))
    assert done[-1] == (Start("web"),)


def test_pause_doubles_up_to_its_bound() -> None:
    group = ProcessGroup((Child("web"),))
    pauses = []
    now = 0.0
    for _ in range(9):
        group, _ = step(group, Ticked(), now)
        group, _ = step(group, Ended("web"), now)
        assert group.wakes_at is not None
        pauses.append(group.wakes_at - now)
        now = group.wakes_at
    assert pauses == [
        0.5,
        1,
        2,
        4,
        8,
        16,
        MAX_RESTART_DELAY_S,
        MAX_RESTART_DELAY_S,
        MAX_RESTART_DELAY_S,
    ]


def test_child_that_was_steady_starts_its_pauses_anew() -> None:
    child = Child("web", running_since=100, due=None, ends_in_a_row=9)
    group, _ = step(ProcessGroup((child,)), Ended("web"), 100 + STEADY_S)
    assert group.wakes_at == 100 + STEADY_S + FIRST_RESTART_DELAY_S


def test_stop_reports_all_and_waits_for_them() -> None:
    group, done = played((0, Ticked()), (1, StopOrdered()), (2, Ended("web")))
    assert done[1] == BOTH
    assert not group.gone
    group, _ = step(group, Ended("jobs"), 2)
    assert group.gone


def test_stop_kills_after_the_grace_and_only_once() -> None:
    group, done = played(
        (0, Ticked()), (1, StopOrdered()), (2, Ended("web")), (1 + STOP_TIMEOUT_S, Ticked())
    )
    assert done[-1] == (Send("jobs", signal.SIGKILL),)
    assert group.wakes_at is None
    assert step(group, Ticked(), 1e9)[1] == ()


def test_second_stop_hurries() -> None:
    _, done = played((0, Ticked()), (1, StopOrdered()), (1.1, StopOrdered()))
    assert done[-1] == (Send("web", signal.SIGKILL), Send("jobs", signal.SIGKILL))


def test_nothing_is_started_once_the_stop_is_ordered() -> None:
    group, done = played((0, Ticked()), (1, Ended("web")), (1.1, StopOrdered()), (9, Ticked()))
    assert done[2] == (Send("jobs", signal.SIGTERM),)
    assert done[3] == (Send("jobs", signal.SIGKILL),)
    group, _ = step(group, Ended("jobs"), 9)
    assert group.gone
