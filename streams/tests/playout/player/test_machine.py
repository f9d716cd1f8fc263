"""The player's machine as a table: a state, an event, and what follows."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Final

import pytest

from media_library.house_format import HouseFormat
from streams.playout.contract.moment import Now
from streams.playout.contract.plan import ChannelPlan, Policy
from streams.playout.contract.turn import TAKEOVER, Turn
from streams.playout.player import events, machine
from streams.playout.player.ending import BY_PLAN, WHOLE, Cut
from streams.playout.player.events import Action, Event
from streams.playout.player.machine import Moment, State
from streams.playout.player.selection import Selection
from streams.playout.player.timeline import START, HubClock, Slot, Timeline
from streams.playout.takeover.controller import Substitution
from streams.programme.item import Item, Kind, Mode
from streams.programme.model import BASE, Cursor
from streams.tests.bench.engine import FileSources, programme

FORMAT: Final = HouseFormat()
LENGTH: Final = Fraction(32)
ITEMS: Final = tuple(
    Item(name, name, Mode.PREPARED, entry=entry, frames=int(LENGTH * FORMAT.fps))
    for entry, name in enumerate("abc", 1)
)
FILLER: Final = Item("filler", "filler", Mode.PREPARED, Kind.FILLER, entry=9, frames=960)
SLATE: Final = Item("slate", "slate", Mode.PREPARED, Kind.SLATE, frames=960)
FEED: Final = Item("Live: Ada", "live-7", Mode.TRANSCODE, Kind.LIVE)
LIVE: Final = Substitution(Turn(FEED, TAKEOVER, "Ada is live."))
PLAN: Final = ChannelPlan(
    1, "test", FORMAT, programme(*ITEMS, filler=(FILLER,), seconds=int(LENGTH)), (), SLATE
)
CUT: Final = Cut("cut", "Skipped.")
SHARP: Final = Cut("cut", "Ada is live.", resumes=True, sharp=True)


def moment(sent: int = 0, plan: ChannelPlan = PLAN, **policy: bool) -> Moment:
    """A moment at which the hub has sent so many seconds of the feed."""
    clock = HubClock(START, 1000.0)
    return Moment(Now(1000.0 + sent, 5e8 + sent), plan, Policy(**policy), FileSources(), clock)


def turn(item: Item, **more: object) -> Turn:
    rule = TAKEOVER if item is FEED else BASE
    cursors = {} if item.entry is None else {BASE: Cursor(item.entry)}
    return replace(
        Turn(item, rule, cursors=cursors, stands_in=item.kind in {Kind.FILLER, Kind.SLATE}),
        **more,  # type: ignore[arg-type]  # fields of any type
    )


def plays(item: Item, before: State | None = None, **more: object) -> State:
    """A player plays that item, behind the turns of `before`."""
    state = before or State()
    playing = turn(item)
    return replace(
        state,
        timeline=state.timeline.begin(playing),
        selection=Selection(playing.cursors, last=playing),
        playing=True,
        programme=PLAN.programme,
        **more,  # type: ignore[arg-type]  # fields of any type
    )


def ended(item: Item) -> State:
    """That item has been fed completely, and nothing plays."""
    state = plays(item)
    timeline = state.timeline.end(START + LENGTH, "whole")
    return replace(state, timeline=timeline, playing=False)


def names(actions: tuple[Action, ...]) -> str:
    return " ".join(type(action).__name__ for action in actions)


NOTHING: Final = State()
LEFT: Final = events.Exited(START + LENGTH, 0)

ROWS: Final[dict[str, tuple[State, Event, Moment, str]]] = {
    "the first item starts": (NOTHING, events.BufferLow(), moment(), "StartItem"),
    "enough is buffered": (ended(ITEMS[0]), events.BufferLow(), moment(10), ""),
    "the buffer is low": (ended(ITEMS[0]), events.BufferLow(), moment(30), "StartItem"),
    "the pause after nothing could be played": (
        replace(NOTHING, not_before=1001.0),
        events.BufferLow(),
        moment(),
        "",
    ),
    "an item delivers": (
        plays(ITEMS[0]),
        events.Polled(stalled=None, moved=True),
        moment(),
        "",
    ),
    "a source stalls": (
        plays(ITEMS[0]),
        events.Polled(stalled=True, moved=True),
        moment(),
        "Trouble ReportFailure CutItem",
    ),
    "an unpaced source does not stall": (
        plays(ITEMS[0]),
        events.Polled(stalled=True, moved=True),
        moment(paced=False),
        "",
    ),
    "a live feed is measured at its conformer": (
        plays(FEED),
        events.Polled(stalled=True, moved=True),
        moment(),
        "",
    ),
    "a skip cuts": (plays(ITEMS[0]), events.SkipOrdered(), moment(1), "CutItem"),
    "a skip finds nothing": (NOTHING, events.SkipOrdered(), moment(), ""),
    "a skip during a live feed": (plays(FEED), events.SkipOrdered(), moment(1), "Refuse"),
    "a skip while the next item is fed": (
        plays(ITEMS[1], ended(ITEMS[0])),
        events.SkipOrdered(),
        moment(31),
        "Refuse",
    ),
    "a takeover cuts": (
        plays(ITEMS[0]),
        events.TakeoverChanged(LIVE, "Ada is live."),
        moment(),
        "CutItem",
    ),
    "a takeover is on": (plays(FEED), events.TakeoverChanged(LIVE, ""), moment(), ""),
    "a takeover is over": (plays(FEED), events.TakeoverChanged(None, ""), moment(), "CutItem"),
    "a takeover of an ending item": (
        plays(ITEMS[0], cut=CUT),
        events.TakeoverChanged(LIVE, ""),
        moment(),
        "",
    ),
    "the programme is available again": (
        plays(FILLER),
        events.Polled(stalled=None, moved=True),
        moment(11),
        "CutItem",
    ),
    "a stand-in does not flap": (
        plays(FILLER),
        events.Polled(stalled=None, moved=True),
        moment(9),
        "",
    ),
    "an item ends": (plays(ITEMS[0]), LEFT, moment(30), ""),
    "FFmpeg finds fault with an item": (
        plays(ITEMS[0]),
        events.Exited(START, 1),
        moment(),
        "Trouble ReportFailure",
    ),
    "a killed player proves nothing": (
        plays(ITEMS[0]),
        events.Exited(START + 5, -9),
        moment(),
        "Trouble",
    ),
    "FFmpeg is missing": (plays(ITEMS[0]), events.Exited(START, 127), moment(), "Trouble"),
    "an item comes on air": (plays(ITEMS[0]), events.Sent(START), moment(), "OnAir"),
    "the item stays on air": (
        machine.step(plays(ITEMS[0]), events.Sent(START), moment())[0],
        events.Sent(START + 5),
        moment(5),
        "",
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_an_event_leads_to_actions(row: tuple[State, Event, Moment, str]) -> None:
    state, event, at, expected = row
    assert names(machine.step(state, event, at)[1]) == expected


def start(state: State, at: Moment) -> Turn:
    """The turn that is started if nothing plays."""
    after, (action,) = machine.step(state, events.BufferLow(), at)
    assert isinstance(action, events.StartItem)
    assert after.playing
    assert after.timeline.slots[-1] == action.slot
    return action.slot.turn


def after_exit(cut: Cut | None, seconds: int, code: int = 0) -> State:
    """The state after an item has ended `seconds` after its start."""
    state = plays(ITEMS[0], cut=cut)
    return machine.step(state, events.Exited(START + seconds, code), moment(seconds))[0]


@pytest.mark.parametrize(
    ("cut", "seconds", "code", "following", "into"),
    [
        pytest.param(None, 32, 0, "b", 0, id="whole"),
        pytest.param(CUT, 20, 255, "b", 0, id="skipped"),
        pytest.param(replace(CUT, resumes=True), 20, 255, "a", 20, id="cut by the programme"),
        pytest.param(None, 20, 1, "a", 20, id="broke off"),
        pytest.param(None, 5, 1, "b", 0, id="broke off at once"),
        pytest.param(None, 0, 127, "a", 0, id="FFmpeg is missing"),
    ],
)
def test_a_list_continues_by_the_ending(
    cut: Cut | None, seconds: int, code: int, following: str, into: int
) -> None:
    after = after_exit(cut, seconds, code)
    # There is time to try another item; a pause follows if nothing can be started.
    begun = start(after, moment(max(seconds - 2, 1)))
    assert (begun.item.title, int(begun.into)) == (following, into)


def test_after_a_stall_something_local_follows() -> None:
    state, _ = machine.step(plays(ITEMS[0]), events.Polled(stalled=True, moved=True), moment(1))
    assert state.cut == Cut("failed", "The source stalled.")
    assert not state.may_queue
    after, _ = machine.step(state, events.Exited(START + 2, -9), moment(2))
    assert start(after, moment(2)).item == SLATE


def test_a_takeover_and_the_return() -> None:
    state, (cut,) = machine.step(
        plays(ITEMS[0]), events.TakeoverChanged(LIVE, "Ada is live."), moment(12)
    )
    assert cut == events.CutItem(kill=False)
    after, _ = machine.step(state, events.Exited(START + 13, 255), moment(12))
    assert start(after, moment(12)).item == FEED
    live = machine.step(after, events.BufferLow(), moment(12))[0]
    back, (kill,) = machine.step(live, events.TakeoverChanged(None, "Over."), moment(50))
    # A relay that is asked to end would discard a piece in the middle.
    assert kill == events.CutItem(kill=True)
    after, _ = machine.step(back, events.Exited(START + 50, -9), moment(49))
    resumed = start(after, moment(49))
    assert (resumed.item.title, int(resumed.into), resumed.fade) == ("a", 12, True)


def test_a_live_feed_takes_the_data_that_waits_back() -> None:
    """The next item may have been started already: it was never on air."""
    state = replace(plays(ITEMS[1], ended(ITEMS[0])), cut=SHARP)
    after, _ = machine.step(state, events.Exited(START + 30, -9), moment(29))
    (slot,) = after.timeline.slots
    assert (slot.item.title, slot.ending, after.timeline.head) == ("a", "cut", START + 30)
    assert after.selection.cursors[BASE].into == 30


def test_a_relay_that_ends_is_restarted() -> None:
    state = replace(plays(FEED), substitution=LIVE)
    after, actions = machine.step(state, events.Exited(START + 9, 0), moment(9))
    assert not actions
    assert start(after, moment(9)).item == FEED


def test_an_item_that_cant_be_started_leaves_no_trace_on_the_feed() -> None:
    begun, _ = machine.step(ended(ITEMS[0]), events.BufferLow(), moment(31))
    for by_item, following in ((True, "c"), (False, "b")):
        failed = events.StartFailed("it is gone", item=by_item)
        after, actions = machine.step(begun, failed, moment(29))
        assert names(actions) == "Trouble"
        assert after.timeline == ended(ITEMS[0]).timeline
        # Only the item is skipped: a missing FFmpeg must not skip through the programme.
        assert start(after, moment(30)).item.title == following


def test_after_a_long_gap_the_next_item_starts_at_the_hubs_clock() -> None:
    after, _ = machine.step(ended(ITEMS[0]), events.BufferLow(), moment(35))
    assert after.timeline.slots[-1].start == START + LENGTH
    after, _ = machine.step(ended(ITEMS[0]), events.BufferLow(), moment(60))
    assert after.timeline.slots[-1].start == START + 60


def test_a_queued_item_follows_exactly() -> None:
    following = Slot(turn(ITEMS[1]), START + LENGTH)
    event = events.Followed(following, PLAN.programme)
    after, actions = machine.step(plays(ITEMS[0]), event, moment(31))
    assert not actions
    first, second = after.timeline.slots
    assert (first.ending, first.end, second) == ("whole", START + LENGTH, following)
    assert after.selection.cursors == {BASE: Cursor(2)}


def test_a_changed_programme_ends_the_turn_in_time() -> None:
    """Data in the pipe can't be stopped any more: the turn ends that much earlier."""
    limited = replace(PLAN.programme, cut=Fraction(1))
    plan = replace(PLAN, programme=limited)
    state = replace(plays(ITEMS[0]), must_end=START + 20, programme=limited)
    polled = events.Polled(stalled=None, moved=True)
    after, actions = machine.step(state, polled, moment(16, plan))
    assert not actions
    after, (action,) = machine.step(after, polled, moment(17, plan))
    assert action == events.CutItem(kill=False)
    assert after.cut == Cut("cut", "The programme was changed.", resumes=True)


