"""The feed's clock: joins, cuts, and the slot on air."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from media_library.house_format import HouseFormat
from streams.playout.contract.turn import Turn
from streams.playout.player.timeline import START, HubClock, Timeline, on_frame
from streams.programme.item import Item, Mode


def item(title: str, frames: int = 64) -> Turn:
    return Turn(Item(title, title, Mode.PREPARED, frames=frames))


def test_items_follow_one_another_without_gaps() -> None:
    line = Timeline().begin(item("a")).end(START + 5, "whole").begin(item("b"))
    assert [slot.start for slot in line.slots] == [START, START + 5]


def test_an_item_without_output_leaves_no_slot() -> None:
    line = Timeline().begin(item("a")).end(START + 5, "whole").begin(item("gone"))
    line = line.end(START + 5, "failed")
    assert [slot.item.title for slot in line.slots] == ["a"]
    assert line.head == START + 5


def test_room_for_an_item_without_output_is_returned() -> None:
    """Otherwise each missing file would leave a gap as long as its B-frames."""
    line = Timeline().begin(item("a")).end(START + 5, "whole")
    line = line.begin(item("gone"), Fraction(1, 15))
    assert line.slots[-1].start == START + 5 + Fraction(1, 15)
    assert line.end(line.slots[-1].start, "failed").head == START + 5


def test_what_is_on_air_follows_the_hub_and_not_the_player() -> None:
    line = Timeline().begin(item("a")).end(START + 5, "whole").begin(item("b"))
    line, changes = line.air(START + Fraction(1))
    assert [slot.item.title for _, slot in changes] == ["a"]
    line, changes = line.air(START + Fraction(4))
    assert changes == ()
    line = line.end(START + 7, "cut", "Skipped.")
    line, changes = line.air(START + Fraction(6))
    ((before, now),) = changes
    assert before is not None
    assert (before.item.title, before.ending, now.item.title) == ("a", "whole", "b")
    assert line.until(now) == START + 7
    line = line.begin(item("c"))
    line, changes = line.air(START + Fraction(8))
    ((before, now),) = changes
    assert before is not None
    assert (before.item.title, before.ending, before.cause) == ("b", "cut", "Skipped.")


def test_the_end_of_a_playing_item_is_unknown() -> None:
    line, _ = Timeline().begin(item("a")).air(START + Fraction(1))
    assert line.on_air is not None
    assert line.until(line.on_air) is None


def test_the_hub_keeps_wall_clock_time() -> None:
    clock = HubClock(at=START, when=1000.0)
    assert clock.position(1002.5) == START + Fraction(5, 2)
    assert clock.moment(START + Fraction(5, 2)) == 1002.5


@given(
    lengths=st.lists(st.integers(min_value=0, max_value=200), min_size=1, max_size=30),
    positions=st.lists(st.integers(min_value=0, max_value=6000), max_size=30),
)
def test_every_item_airs_once_and_in_order(lengths: list[int], positions: list[int]) -> None:
    line = Timeline()
    head = START
    for number, length in enumerate(lengths):
        head += Fraction(length)
        line = line.begin(item(str(number))).end(head, "whole")
    aired = []
    for position in [*sorted(positions), 10_000]:
        line, changes = line.air(START + position)
        aired += [int(slot.item.title) for _, slot in changes]
    assert aired == [number for number, length in enumerate(lengths) if length]
    assert len(line.slots) <= 1


def test_the_next_whole_frame() -> None:
    frame = HouseFormat().frame
    assert on_frame(Fraction(1, 60), frame) == frame
    assert on_frame(frame, frame) == frame


def test_slots_that_were_taken_back_are_dropped() -> None:
    one, two, three = (item(name) for name in ("one", "two", "three"))
    timeline = Timeline().begin(one).end(START + 5, "whole").begin(two).end(START + 7, "whole")
    timeline, _ = timeline.begin(three).air(START + 1)
    back = timeline.back_to(START + 4)
    assert [slot.turn for slot in back.slots] == [one]
    cut = back.end(START + 4, "cut", "Ada is live.")
    assert (cut.head, cut.on_air, cut.on_air and cut.on_air.ending) == (
        START + 4,
        cut.slots[0],
        "cut",
    )
    # A single slot stays, however much of it was taken back.
    assert Timeline().begin(one).back_to(START).slots[0].turn == one


def test_a_slot_with_the_same_start_comes_on_air() -> None:
    """The slot that counted as on air there has output nothing."""
    live, after = item("live"), item("after")
    timeline, _ = Timeline().begin(live).air(START + 1)
    timeline = timeline.end(START, "cut", "Returned by hand.").begin(after)
    timeline, changes = timeline.air(START + 1)
    assert [(a and a.ending, b.turn) for a, b in changes] == [("cut", after)]
    assert timeline.air(START + 2)[1] == ()
