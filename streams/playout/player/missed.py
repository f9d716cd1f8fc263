"""Turns of an earlier supervisor's players that ended while no supervisor was running."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from typing import Any

from streams.playout.player.ending import WHOLE
from streams.playout.player.player_record import turn_of
from streams.playout.player.timeline import Slot


class Missed:
    """Slots of the missed players, in order. Each can be taken once."""

    def __init__(self) -> None:
        self._slots: list[Slot] = []

    def __bool__(self) -> bool:
        return bool(self._slots)

    def add(self, notes: dict[str, Any]) -> Slot | None:
        """Add the slot of a record's notes; None: the notes are another version's."""
        with suppress(KeyError, TypeError, ValueError):
            slot = Slot(turn_of(notes), Fraction(notes["offset"]))
            self._slots.append(slot)
            return slot
        return None

    def whole(self) -> tuple[Slot, ...]:
        """Take all slots as whole: the player queued behind the last one has started."""
        slots, self._slots = self._slots, []
        return tuple(replace(slot, ending=WHOLE.ending) for slot in slots)

    def played(self, head: Fraction) -> tuple[Slot, ...]:
        """Take the slots that have played up to `head`. All but the last one are whole."""
        slots, self._slots = self._slots, []
        begun = [slot for slot in slots if slot.start < head] or slots[:1]
        return (*(replace(slot, ending=WHOLE.ending) for slot in begun[:-1]), *begun[-1:])
