"""Which item comes next. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from streams.playout.plan import Item


def following(items: Sequence[Item], last_entry: int | None) -> Item | None:
    """The item after the entry played last, from the top again after the end.

    An entry that has been removed meanwhile sends the programme back to the top.
    """
    if not items:
        return None
    places = [place for place, item in enumerate(items) if item.entry == last_entry]
    if last_entry is None or not places:
        return items[0]
    return items[(places[0] + 1) % len(items)]
