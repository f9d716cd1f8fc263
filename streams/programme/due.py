"""When each item of a playlist is on air next. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

#: Seconds an item is taken to last whose length nobody knows: too soon rather than too late.
UNKNOWN: Final = 60.0


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in a playlist: its entry, its item, and the item's seconds."""

    entry: int
    media: int
    seconds: float | None


def due(slots: Sequence[Slot], last_entry: int | None, begins: datetime) -> dict[int, datetime]:
    """When each item comes next, by its id, if the programme goes on at `begins`.

    It goes on after `last_entry`, the entry played last or playing now; from the top where that
    is gone. An item that stands in several places is due at the first of them.
    """
    after = next((n + 1 for n, slot in enumerate(slots) if slot.entry == last_entry), 0)
    found: dict[int, datetime] = {}
    at = begins
    for slot in (*slots[after:], *slots[:after]):
        found.setdefault(slot.media, at)
        at += timedelta(seconds=UNKNOWN if slot.seconds is None else slot.seconds)
    return found
