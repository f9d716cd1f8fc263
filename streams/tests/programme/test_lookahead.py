"""The coming programme: within the channel's hours, gapless, joined for viewers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.programme.item import Item, Kind, Mode
from streams.programme.lookahead import Airing, Span, airings, joined, picks, spans
from streams.programme.model import Cursor, Entry, Order, Programme, Rotation
from streams.programme.schedule import SLACK_S

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
UNTIL = NOON + timedelta(hours=24)


def at(hour: float) -> datetime:
    return NOON + timedelta(hours=hour)


def span(begins: float, ends: float) -> Span:
    return at(begins), at(ends)


@pytest.mark.parametrize(
    ("hours", "on", "expected"),
    [
        ([], True, [(0, 24)]),
        ([], False, []),
        # Within its hours: until they end.
        ([(-2, 3), (10, 12)], True, [(0, 3), (10, 12)]),
        # Stopped within them: until they begin again.
        ([(-2, 3), (10, 12)], False, [(10, 12)]),
        # Started before them.
        ([(10, 12)], True, [(0, 12)]),
        # Touching spans are merged; spans beyond the period are cut.
        ([(1, 2), (2, 3), (2.5, 4), (20, 30)], False, [(1, 4), (20, 24)]),
        ([(1, 24)], False, [(1, 24)]),
    ],
)
def test_a_channel_is_on_air_as_ordered_and_then_by_its_hours(
    hours: list[tuple[float, float]],
    on: bool,
    expected: list[tuple[float, float]],
) -> None:
    result = spans(NOON, UNTIL, [span(*edges) for edges in hours], on=on)
    assert result == [span(*edges) for edges in expected]


@given(
    st.lists(st.tuples(st.integers(-10, 30), st.integers(1, 20))),
    st.booleans(),
)
def test_spans_are_ordered_and_stay_within_the_period(
    hours: list[tuple[int, int]],
    on: bool,
) -> None:
    result = spans(NOON, UNTIL, [span(begin, begin + long) for begin, long in hours], on=on)
    assert all(NOON <= begins < ends <= UNTIL for begins, ends in result)
    assert all(one[1] < other[0] for one, other in pairwise(result))
    assert (bool(result) and result[0][0] == NOON) == on


def entry(number: int, seconds: Fraction) -> Entry:
    item = Item(f"{number}", f"{number}.mp4", Mode.PREPARED, entry=number, media=number)
    return Entry(item, seconds)


GRID = Fraction(8, 15)
LENGTHS = st.integers(1, 1000).map(lambda frames: frames * GRID)


@settings(deadline=None)
@given(st.lists(LENGTHS, min_size=1, max_size=5), st.lists(LENGTHS, max_size=3))
def test_picks_fill_the_spans_and_a_stop_cuts_the_item_that_resumes(
    lengths: list[Fraction], fillers: list[Fraction]
) -> None:
    programme = Programme(
        Rotation(tuple(entry(n, seconds) for n, seconds in enumerate(lengths, 1))),
        ZoneInfo("UTC"),
        filler=Rotation(tuple(entry(n, seconds) for n, seconds in enumerate(fillers, 90))),
    )
    two = (span(0, 0.05), span(5, 5.05))
    result = list(picks(programme, two, {}))
    for begins, ends in two:
        within = [pick for pick in result if begins <= pick.begins < ends]
        assert within[0].begins == begins
        assert within[-1].ends == ends
        assert all(one.ends == other.begins for one, other in pairwise(within))
    # The cut item resumes at a keyframe at or before the cut.
    last = next(pick for pick in result if pick.ends == two[0][1])
    first = next(pick for pick in result if pick.begins == two[1][0])
    if last.entry is not None and last.end < last.entry.seconds and first.start:
        assert first.entry == last.entry
        # Moments are rounded, within the tolerance.
        assert last.end - programme.resume < first.start <= last.end + SLACK_S


def test_a_stop_leaves_the_list_at_the_cut() -> None:
    programme = Programme(Rotation((entry(1, Fraction(3600)),)), ZoneInfo("UTC"))
    first, second = picks(programme, (span(0, 0.5), span(5, 5.25)), {})
    half = Fraction(1800)
    assert (first.end, first.cursors["base"]) == (half, Cursor(1, 0, half, at(0.5)))
    assert (second.start, second.end) == (half, half + 900)


# ---- for viewers


def airing(kind: Kind, begins: float, ends: float, title: str = "") -> Airing:
    return Airing(kind, title, at(begins), at(ends))


def test_consecutive_filler_and_slate_are_joined() -> None:
    parts = [
        airing(Kind.ITEM, 0, 1, "A"),
        airing(Kind.FILLER, 1, 2, "x"),
        airing(Kind.SLATE, 2, 3),
        airing(Kind.ITEM, 3, 4, "A"),
        airing(Kind.ITEM, 4, 5, "A"),
        airing(Kind.SLATE, 5, 6),
        # Off the air for an hour in between.
        airing(Kind.FILLER, 7, 8, "x"),
    ]
    assert [(one.kind.value, one.begins, one.ends) for one in joined(parts)] == [
        ("item", at(0), at(1)),
        ("filler", at(1), at(3)),
        ("item", at(3), at(4)),
        ("item", at(4), at(5)),
        ("slate", at(5), at(6)),
        ("filler", at(7), at(8)),
    ]


def test_an_empty_programme_is_one_long_slate() -> None:
    programme = Programme(Rotation((), Order.LOOP), ZoneInfo("UTC"))
    (slate,) = airings(picks(programme, (span(0, 3),), {}))
    assert (slate.kind, slate.begins, slate.ends, slate.media) == (
        Kind.SLATE,
        at(0),
        at(3),
        None,
    )
