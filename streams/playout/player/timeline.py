"""Where items stand on the feed's clock, and what of it is on air. Pure.

The feed's clock counts seconds. An item's player is told where to begin (`Slot.start`); the hub
sends the feed in real time, so a moment of the feed's clock is a moment of the wall clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import ceil
from typing import Final

from streams.playout.contract.turn import Turn
from streams.programme.item import Item

#: B-frames are decoded before they are shown: the first timestamps lie before the start.
START: Final = Fraction(10)


@dataclass(frozen=True, slots=True)
class Slot:
    """A turn on the feed. `ending` and `cause` are known when its player has ended."""

    turn: Turn
    start: Fraction
    ending: str = ""
    cause: str = ""
    #: Where it ended on the feed; None: it has not, or nobody saw it.
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
        """What is being sent now."""
        return self.at + Fraction(round((now - self.when) * 1000), 1000)

    def moment(self, at: Fraction) -> float:
        """When that point of the feed is sent."""
        return self.when + float(at - self.at)


@dataclass(frozen=True, slots=True)
class Timeline:
    """The slots that are on air or still to come, oldest first."""

    slots: tuple[Slot, ...] = ()
    #: Where the next item begins.
    head: Fraction = START
    on_air: Slot | None = field(default=None)

    def room_for(self, item: Item) -> Fraction:
        """Seconds to leave for B-frames: an item's first timestamps lie before its start."""
        slots = self.slots
        taken = slots[-1].item.reorder if slots and slots[-1].ending == "whole" else Fraction(0)
        return max(Fraction(0), item.reorder - taken)

    def begin(self, turn: Turn, room: Fraction = Fraction(0)) -> Timeline:
        """`room`: seconds left before it; given back if it puts nothing out."""
        return replace(self, slots=(*self.slots, Slot(turn, self.head + room)))

    def end(self, head: Fraction, ending: str, cause: str = "") -> Timeline:
        """The newest slot has ended at `head`. One that put nothing out was never there."""
        *older, last = self.slots
        ended = replace(last, ending=ending, cause=cause, end=head)
        on_air = ended if self.on_air is last else self.on_air
        if head <= last.start:
            return replace(self, slots=tuple(older), on_air=on_air)
        return replace(self, slots=(*older, ended), head=head, on_air=on_air)

    def back_to(self, head: Fraction) -> Timeline:
        """What begins there or later was taken back, but for what is alone."""
        kept = tuple(slot for slot in self.slots if slot.start < head)
        return replace(self, slots=kept or self.slots[:1])

    def jump(self, head: Fraction) -> Timeline:
        return replace(self, head=head)

    def air(self, position: Fraction) -> tuple[Timeline, tuple[tuple[Slot | None, Slot], ...]]:
        """Move to `position`: the slots that came on air since, each with the one before it."""
        changes: list[tuple[Slot | None, Slot]] = []
        slots, on_air = list(self.slots), self.on_air
        while True:
            # At the same place: what was taken for on air there put nothing out.
            later = [slot for slot in slots if on_air is None or _follows(slot, on_air)]
            if not later or later[0].start > position:
                break
            changes.append((on_air, later[0]))
            on_air = later[0]
        kept = tuple(slot for slot in slots if on_air is None or slot.start >= on_air.start)
        return replace(self, slots=kept, on_air=on_air), tuple(changes)

    def until(self, slot: Slot) -> Fraction | None:
        """Where a slot ends, as far as it is known."""
        later = [other.start for other in self.slots if other.start > slot.start]
        if later:
            return later[0]
        if slot.ending:
            return self.head
        return None if slot.turn.seconds is None else slot.start + slot.turn.seconds


def _follows(slot: Slot, on_air: Slot) -> bool:
    return slot.start > on_air.start or (slot.start == on_air.start and slot != on_air)


def on_frame(at: Fraction, frame: Fraction) -> Fraction:
    """The next whole frame of the feed's clock."""
    return ceil(at / frame) * frame
