"""Edge cases: skipped hours, blocks without an end, clocks set back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.programme.block_times import slots
from streams.programme.model import BASE, FILLER, Cursor, Order, Return, Start
from streams.programme.rotation import advanced, following, round_of
from streams.programme.schedule import pick, preview
from streams.tests.programme.test_schedule import (
    BERLIN,
    MONDAY,
    block,
    day,
    entry,
    programme,
    rotation,
    shown,
)


@pytest.mark.parametrize(
    ("starts", "ends", "shown"),
    [
        ("02:00", "03:00", "03:00-04:00"),
        ("02:30", "03:30", "03:30-04:30"),
        ("02:15", "03:00", "03:15-04:00"),
        ("01:30", "02:30", "01:30-03:30"),
    ],
)
def test_a_block_in_the_skipped_hour_starts_an_hour_later(
    starts: str, ends: str, shown: str
) -> None:
    of = programme(rotation(60), block(1, starts, ends, 10), zone=BERLIN)
    at = datetime.combine(date(2026, 3, 29), time(0), UTC)
    (slot,) = slots(of, at, at + timedelta(hours=12))
    local = [edge.astimezone(BERLIN) for edge in (slot.begins, slot.ends)]
    assert "-".join(f"{edge:%H:%M}" for edge in local) == shown


@pytest.mark.parametrize("fit", [False, True])
def test_a_block_of_all_day_does_not_cut_its_own_items(fit: bool) -> None:
    all_day = block(1, "06:00", "06:00", 50, 50, start=Start.HARD, fit=fit)
    of = programme(rotation(60), all_day, filler=rotation(1, first=900))
    assert shown(day(of, 4, MONDAY + timedelta(hours=4.5)))[:3] == [
        "04:30 101",
        "05:20 102",
        "06:10 101",
    ]


def test_a_clock_that_was_set_back_never_resumes_before_the_beginning() -> None:
    of = programme(rotation(60), on_return=Return.WALL_CLOCK)
    left = Cursor(1, 0, Fraction(600), MONDAY + timedelta(hours=5))
    assert pick(of, MONDAY, {BASE: left}).start == 600


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=7),
    st.integers(0, 3000),
    st.sampled_from(Order),
    st.integers(0, 5),
)
def test_the_wall_clock_position_equals_playing_on(
    lengths: list[int], seconds: int, order: Order, number: int
) -> None:
    of = rotation(*(length / 64 for length in lengths), order=order)
    if order is Order.SHUFFLE:
        # The order of skipped rounds is not computed.
        seconds = min(seconds, sum(lengths) * 60 // 64)
    at = Cursor(round_of(of, number)[0].pk, number, Fraction(0))
    reached = advanced(of, at, Fraction(seconds), lambda _: True)
    # Played on, one item after another.
    entry, stands, into = round_of(of, number)[0], at, Fraction(seconds)
    while into >= entry.seconds:
        into -= entry.seconds
        then = following(of, stands, lambda _: True)
        assert then is not None
        entry, stands = then
    assert reached == Cursor(entry.pk, stands.round, into)


def test_an_absence_of_years_takes_no_time() -> None:
    """Computed item by item, this test would never end."""
    of = rotation(*([0.5] * 500), order=Order.SHUFFLE)
    at = Cursor(1, 0, Fraction(0))
    assert advanced(of, at, Fraction(10**12), lambda _: True).round > 10**6


def test_if_there_is_only_filler_it_repeats() -> None:
    of = programme(rotation(), filler=rotation(0.5, 5, 10, first=901))
    picks = day(of, 1)
    assert [one.entry.pk for one in picks if one.entry][:4] == [901, 902, 903, 901]
    assert all(one.list_empty and one.rule == FILLER for one in picks)


def test_the_slate_is_one_line_of_the_preview_until_the_next_block() -> None:
    of = programme(rotation(), block(1, "02:00", "03:00", 60))
    assert shown(day(of, 4)) == ["00:00 slate [0-7200]", "02:00 101", "03:00 slate [0-3600]"]


def test_unrated_lists_are_rejected_quickly_under_a_rating() -> None:
    unrated = replace(rotation(), entries=tuple(entry(n, 1, None) for n in range(1, 2000)))
    assert unrated.lowest_rating is None
    of = programme(unrated, filler=replace(unrated), max_rating=12)
    (slate,) = preview(of, MONDAY, MONDAY + timedelta(hours=24), {})
    assert slate.entry is None


def test_hard_blocks_of_the_same_channel_still_cut_one_another() -> None:
    one = block(1, "06:00", "07:00", 50, start=Start.HARD)
    two = block(2, "07:00", "08:00", 50, start=Start.HARD)
    of = programme(rotation(60), one, two)
    begun = [
        f"{after.begins:%H:%M} {after.rule}"
        for before, after in pairwise(day(of, 10))
        if before.rule != after.rule
    ]
    assert begun == ["06:00 block-1", "07:00 block-2", "08:40 base"]
