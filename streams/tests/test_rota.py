"""Which item comes next."""

from __future__ import annotations

from streams.playout.item import Item, Mode
from streams.programme.rota import following

ITEMS = tuple(Item(name, name, Mode.COPY, entry=entry) for entry, name in enumerate("abc", 1))


def test_it_loops() -> None:
    assert following(ITEMS, None) is ITEMS[0]
    assert following(ITEMS, 1) is ITEMS[1]
    assert following(ITEMS, 3) is ITEMS[0]


def test_the_same_item_may_stand_twice() -> None:
    twice = (*ITEMS, Item("a", "a", Mode.COPY, entry=9))
    assert following(twice, 3) is twice[3]
    assert following(twice, 9) is ITEMS[0]


def test_after_a_removed_entry_it_begins_at_the_top() -> None:
    assert following(ITEMS, 77) is ITEMS[0]


def test_an_empty_playlist_has_nothing() -> None:
    assert following((), 1) is None
