"""The programme: blocks, clock changes, shuffling, returns, exact fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.programme.block_times import moment, next_cut, on_air, overlaps, slots
from streams.programme.item import Item, Mode
from streams.programme.model import (
    BASE,
    Block,
    Cursor,
    Entry,
    Order,
    Pick,
    Programme,
    Return,
    Rotation,
    Start,
)
from streams.programme.rotation import following, round_of
from streams.programme.schedule import preview

LONDON = ZoneInfo("Europe/London")
BERLIN = ZoneInfo("Europe/Berlin")
#: One second, which keeps the figures below simple.
STEP = Fraction(1)
MONDAY = datetime(2026, 6, 1, 0, 0, tzinfo=UTC)


def entry(pk: int, minutes: float, rating: int | None = 0) -> Entry:
    item = Item(f"Item {pk}", f"{pk}.mp4", Mode.PREPARED, entry=pk, media=pk)
    return Entry(item, Fraction(str(minutes)) * 60, rating)


def rotation(*minutes: float, first: int = 1, order: Order = Order.LOOP) -> Rotation:
    return Rotation(tuple(entry(first + n, m) for n, m in enumerate(minutes)), order)


def block(pk: int, starts: str, ends: str, *minutes: float, **more: object) -> Block:
    return replace(
        Block(
            pk,
            f"Block {pk}",
            rotation(*(minutes or (30,)), first=100 * pk + 1),
            time.fromisoformat(starts),
            time.fromisoformat(ends),
        ),
        **more,  # type: ignore[arg-type]  # fields of any type, or wrong on purpose
    )


def programme(base: Rotation, *blocks: Block, **more: object) -> Programme:
    usual = Programme(base, ZoneInfo("UTC"), blocks, cut=STEP, resume=Fraction(2))
    return replace(usual, **more)  # type: ignore[arg-type]  # fields of any type, or wrong on purpose


def day(of: Programme, hours: float = 24, at: datetime = MONDAY) -> list[Pick]:
    return list(preview(of, at, at + timedelta(hours=hours), {}))


def shown(picks: Sequence[Pick]) -> list[str]:
    """Each pick as "05:30 101", with its seconds if it does not play whole."""
    lines = []
    for one in picks:
        name = "slate" if one.entry is None else str(one.entry.pk)
        part = "" if one.whole else f" [{float(one.start):g}-{float(one.end):g}]"
        lines.append(f"{one.begins:%H:%M} {name}{part}")
    return lines


# ---- lists


def test_the_base_playlist_goes_round() -> None:
    assert shown(day(programme(rotation(30, 60)), 3)) == [
        "00:00 1",
        "00:30 2",
        "01:30 1",
        "02:00 2",
    ]


def test_an_empty_programme_is_the_slate_with_a_reason() -> None:
    (first, *_) = day(programme(rotation()), 1)
    assert first.entry is None
    assert (
        first.why
        == "The base playlist: no entry of its list may be played, and there is no filler."
    )


def test_two_lists_are_shuffled_differently() -> None:
    one = replace(rotation(*([1] * 20), order=Order.SHUFFLE), seed=1)
    assert round_of(one, 0) != round_of(replace(one, seed=2), 0)


# ---- blocks


def test_a_soft_block_waits_for_the_item_and_a_hard_one_cuts_in() -> None:
    base = rotation(50)
    soft = day(programme(base, block(1, "01:00", "02:00")), 3)
    assert shown(soft) == ["00:00 1", "00:50 1", "01:40 101", "02:10 1"]
    hard = day(programme(base, block(1, "01:00", "02:00", start=Start.HARD)), 3)
    assert shown(hard) == [
        "00:00 1",
        "00:50 1 [0-600]",
        "01:00 101",
        "01:30 101",
        "02:00 1 [600-3000]",
        "02:40 1",
    ]


def test_a_block_continues_where_it_stopped_the_day_before() -> None:
    of = programme(rotation(60), block(1, "01:00", "02:00", 60, 60, 60))
    played = [p.entry.pk for p in day(of, 72) if p.rule == "block-1" and p.entry]
    assert played == [101, 102, 103]


@pytest.mark.parametrize(
    ("way", "seen"),
    [
        (Return.CONTINUE, "01:30 2 [1200-3600]"),
        (Return.RESTART, "01:30 2"),
        (Return.NEXT, "01:30 3"),
        (Return.WALL_CLOCK, "01:30 2 [3000-3600]"),
    ],
)
def test_a_cut_list_continues_by_its_return_rule(way: Return, seen: str) -> None:
    """Item 2 is cut after 20 minutes, for 30 minutes."""
    cutting = block(1, "01:00", "01:30", start=Start.HARD)
    of = programme(rotation(40, 60, 30), cutting, on_return=way)
    assert shown(day(of, 2))[3] == seen


def test_by_the_wall_clock_whole_rounds_are_skipped() -> None:
    cutting = block(1, "01:00", "20:10", 60, start=Start.HARD, fit=True)
    of = programme(rotation(40, 60), cutting, on_return=Return.WALL_CLOCK)
    back = next(p for p in day(of) if p.begins.hour == 20 and p.rule == BASE)
    # Without a break since 00:00, the round of 100 minutes would be there at 20:10.
    assert (back.entry and back.entry.pk, back.start) == (1, Fraction(600))


def test_the_higher_priority_wins_and_among_equals_the_one_that_began_last() -> None:
    of = programme(
        rotation(60),
        block(1, "01:00", "05:00", 30, priority=1),
        block(2, "02:00", "04:00", 30),
        block(3, "03:00", "04:00", 30, priority=1),
    )
    rules = {f"{p.begins:%H:%M}": p.rule for p in day(of, 6)}
    assert [rules[at] for at in ("01:00", "02:30", "03:30", "04:30", "05:00")] == [
        "block-1",
        "block-1",
        "block-3",
        "block-1",
        BASE,
    ]


def test_overlaps_of_one_priority_are_shown() -> None:
    of = programme(
        rotation(60),
        block(1, "01:00", "03:00"),
        block(2, "02:00", "04:00"),
        block(3, "02:00", "04:00", priority=1),
    )
    ((one, other),) = overlaps(of, MONDAY, MONDAY + timedelta(days=1))
    assert (one.block.pk, other.block.pk) == (1, 2)


def test_a_block_has_days_and_dates_and_may_pass_midnight() -> None:
    of = programme(
        rotation(60),
        block(
            1,
            "23:00",
            "01:00",
            days=frozenset({0, 2}),
            first_day=date(2026, 6, 3),
            last_day=date(2026, 6, 10),
        ),
    )
    occurrences = slots(of, MONDAY, MONDAY + timedelta(days=30))
    assert [slot.begins for slot in occurrences] == [
        datetime(2026, 6, day, 23, tzinfo=UTC) for day in (3, 8, 10)
    ]


# ---- exact fit and ratings


def test_a_block_that_must_end_on_time_is_filled_up() -> None:
    of = programme(
        rotation(60),
        block(1, "01:00", "02:00", 25, fit=True),
        filler=rotation(3, 4, first=900),
    )
    assert shown(day(of, 2.5)) == [
        "00:00 1",
        "01:00 101",
        "01:25 101",
        "01:50 900",
        "01:53 901",
        "01:57 900",
        "02:00 1",
    ]


def test_the_last_filler_is_cut_if_none_is_short_enough() -> None:
    of = programme(
        rotation(60), block(1, "01:00", "02:00", 55, fit=True), filler=rotation(7, first=900)
    )
    assert "01:55 900 [0-300]" in shown(day(of, 2))


def test_without_filler_the_item_is_cut() -> None:
    of = programme(rotation(60), block(1, "01:00", "02:00", 45, fit=True))
    assert shown(day(of, 2)) == ["00:00 1", "01:00 101", "01:45 101 [0-900]"]


def test_nothing_above_the_rating_and_nothing_unrated_is_played() -> None:
    rated = Rotation((entry(1, 30, 18), entry(2, 30, None), entry(3, 30, 12)))
    of = programme(
        rotation(60), replace(block(1, "01:00", "02:00"), rotation=rated, max_rating=12)
    )
    assert [p.entry and p.entry.pk for p in day(of, 2)] == [1, 3, 3]


def test_a_block_with_nothing_to_play_is_filler() -> None:
    of = programme(
        rotation(60),
        replace(
            block(1, "01:00", "02:00"), max_rating=6, rotation=Rotation((entry(5, 30, 18),))
        ),
        filler=rotation(20, first=900),
    )
    picks = day(of, 2)
    assert shown(picks) == ["00:00 1", "01:00 900", "01:20 900", "01:40 900"]
    assert picks[1].why == (
        "Block “Block 1”: no entry of its list may be played, so filler plays."
    )


# ---- clock changes


def test_a_skipped_local_time_uses_the_offset_before() -> None:
    assert moment(date(2026, 3, 29), time(2, 30), BERLIN) == datetime(
        2026, 3, 29, 1, 30, tzinfo=UTC
    )


def test_a_repeated_local_time_is_the_first_one() -> None:
    assert moment(date(2026, 10, 25), time(2, 30), BERLIN) == datetime(
        2026, 10, 25, 0, 30, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2026, 3, 29), 2), (date(2026, 10, 25), 4), (date(2026, 6, 1), 3)]
)
def test_a_night_block_is_an_hour_shorter_and_longer_twice_a_year(
    day: date, hours: int
) -> None:
    of = programme(rotation(60), block(1, "01:00", "04:00", 15), zone=BERLIN)
    at = datetime.combine(day, time(12), UTC) - timedelta(days=1)
    (slot,) = slots(of, at, at + timedelta(days=1))
    assert slot.ends - slot.begins == timedelta(hours=hours)


@pytest.mark.parametrize("day", [date(2026, 3, 29), date(2026, 10, 25)])
def test_the_evening_block_is_at_the_same_local_time_all_year(day: date) -> None:
    of = programme(rotation(7), block(1, "20:00", "21:00", 7, start=Start.HARD), zone=LONDON)
    at = datetime.combine(day, time(0), UTC) - timedelta(days=1)
    firsts = [
        after.begins.astimezone(LONDON).strftime("%H:%M:%S")
        for before, after in pairwise(preview(of, at, at + timedelta(days=3), {}))
        if after.rule != before.rule and after.rule == "block-1"
    ]
    assert firsts == ["20:00:00"] * 3


# ---- properties of any programme

ratings = st.sampled_from([None, 0, 6, 12, 16, 18])
quarters = st.integers(0, 95).map(lambda n: time(n // 4, n % 4 * 15))


@st.composite
def lists(draw: st.DrawFn, first: int, least: int = 0) -> Rotation:
    lengths = draw(st.lists(st.integers(600, 4 * 3600), min_size=least, max_size=5))
    return Rotation(
        tuple(
            Entry(entry(first + n, 1).item, Fraction(length, 2), draw(ratings))
            for n, length in enumerate(lengths)
        ),
        draw(st.sampled_from(Order)),
        draw(st.integers(0, 9)),
    )


@st.composite
def programmes(draw: st.DrawFn) -> Programme:
    blocks = []
    for pk in range(1, draw(st.integers(0, 4)) + 1):
        starts, ends = draw(quarters), draw(quarters)
        blocks.append(
            Block(
                pk,
                f"Block {pk}",
                draw(lists(100 * pk)),
                starts,
                ends,
                days=draw(st.frozensets(st.integers(0, 6))),
                priority=draw(st.integers(0, 2)),
                start=draw(st.sampled_from(Start)),
                fit=draw(st.booleans()),
                max_rating=draw(st.sampled_from([None, 6, 16])),
            )
        )
    return Programme(
        draw(lists(1)),
        draw(st.sampled_from([LONDON, BERLIN, ZoneInfo("America/New_York")])),
        tuple(blocks),
        draw(lists(900)),
        draw(st.sampled_from([None, 12])),
        draw(st.sampled_from(Return)),
    )


moments = st.sampled_from(
    [MONDAY, datetime(2026, 3, 28, 20, tzinfo=UTC), datetime(2026, 10, 24, 20, tzinfo=UTC)]
).flatmap(lambda at: st.integers(0, 24 * 3600).map(lambda s: at + timedelta(seconds=s)))


@settings(deadline=None, max_examples=60)
@given(programmes(), moments)
def test_any_programme_has_no_gap_no_overlap_and_nothing_above_its_rating(
    of: Programme, at: datetime
) -> None:
    picks = list(preview(of, at, at + timedelta(hours=36), {}))
    assert picks[0].begins == at
    assert picks[-1].ends >= at + timedelta(hours=36)
    by_rule = {block.rule: block for block in of.blocks}
    for before, after in pairwise(picks):
        assert before.ends == after.begins
    for one in picks:
        assert one.ends > one.begins
        assert one.why.endswith(".")
        if one.entry is None:
            continue
        played = (one.ends - one.begins).total_seconds()
        assert played == pytest.approx(float(one.end - one.start), abs=1e-5)
        assert 0 <= one.start < one.end <= one.entry.seconds
        limits = [of.max_rating]
        slot = on_air(of, one.begins + timedelta(seconds=float(of.cut)))
        if slot is not None:
            limits.append(slot.block.max_rating)
        if one.rule in by_rule:
            assert slot is not None
            assert slot.block.rule == one.rule
        for limit in limits:
            assert limit is None or (one.entry.rating is not None and one.entry.rating <= limit)


@settings(deadline=None, max_examples=40)
@given(programmes(), moments)
def test_any_block_that_cuts_in_is_on_time_to_the_grid(of: Programme, at: datetime) -> None:
    until = at + timedelta(hours=36)
    picks = list(preview(of, at, until, {}))
    after = at + timedelta(seconds=1)
    while (slot := next_cut(of, after, until)) is not None:
        changes = [one.begins for one in picks if one.begins > at]
        nearest = min(changes, key=lambda begins: abs(begins - slot.begins))
        assert abs(nearest - slot.begins).total_seconds() <= float(of.cut) + 1e-5
        after = slot.begins


@settings(deadline=None, max_examples=40)
@given(programmes(), moments, st.integers(1, 30))
def test_a_later_preview_gives_the_same_programme(
    of: Programme, at: datetime, steps: int
) -> None:
    """A supervisor that starts in the middle with stored cursors continues as previewed."""
    picks = list(preview(of, at, at + timedelta(hours=24), {}))
    kept = picks[min(steps, len(picks)) - 1]
    again = list(preview(of, kept.ends, at + timedelta(hours=24), kept.cursors))
    assert again == picks[min(steps, len(picks)) :]


def test_following_returns_none_when_nothing_is_allowed() -> None:
    assert following(rotation(1, 2), Cursor(), lambda _entry: False) is None