MISSED: Final = (Slot(turn(ITEMS[0]), START), Slot(turn(ITEMS[1]), START + LENGTH))


@pytest.mark.parametrize(
    ("head", "missed", "endings", "previous", "into"),
    [
        pytest.param(START + 32, MISSED[:1], [], WHOLE, None, id="one, whole"),
        pytest.param(START + 20, MISSED[:1], [], "cut", 20, id="one, cut short"),
        pytest.param(START + 52, MISSED, ["whole", "cut"], WHOLE, 20, id="the second, cut"),
        pytest.param(START + 64, MISSED, ["whole", "whole"], WHOLE, None, id="two, whole"),
        pytest.param(START + 5, (), [], WHOLE, None, id="none"),
    ],
)
def test_players_that_ended_unobserved_are_judged_by_the_feed(
    head: Fraction,
    missed: tuple[Slot, ...],
    endings: list[str],
    previous: Cut | str,
    into: int | None,
) -> None:
    after, actions = machine.step(State(), events.Resumed(head, missed), moment())
    assert not actions
    assert [slot.ending for slot in after.timeline.slots] == endings
    assert after.timeline.head == head
    assert previous in {after.previous, after.previous.ending}
    assert after.selection.cursors.get(BASE, Cursor()).into == into


def test_an_adopted_player_follows_the_missed_ones() -> None:
    event = events.Resumed(START + LENGTH, MISSED[:1], MISSED[1].turn)
    after, _ = machine.step(State(), event, moment())
    assert after.turn == MISSED[1].turn
    assert [slot.ending for slot in after.timeline.slots] == ["whole", ""]


