"""A second node stays in step: when it corrects, and with which turn it joins the owner."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Final

import pytest

from streams.playout.contract.place import Place
from streams.playout.contract.turn import FAILOVER, TAKEOVER, Turn
from streams.playout.player import events, machine
from streams.playout.player.following import (
    DIFFERENT_S,
    IN_STEP_S,
    SETTLED_S,
    Following,
    decide,
    turn_at,
)
from streams.playout.player.timeline import START
from streams.programme.item import Mode
from streams.programme.model import BASE
from streams.tests.playout.player.test_machine import (
    FEED,
    FILLER,
    FORMAT,
    ITEMS,
    LENGTH,
    LIVE,
    PLAN,
    ended,
    moment,
    plays,
    turn,
)

#: The owner's hub began the item at 1000; its destinations are 5 s behind.
OWNER: Final = Place(turn(ITEMS[0]), 1000.0, 5.0)
SHORT: Final = Turn(ITEMS[0], BASE, limit=Fraction(8), seconds=Fraction(8))


def own(began: float, lag: float | None = 5.0, index: int = 0, into: int = 0) -> Place:
    return Place(turn(ITEMS[index], into=Fraction(into)), began, lag)


CASES: Final[dict[str, tuple[Place | None, list[Place], float, bool]]] = {
    "in step": (OWNER, [own(1000.2)], 1010, False),
    "behind": (OWNER, [own(1001.5)], 1010, True),
    "ahead": (OWNER, [own(998.5)], 1010, True),
    "it joined in the middle": (OWNER, [own(1008.2, into=8)], 1010, False),
    "it joined the wrong second": (OWNER, [own(1008.2, into=6)], 1010, True),
    "its destination is closer to its hub": (OWNER, [own(1000, lag=3.5)], 1010, True),
    "that was taken into account": (OWNER, [own(1001.5, lag=3.5)], 1010, False),
    "its destination has received nothing yet": (OWNER, [own(1000, lag=None)], 1010, False),
    "another item": (OWNER, [own(1000, index=1)], 1010, True),
    "the right item is already fed": (OWNER, [own(995, index=1), own(1000)], 1010, False),
    "the owner's item is over": (OWNER, [own(1032, index=1)], 1033, False),
    "the owner's turn is over": (replace(OWNER, turn=SHORT), [own(1008, index=1)], 1009, False),
    "nothing is heard of the owner": (None, [own(1001.5)], 1010, False),
    "nothing is on air here": (OWNER, [], 1010, False),
    "the owner shows a live feed": (
        replace(OWNER, turn=turn(ITEMS[1], rule=TAKEOVER)),
        [own(1000)],
        1010,
        False,
    ),
    "the owner shows its filler": (
        replace(OWNER, turn=turn(FILLER, rule=FAILOVER)),
        [own(1000)],
        1010,
        False,
    ),
    "this node shows its filler": (OWNER, [Place(turn(FILLER), 1000.0)], 1010, False),
}


@pytest.mark.parametrize("name", CASES)
def test_when_it_corrects(name: str) -> None:
    owner, places, now, expected = CASES[name]
    first, at_once = decide(Following(), owner, places, now, FORMAT)
    assert not at_once, "a difference must last"
    later, corrects = decide(first, owner, places, now + DIFFERENT_S, FORMAT)
    assert corrects is expected
    again, _ = decide(later, owner, places, now + DIFFERENT_S + 1, FORMAT)
    _, again_corrects = decide(again, owner, places, now + 2 * DIFFERENT_S + 1, FORMAT)
    assert not (corrects and again_corrects), "a correction takes effect first"


def test_a_difference_must_last() -> None:
    apart, _ = decide(Following(), OWNER, [own(1000 + IN_STEP_S + 0.1)], 1010, FORMAT)
    assert apart.differs_since == 1010
    back, _ = decide(apart, OWNER, [own(1000)], 1012, FORMAT)
    assert back.differs_since is None
    settling = Following(settled_at=1010 + SETTLED_S)
    assert decide(settling, OWNER, [own(1002)], 1010, FORMAT) == (settling, False)


def test_an_item_that_can_not_be_played_here_is_not_tried_again() -> None:
    other = [own(1000, index=1)]
    joined = Following(joined=OWNER.turn, differs_since=1010)
    following, corrects = decide(joined, OWNER, other, 1010 + DIFFERENT_S, FORMAT)
    assert not corrects
    following, _ = decide(following, own(1020, index=2), other, 1021, FORMAT)
    assert decide(following, own(1020, index=2), other, 1021 + DIFFERENT_S, FORMAT)[1]


@pytest.mark.parametrize(
    ("played", "expected"),
    [
        # At its start, and at a keyframe: every two seconds.
        (-0.1, (0, None, True)),
        (0.1, (0, None, True)),
        (8.1, (8, None, True)),
        # Shortly before one: it starts there.
        (9.85, (10, None, True)),
        # Between two: a part of it fills the time to the next one, whole frames.
        (8.5, (8, Fraction(3, 2), False)),
        (9.01, (8, Fraction(99, 100), False)),
        # Up to its end, if that comes first.
        (31.5, (30, Fraction(1, 2), False)),
        # It is over.
        (31.9, None),
        (40, None),
    ],
)
def test_where_it_joins_an_item(
    played: float, expected: tuple[int, Fraction | None, bool] | None
) -> None:
    joined, final = turn_at(OWNER, OWNER.began + played, PLAN.programme, FORMAT)
    if joined is None:
        assert expected is None
        assert final
        return
    assert expected is not None
    into, fill, is_final = expected
    assert joined.into == into
    assert final is is_final
    assert (joined.item, joined.cursors) == (ITEMS[0], OWNER.turn.cursors)
    if fill is None:
        assert joined.limit is None
    else:
        assert joined.limit is not None
        assert abs(joined.limit - fill) <= FORMAT.frame
        assert (joined.limit * FORMAT.fps).denominator == 1


@pytest.mark.parametrize(
    ("mode", "limit", "into", "left"),
    [
        (Mode.TRANSCODE, None, Fraction(17, 2), None),
        (Mode.COPY, None, Fraction(17, 2), None),
        (Mode.PREPARED, Fraction(20), Fraction(8), Fraction(3, 2)),
    ],
)
def test_where_it_joins_other_turns(
    mode: Mode, limit: Fraction | None, into: Fraction, left: Fraction | None
) -> None:
    item = replace(ITEMS[0], mode=mode)
    place = replace(OWNER, turn=turn(item, limit=limit, seconds=limit))
    joined, _ = turn_at(place, 1008.5, PLAN.programme, FORMAT)
    assert joined is not None
    assert (joined.into, joined.limit) == (into, left)


def test_the_rest_of_a_limited_turn_keeps_its_end() -> None:
    place = Place(
        turn(ITEMS[0], into=Fraction(4), limit=Fraction(20), seconds=Fraction(20)), 1000.0
    )
    joined, final = turn_at(place, 1006.0, PLAN.programme, FORMAT)
    assert joined is not None
    assert (joined.into, joined.limit, final) == (Fraction(10), Fraction(14), True)


# ---- the machine


def test_it_cuts_and_joins_at_the_next_keyframe() -> None:
    """The hub's clock says that the feed's position 10 is sent at 1000."""
    place = Place(turn(ITEMS[1]), 995.5)
    state, actions = machine.step(plays(ITEMS[0]), events.OutOfStep(place), moment(3))
    assert [type(action) for action in actions] == [events.CutItem]
    assert not state.may_queue
    head = START + 6
    state, _ = machine.step(state, events.Exited(head, 255), moment(4))
    state, (started,) = machine.step(state, events.BufferLow(), moment(4))
    # At the head, 6 s from now, the owner is in second 10.5.
    assert isinstance(started, events.StartItem)
    assert (started.slot.turn.item, started.slot.turn.into) == (ITEMS[1], Fraction(10))
    assert started.slot.turn.limit == Fraction(3, 2)
    assert not state.may_queue
    state, _ = machine.step(state, events.Exited(head + Fraction(3, 2), 0), moment(5))
    state, (joined,) = machine.step(state, events.BufferLow(), moment(5))
    assert isinstance(joined, events.StartItem)
    assert (joined.slot.turn.into, joined.slot.turn.limit) == (Fraction(12), None)
    assert (state.join, state.may_queue) == (None, True)
    assert state.selection.cursors == place.turn.cursors


def test_it_joins_the_item_that_follows_meanwhile() -> None:
    place = Place(turn(ITEMS[1]), 1000.0 - float(LENGTH))
    state, _ = machine.step(ended(ITEMS[0]), events.OutOfStep(place), moment(31))
    state, (started,) = machine.step(state, events.BufferLow(), moment(31))
    # Its item is over since 32 s when the head is sent; that item has 32 s, too.
    assert isinstance(started, events.StartItem)
    assert (started.slot.turn.item, started.slot.turn.into) == (ITEMS[0], Fraction(0))
    assert state.join is None


def test_nothing_is_cut_while_a_live_feed_replaces_the_programme() -> None:
    state = plays(FEED, substitution=LIVE)
    assert machine.step(state, events.OutOfStep(OWNER), moment()) == (state, ())


def test_a_join_that_can_not_be_started_is_given_up() -> None:
    state = replace(plays(ITEMS[1]), join=OWNER)
    after, _ = machine.step(state, events.StartFailed("it is away", item=True), moment())
    assert after.join is None
