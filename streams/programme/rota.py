"""Which item comes next. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from streams.playout.item import Item


def following(items: Sequence[Item], last_entry: int | None) -> Item | None:
    """The item after the entry played last, from the top again after the end.

    An entry that has been removed meanwhile sends the programme back to the top.
    """
    return next(iter(from_next(items, last_entry)), None)


def from_next(items: Sequence[Item], last_entry: int | None) -> Sequence[Item]:
    """One round of all items, from the one after the entry played last."""
    places = [place for place, item in enumerate(items) if item.entry == last_entry]
    if last_entry is None or not places:
        return items
    return (*items[places[0] + 1 :], *items[: places[0] + 1])
