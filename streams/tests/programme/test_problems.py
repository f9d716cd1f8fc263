"""Problems found in the coming programme."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from streams.programme import problems
from streams.programme.item import Item, Mode
from streams.programme.model import Block as TimeBlock
from streams.programme.model import Entry, Pick, Programme, Rotation, Start
from streams.programme.problems import Copy, Fillers, ItemFacts, find_problems
from streams.programme.schedule import preview

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
UTC_ZONE = ZoneInfo("UTC")
FINE = ItemFacts(there=True)


def entry(number: int, rating: int | None = None, mode: Mode = Mode.PREPARED) -> Entry:
    item = Item(f"Item {number}", f"{number}.mp4", mode, entry=number, media=number)
    return Entry(item, Fraction(1600), rating)


def picks(programme: Programme, hours: int = 36) -> list[Pick]:
    return list(preview(programme, NOON, NOON + timedelta(hours=hours), {}))


THREE = Programme(Rotation((entry(1), entry(2), entry(3))), UTC_ZONE)


@pytest.mark.parametrize(
    ("facts", "subject", "text", "soft"),
    [
        (ItemFacts(there=False), "missing-2", "is not in the storage any more (2.mp4)", False),
        (
            ItemFacts(Copy.LEFT, "No space.", there=True),
            "unprepared-2",
            "could not be prepared and will be encoded while it is on air, which takes",
            False,
        ),
        (ItemFacts(Copy.COMING, there=True), "waiting-2", "is not prepared yet", True),
        (ItemFacts(Copy.COMING, inspected=False), "new-2", "was not inspected yet", True),
        # Only the most severe.
        (ItemFacts(Copy.LEFT, "x", inspected=False, there=False), "missing-2", "", False),
    ],
)
def test_every_fault_of_an_item_has_a_sentence(
    facts: ItemFacts,
    subject: str,
    text: str,
    soft: bool,
) -> None:
    programme = replace(THREE, base=Rotation((entry(1), entry(2, mode=Mode.TRANSCODE))))
    (fault,) = find_problems(programme, picks(programme), {1: FINE, 2: facts}).faults
    assert (fault.subject, fault.media, fault.soft) == (subject, 2, soft)
    assert text in fault.sentence
    # At its first airtime.
    assert fault.airs_at == NOON + timedelta(seconds=1600)


def test_a_copied_item_is_not_reported_as_encoded() -> None:
    programme = replace(THREE, base=Rotation((entry(1, mode=Mode.COPY),)))
    (fault,) = find_problems(
        programme, picks(programme), {1: ItemFacts(Copy.COMING, there=True)}
    ).faults
    assert "sent without conversion" in fault.sentence


def test_an_unknown_storage_state_is_no_problem() -> None:
    findings = find_problems(THREE, picks(THREE), {1: FINE, 2: ItemFacts(there=None)})
    assert findings.faults == ()
    # An item without any facts is just as unsure.
    assert findings.unsure == {2, 3}


def test_a_stretch_without_playable_items_is_reported_with_its_cause() -> None:
    block = TimeBlock(7, "Kids", Rotation((entry(9, 12),)), time(20), time(21), max_rating=6)
    facts = dict.fromkeys((1, 2, 3, 9), FINE)
    alone = replace(THREE, blocks=(block,))
    (fault,) = find_problems(alone, picks(alone), facts).faults
    assert fault.subject == "nothing-block-7"
    assert NOON + timedelta(hours=8) <= fault.airs_at < NOON + timedelta(hours=8, minutes=27)
    assert fault.sentence.startswith(
        "Block “Kids” has nothing to play, none of its 1 entries is rated 6 or younger"
    )
    assert fault.sentence.endswith("min there is no filler, so the slate is on.")
    filled = replace(alone, filler=Rotation((entry(50, 0),)))
    (fault,) = find_problems(filled, picks(filled), {**facts, 50: FINE}).faults
    assert fault.sentence.endswith("min filler is on.")
    empty = Programme(Rotation(()), UTC_ZONE)
    (fault,) = find_problems(empty, picks(empty), {}).faults
    assert (fault.subject, fault.airs_at) == ("nothing-base", NOON)
    assert "The base playlist has nothing to play, its playlist is empty" in fault.sentence
    assert "For 2160 min" in fault.sentence


def test_filler_that_fits_a_gap_is_no_problem() -> None:
    block = TimeBlock(7, "News", Rotation((entry(9),)), time(20), time(21), fit=True)
    programme = replace(THREE, blocks=(block,), filler=Rotation((entry(50),)))
    planned = picks(programme)
    assert any(pick.rule == "filler" for pick in planned)
    assert find_problems(programme, planned, dict.fromkeys((1, 2, 3, 9, 50), FINE)).faults == ()


@pytest.mark.parametrize(
    ("fillers", "text"),
    [
        (Fillers("Net", 0), "The filler “Net” can't stand in for anything: it is empty"),
        (Fillers("Net", 3), "none of its 3 entries is prepared yet"),
    ],
)
def test_an_unplayable_filler_is_reported(fillers: Fillers, text: str) -> None:
    facts = dict.fromkeys((1, 2, 3), FINE)
    (fault,) = find_problems(THREE, picks(THREE), facts, fillers=fillers).faults
    assert text in fault.sentence
    ready = replace(THREE, filler=Rotation((entry(50),)))
    assert find_problems(ready, picks(ready), facts, fillers=fillers).faults == ()


def test_a_block_whose_next_item_never_fits_is_reported() -> None:
    """The block would be filler forever."""
    # The item lasts 27 minutes.
    block = TimeBlock(7, "News", Rotation((entry(9),)), time(20), time(20, 15), fit=True)
    programme = replace(THREE, blocks=(block,), filler=Rotation((entry(50),)))
    facts = dict.fromkeys((1, 2, 3, 9, 50), FINE)
    # On the next day an item of the base playlist covers all of it, which is another problem.
    (fault,) = find_problems(programme, picks(programme, 12), facts).faults
    assert fault.subject == "too-long-block-7"
    assert NOON + timedelta(hours=8) <= fault.airs_at < NOON + timedelta(hours=8, minutes=15)
    assert fault.sentence.startswith(
        "“Item 9” is next in block “News” and never fits: it lasts 27 min, the block 15 min. "
        "Filler is on instead, every time:"
    )
    # An item that is too late today fits tomorrow.
    longer = replace(programme, blocks=(replace(block, ends=time(20, 28)),))
    planned = picks(longer)
    assert any(pick.rule == "filler" for pick in planned)
    assert find_problems(longer, planned, facts).faults == ()
    # Without an exact fit it plays and is not cut.
    played = replace(programme, blocks=(replace(block, fit=False),))
    assert find_problems(played, picks(played, 12), facts).faults == ()


def test_an_unrated_filler_is_reported() -> None:
    facts = dict.fromkeys((1, 2, 3, 9, 50, 51), FINE)
    rated = [entry(1, 6), entry(2, 6), entry(3, 6)]
    filler = Rotation((entry(50), entry(51, 16)))
    programme = replace(THREE, base=Rotation(tuple(rated)), filler=filler, max_rating=12)
    faults = find_problems(programme, picks(programme), facts, fillers=Fillers("Net", 2)).faults
    assert [(fault.subject, fault.airs_at) for fault in faults] == [("filler", NOON)]
    assert (
        "The filler “Net” can't stand in for anything: none of its 2 prepared entries is rated "
        "12 or younger: rate them" in faults[0].sentence
    )
    well = replace(programme, max_rating=16)
    assert find_problems(well, picks(well), facts, fillers=Fillers("Net", 2)).faults == ()
    # Only in a block with a lower age rating.
    block = TimeBlock(7, "Kids", Rotation((entry(9, 0),)), time(20), time(21), max_rating=6)
    kids = replace(well, blocks=(block,))
    (fault,) = find_problems(kids, picks(kids), facts, fillers=Fillers("Net", 2)).faults
    assert fault.subject == "filler-block-7"
    assert fault.airs_at >= NOON + timedelta(hours=8)
    assert "in block “Kids”: none of its 2 prepared entries is rated 6" in fault.sentence


def test_a_faulty_item_is_reported_at_its_replacements_time() -> None:
    listed = [
        (1, 1, "A", ""),
        (8, 8, "B", "It is not a video."),
        (2, 2, "C", ""),
        (3, 3, "D", ""),
    ]
    left_out = list(problems.left_out_entries(listed))
    (fault,) = find_problems(
        THREE, picks(THREE), dict.fromkeys((1, 2, 3), FINE), left_out
    ).faults
    assert (fault.subject, fault.media) == ("fault-8", 8)
    assert fault.airs_at == NOON + timedelta(seconds=1600)
    assert fault.sentence == "“B” can't be played and will be left out: It is not a video."
    # The first entry replaces the last one; nothing replaces a list of faulty entries.
    assert [
        entry.replacement for entry in problems.left_out_entries([*listed[1:], listed[1]])
    ] == [2, 2]
    assert list(problems.left_out_entries([listed[1]])) == []
    # A block that is not on has nothing to report.
    elsewhere = list(problems.left_out_entries(listed, "block-9"))
    assert (
        find_problems(THREE, picks(THREE), dict.fromkeys((1, 2, 3), FINE), elsewhere).faults
        == ()
    )


ITEM_FACTS = st.builds(
    ItemFacts,
    st.sampled_from(Copy),
    st.sampled_from(["", "No space."]),
    inspected=st.booleans(),
    there=st.sampled_from([True, False, None]),
)


@hypothesis_settings(deadline=None)
@given(st.dictionaries(st.integers(1, 3), ITEM_FACTS), st.booleans(), st.integers(0, 2))
def test_every_problem_is_reported_once_and_within_the_period(
    facts: dict[int, ItemFacts],
    bare: bool,
    fillers: int,
) -> None:
    programme = Programme(Rotation(()), UTC_ZONE) if bare else THREE
    findings = find_problems(programme, picks(programme, 5), facts, (), Fillers("Net", fillers))
    subjects = [fault.subject for fault in findings.faults]
    assert len(subjects) == len(set(subjects))
    media = [fault.media for fault in findings.faults if fault.media is not None]
    assert len(media) == len(set(media))
    assert all(NOON <= fault.airs_at < NOON + timedelta(hours=5) for fault in findings.faults)
    # Items that are fine are not reported.
    assert not {n for n, item_facts in facts.items() if item_facts == FINE} & set(media)


NEWS = TimeBlock(3, "News", Rotation((entry(9),)), time(20), time(20, 5))
#: From 12:00: an item of eight hours and a half, over the whole of “News”.
LONG = Entry(replace(entry(1).item, title="Long"), Fraction(int(8.5 * 3600)))


def unseen(*blocks: TimeBlock, base: tuple[Entry, ...] = (LONG,)) -> list[str]:
    programme = Programme(Rotation(base), UTC_ZONE, blocks)
    findings = find_problems(
        programme, picks(programme, 12), dict.fromkeys((1, 2, 3, 9), FINE)
    ).faults
    return [fault.sentence for fault in findings if fault.subject.startswith("unseen-")]


def test_a_soft_block_within_an_item_is_reported() -> None:
    (sentence,) = unseen(NEWS)
    assert sentence == (
        "Block “News” (20:00 to 20:05) won't be on air: it starts softly, and “Long” plays "
        "from 12:00 to 20:30. Let it cut in (hard), move it, or make it longer."
    )
    programme = Programme(Rotation((LONG,)), UTC_ZONE, (NEWS,))
    (fault,) = find_problems(
        programme, picks(programme, 12), dict.fromkeys((1, 9), FINE)
    ).faults
    assert (fault.airs_at, fault.soft) == (NOON + timedelta(hours=8), False)


def test_a_block_that_airs_or_is_covered_is_not_reported() -> None:
    # It cuts in; an item ends within it; another block covers it all the time.
    assert unseen(replace(NEWS, start=Start.HARD)) == []
    assert unseen(NEWS, base=(entry(1), entry(2))) == []
    assert unseen(replace(NEWS, ends=time(21))) == []
    over = replace(NEWS, pk=4, name="Gala", priority=1, start=Start.HARD, ends=time(21))
    assert unseen(NEWS, over) == []
    # Beyond the period, and while the channel is off, it is unknown.
    assert unseen(replace(NEWS, starts=time(4, 59), ends=time(5, 30))) == []
    assert unseen(replace(NEWS, starts=time(11), ends=time(11, 30))) == []


def test_filler_in_a_blocks_time_belongs_to_the_block() -> None:
    empty = replace(NEWS, rotation=Rotation(()), ends=time(21))
    programme = Programme(Rotation((LONG,)), UTC_ZONE, (empty,), Rotation((entry(2),)))
    (fault,) = find_problems(
        programme, picks(programme, 12), dict.fromkeys((1, 2), FINE)
    ).faults
    assert fault.subject == "nothing-block-3"