def test_an_earlier_supervisors_trouble_ends_when_an_item_is_on_air() -> None:
    state = plays(ITEMS[0])
    state = replace(state, selection=replace(state.selection, trouble=""))
    after, actions = machine.step(state, events.Sent(START), moment())
    assert events.Trouble("") in actions
    assert after.selection.trouble is None


def test_a_turn_that_ends_at_its_limit_was_cut_by_plan() -> None:
    limited = turn(ITEMS[0], limit=Fraction(16))
    state = replace(plays(ITEMS[0]), timeline=Timeline().begin(limited))
    after, _ = machine.step(state, events.Exited(START + 16, 0), moment(15))
    (slot,) = after.timeline.slots
    assert (slot.ending, slot.cause) == (BY_PLAN.ending, BY_PLAN.cause)


def test_a_rule_may_put_a_filler_before_the_next_item() -> None:
    order = events.SkipOrdered("The picture is black.", filler=True)
    state, _ = machine.step(plays(ITEMS[0]), order, moment(12))
    state, actions = machine.step(state, events.Exited(START + 12, 255), moment(12))
    assert actions == (events.Trouble("The picture is black."),)
    state, started = machine.step(state, events.BufferLow(), moment(12))
    assert isinstance(started[0], events.StartItem)
    assert started[0].slot.item is FILLER
    # The item that was skipped does not come again.
    state, _ = machine.step(state, events.Exited(START + 44, 0), moment(44))
    _, started = machine.step(state, events.BufferLow(), moment(44))
    assert isinstance(started[0], events.StartItem)
    assert started[0].slot.item is ITEMS[1]
