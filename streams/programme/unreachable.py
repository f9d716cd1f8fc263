"""Finds blocks that never start, because the item before them ends after they do. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter

from streams.programme.block_times import Slot, on_air, slots
from streams.programme.model import Pick, Programme, Start
from streams.programme.schedule import moment


@dataclass(frozen=True, slots=True)
class UnreachableSlot:
    """An occurrence of a soft block that is skipped, and the pick that plays over it."""

    slot: Slot
    #: When the block should have started.
    due: datetime
    over: Pick


def unreachable_slots(programme: Programme, picks: Sequence[Pick]) -> Iterator[UnreachableSlot]:
    """Yield the slots within `picks` in which nothing begins by their own rule, in order.

    Excludes slots that are covered by blocks of a higher rank, and slots while the channel is
    off.
    """
    if not picks:
        return
    within = slots(programme, picks[0].begins, picks[-1].ends)
    for slot in sorted(within, key=lambda slot: slot.begins):
        soft = slot.block.start is Start.SOFT
        if soft and slot.begins >= picks[0].begins and slot.ends <= picks[-1].ends:
            yield from _check_slot(programme, slot, picks)


def _check_slot(
    programme: Programme, slot: Slot, picks: Sequence[Pick]
) -> Iterator[UnreachableSlot]:
    first = max(0, bisect_right(picks, slot.begins, key=attrgetter("begins")) - 1)
    last = bisect_right(picks, slot.ends, key=attrgetter("begins"))
    around = picks[first:last]
    if any(_belongs(programme, slot, pick) for pick in around):
        return
    # Ranks change only where a block begins or ends.
    overlapping = slots(programme, slot.begins, slot.ends)
    edges = {
        slot.begins,
        *(edge for other in overlapping for edge in (other.begins, other.ends)),
    }
    for at in sorted(edge for edge in edges if slot.begins <= edge < slot.ends):
        over = next((pick for pick in around if pick.begins <= at < pick.ends), None)
        if over is not None and on_air(programme, at) == slot:
            yield UnreachableSlot(slot, at, over)
            return


def _belongs(programme: Programme, slot: Slot, pick: Pick) -> bool:
    """Whether the pick plays in the slot by the slot's rule or by that of its filler."""
    if pick.rule == slot.block.rule and pick.ends > slot.begins:
        return True
    # As in the scheduler, a start up to one step before its time counts.
    return on_air(programme, moment(pick.begins, programme.cut)) == slot
