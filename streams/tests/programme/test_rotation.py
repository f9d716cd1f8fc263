"""The order of a list: loops and shuffled rounds, edited while they play."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.programme import cursor_codec
from streams.programme.item import Item, Mode
from streams.programme.model import Cursor, Entry, Order, Rotation
from streams.programme.rotation import following, round_of, upcoming


def entry(pk: int, media: int | None = None) -> Entry:
    item = Item(f"{pk}", f"{pk}.mp4", Mode.PREPARED, entry=pk, media=media or pk)
    return Entry(item, Fraction(60))


def listed(pks: list[int], order: Order = Order.SHUFFLE, seed: int = 1) -> Rotation:
    return Rotation(tuple(map(entry, pks)), order, seed)


def played(of: Rotation, cursor: Cursor, count: int) -> tuple[list[int], Cursor]:
    """The next `count` entries, each from the cursor as stored in a row."""
    pks = []
    for _ in range(count):
        successor = following(of, kept(cursor), lambda _: True)
        assert successor is not None
        pks.append(successor[0].pk)
        cursor = successor[1]
    return pks, cursor


def kept(cursor: Cursor) -> Cursor:
    return cursor_codec.decode(cursor_codec.encode({"base": cursor}))["base"]


# ---- a loop


@pytest.mark.parametrize(
    ("before", "last", "after", "then"),
    [
        ([1, 2, 3, 4], 2, [1, 3, 4], [3, 4, 1]),
        ([1, 2, 3, 4], 4, [1, 2, 3], [1, 2, 3]),
        ([1, 2, 3, 4], 1, [2, 3, 4], [2, 3, 4]),
        # The following entries as well, and others before it, in one edit.
        ([1, 2, 3, 4, 5, 6], 2, [1, 5, 6], [5, 6, 1]),
        ([1, 2, 3, 4, 5, 6], 4, [2, 3, 6], [6, 2, 3]),
        # A new entry in its place, or at the top.
        ([1, 2, 3, 4], 2, [1, 9, 3, 4], [3, 4, 1]),
        ([1, 2, 3, 4], 2, [9, 8, 1, 3, 4], [3, 4, 9]),
        # All remembered followers are gone: continue at the same index.
        ([*range(1, 15)], 3, [1, 2, 12, 13, 14], [12, 13, 14]),
        # Reordered.
        ([1, 2, 3, 4], 2, [4, 3, 1], [3, 1, 4]),
    ],
)
def test_a_loop_continues_at_its_position(
    before: list[int], last: int, after: list[int], then: list[int]
) -> None:
    count = before.index(last) + 1
    pks, cursor = played(listed(before, Order.LOOP), Cursor(), count)
    assert pks[-1] == last
    assert played(listed(after, Order.LOOP), cursor, 3)[0] == then


def test_a_temporary_fault_does_not_change_the_loop() -> None:
    whole = listed([1, 2, 3, 4], Order.LOOP)
    _, cursor = played(whole, Cursor(), 2)
    pks, cursor = played(listed([1, 3, 4], Order.LOOP), cursor, 2)
    assert pks == [3, 4]
    assert played(whole, cursor, 4)[0] == [1, 2, 3, 4]


def test_a_cursor_of_an_older_version_is_read() -> None:
    old = cursor_codec.decode({"base": [2, 7, "3/2", None]})["base"]
    assert old == Cursor(2, 7, Fraction(3, 2))
    assert played(listed([1, 2, 3], Order.LOOP), replace(old, into=None), 2)[0] == [3, 1]
    assert len(set(played(listed([*range(1, 10)]), replace(old, into=None), 9)[0])) > 4


# ---- a shuffled list


@given(st.integers(3, 40), st.integers(0, 5), st.integers(0, 10_000))
def test_shuffling_plays_every_item_once_per_round_and_spaced_out(
    size: int, number: int, seed: int
) -> None:
    of = listed([*range(1, size + 1)], seed=seed)
    pks, _ = played(of, Cursor(None, number), 4 * size)
    for start in range(0, 4 * size, size):
        assert sorted(pks[start : start + size]) == [*range(1, size + 1)]
    assert least_between(pks) >= size // 3


def least_between(pks: list[int]) -> int:
    """The minimum number of other plays between two plays of one item."""
    seen: dict[int, int] = {}
    least = len(pks)
    for at, pk in enumerate(pks):
        if pk in seen:
            least = min(least, at - seen[pk] - 1)
        seen[pk] = at
    return least


def edited(name: str, random: Random, pks: list[int]) -> list[int]:
    match name:
        case "add one":
            return inserted(random, pks, 1)
        case "add ten":
            return inserted(random, pks, 10)
        case "remove one":
            return removed(random, pks, 1)
        case "remove five":
            return removed(random, pks, 5)
        case "double it":
            # Bounded: twelve of these would make a list of a hundred thousand.
            return inserted(random, pks, min(len(pks), 100))
        case "move all":
            return random.sample(pks, len(pks))
        case _:
            return pks


EDITS = ["add one", "add ten", "remove one", "remove five", "double it", "move all"]


def inserted(random: Random, pks: list[int], count: int) -> list[int]:
    pks = list(pks)
    for _ in range(count):
        pks.insert(random.randrange(len(pks) + 1), random.randrange(10**9))
    return pks


def removed(random: Random, pks: list[int], count: int) -> list[int]:
    gone = random.sample(pks, min(count, len(pks) - 3))
    return [pk for pk in pks if pk not in gone]


@settings(deadline=None, max_examples=200)
@given(
    st.integers(3, 30),
    st.integers(0, 10_000),
    st.lists(st.tuples(st.sampled_from(EDITS), st.integers(0, 45)), max_size=12),
)
def test_a_third_of_the_list_lies_between_two_plays_despite_edits(
    size: int, seed: int, edits: list[tuple[str, int]]
) -> None:
    random, pks = Random(seed), [*range(1, size + 1)]  # noqa: S311 - no secret
    cursor, history = Cursor(), list[int]()
    for name, plays in [*edits, ("nothing", 3 * size)]:
        pks = edited(name, random, pks)
        of = listed(pks, seed=seed)
        for _ in range(plays):
            (pk,), cursor = played(of, cursor, 1)
            if pk in history:
                between = history[::-1].index(pk)
                assert between >= len(pks) // 3, (name, between, len(pks))
            history.append(pk)


@settings(deadline=None, max_examples=200)
@given(
    st.integers(4, 30),
    st.integers(0, 10_000),
    st.integers(1, 60),
    st.sampled_from(["add one", "remove one", "the last turns faulty", "move all"]),
)
def test_an_edit_changes_only_the_edited_entries_of_a_round(
    size: int, seed: int, plays: int, change: str
) -> None:
    """The others keep their order: none is left out of the round, none comes twice."""
    random, pks = Random(seed), [*range(1, size + 1)]  # noqa: S311 - no secret
    before, cursor = played(listed(pks, seed=seed), Cursor(), plays)
    left = size - plays % size if plays % size else size
    unedited, _ = played(listed(pks, seed=seed), cursor, left)
    if change == "the last turns faulty":
        now = [pk for pk in pks if pk != before[-1]]
    else:
        now = edited(change, random, pks)
    expected = [pk for pk in unedited if pk in now]
    then, _ = played(listed(now, seed=seed), cursor, len(expected) + 2)
    new = [pk for pk in then if pk not in pks]
    mine = [pk for pk in then if pk in pks][: len(expected)]
    assert sorted(mine) == sorted(expected)
    assert len(set(new)) <= 1
    if plays % size > size // 3:
        # Beyond the first third of a round nothing waits, so the order is the same too.
        assert mine == expected


def test_among_repeated_items_the_one_played_longest_ago_is_next() -> None:
    many = tuple(entry(pk, media=pk % 2 + 1) for pk in range(1, 10))
    of = Rotation(many, Order.SHUFFLE, 1)
    pks, _ = played(of, Cursor(), 90)
    assert {pks.count(pk) for pk in range(1, 10)} == {10}
    assert played(Rotation((many[0],) * 4, Order.SHUFFLE), Cursor(), 9)[0] == [1] * 9


@given(st.integers(6, 30), st.integers(0, 1000))
def test_items_that_may_not_be_played_do_not_count(size: int, seed: int) -> None:
    """If a third of the list is rated low enough, the spacing applies to that third."""
    of = listed([*range(1, size + 1)], seed=seed)
    cursor, pks = Cursor(), []
    for _ in range(5 * size):
        successor = following(of, cursor, lambda candidate: candidate.pk % 3 == 0)
        assert successor is not None
        cursor = successor[1]
        pks.append(successor[0].pk)
    assert set(pks) == {pk for pk in range(1, size + 1) if pk % 3 == 0}
    assert least_between(pks) >= size // 3 // 3


def test_a_list_works_in_any_round() -> None:
    of = listed([*range(1, 10)])
    assert sorted(played(of, Cursor(None, 1_000_001), 9)[0]) == [*range(1, 10)]


@given(st.integers(3, 40), st.integers(0, 100))
def test_upcoming_contains_every_entry_once_starting_with_the_next(
    size: int, plays: int
) -> None:
    of = listed([*range(1, size + 1)])
    _, cursor = played(of, Cursor(), plays)
    pks = [one.pk for one in upcoming(of, cursor)]
    assert sorted(pks) == [*range(1, size + 1)]
    left = size - plays % size
    assert {*played(of, cursor, left)[0]} == {*pks[:left]} or not plays % size


def test_rounds_differ() -> None:
    of = listed([*range(1, 21)])
    assert round_of(of, 0) != round_of(of, 1)
