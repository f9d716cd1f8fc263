"""Positions of items on the feed's clock, and which of them is on air. Pure.

The feed's clock counts seconds. Each item's player is started with its position (`Slot.start`).
The hub sends the feed in real time, so every moment of the feed's clock has a wall-clock time.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import ceil
from typing import Final

from streams.playout.contract.turn import Turn
from streams.programme.item import Item

#: Leaves room for B-frames: they are decoded before display, so the first timestamps lie before
#: the start.
START: Final = Fraction(10)


@dataclass(frozen=True, slots=True)
class Slot:
    """A turn on the feed. `ending` and `cause` are set when its player has ended."""

    turn: Turn
    start: Fraction
    ending: str = ""
    cause: str = ""
    #: Its end on the feed; None: it has not ended, or that is unknown.
    end: Fraction | None = None

    @property
    def item(self) -> Item:
        return self.turn.item


@dataclass(frozen=True, slots=True)
class HubClock:
    """The hub sent `at` (feed's clock) at `when` (monotonic clock)."""

    at: Fraction
    when: float

    def position(self, now: float) -> Fraction:
        """Position on the feed that is being sent now."""
        return self.at + Fraction(round((now - self.when) * 1000), 1000)

    def moment(self, at: Fraction) -> float:
        """When that position of the feed is sent, on the monotonic clock."""
        return self.when + float(at - self.at)


@dataclass(frozen=True, slots=True)
class Timeline:
    """The slots that are on air or upcoming, oldest first."""

    slots: tuple[Slot, ...] = ()
    #: Start of the next item.
    head: Fraction = START
    on_air: Slot | None = field(default=None)

    def room_for(self, item: Item) -> Fraction:
        """Seconds to leave for B-frames: an item's first timestamps lie before its start."""
        slots = self.slots
        taken = slots[-1].item.reorder if slots and slots[-1].ending == "whole" else Fraction(0)
        return max(Fraction(0), item.reorder - taken)

    def begin(self, turn: Turn, room: Fraction = Fraction(0)) -> Timeline:
        """Add a slot.

        `room`: seconds left before it; returned if it outputs nothing.
        """
        return replace(self, slots=(*self.slots, Slot(turn, self.head + room)))

    def end(self, head: Fraction, ending: str, cause: str = "") -> Timeline:
        """End the newest slot at `head`. A slot without output is removed."""
        *older, last = self.slots
        ended = replace(last, ending=ending, cause=cause, end=head)
        on_air = ended if self.on_air is last else self.on_air
        if head <= last.start:
            return replace(self, slots=tuple(older), on_air=on_air)
        return replace(self, slots=(*older, ended), head=head, on_air=on_air)

    def back_to(self, head: Fraction) -> Timeline:
        """Drop the slots from `head` on, because they were taken back; keep a single one."""
        kept = tuple(slot for slot in self.slots if slot.start < head)
        return replace(self, slots=kept or self.slots[:1])

    def jump(self, head: Fraction) -> Timeline:
        return replace(self, head=head)

    def air(self, position: Fraction) -> tuple[Timeline, tuple[tuple[Slot | None, Slot], ...]]:
        """Move to `position`: return the slots that came on air, each with its predecessor."""
        changes: list[tuple[Slot | None, Slot]] = []
        slots, on_air = list(self.slots), self.on_air
        while True:
            # With the same start, the slot that counted as on air has output nothing.
            later = [slot for slot in slots if on_air is None or _follows(slot, on_air)]
            if not later or later[0].start > position:
                break
            changes.append((on_air, later[0]))
            on_air = later[0]
        kept = tuple(slot for slot in slots if on_air is None or slot.start >= on_air.start)
        return replace(self, slots=kept, on_air=on_air), tuple(changes)

    def until(self, slot: Slot) -> Fraction | None:
        """The end of a slot, as far as known."""
        later = [other.start for other in self.slots if other.start > slot.start]
        if later:
            return later[0]
        if slot.ending:
            return self.head
        return None if slot.turn.seconds is None else slot.start + slot.turn.seconds


def _follows(slot: Slot, on_air: Slot) -> bool:
    return slot.start > on_air.start or (slot.start == on_air.start and slot != on_air)


def on_frame(at: Fraction, frame: Fraction) -> Fraction:
    """Round up to a whole frame of the feed's clock."""
    return ceil(at / frame) * frame
