"""Converts blocks from local times to moments, across daylight-saving changes. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from streams.programme.model import Block, Programme, Start

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Slot:
    """One occurrence of a block, in UTC."""

    block: Block
    begins: datetime
    ends: datetime

    @property
    def rank(self) -> tuple[int, datetime, int]:
        """Precedence: the slot with the highest rank is on air."""
        return self.block.priority, self.begins, -self.block.pk


def moment(day: date, at: time, zone: ZoneInfo) -> datetime:
    """Convert a local time to UTC.

    As in RFC 5545 (3.3.5), a time that occurs twice is the first one, and a time that is
    skipped is counted with the offset before the change, so 02:30 is played at 03:30.
    """
    return datetime.combine(day, at.replace(fold=0), zone).astimezone(UTC)


def slots(programme: Programme, begins: datetime, ends: datetime) -> Iterator[Slot]:
    """Yield the occurrences that overlap the span from `begins` to `ends`."""
    first = begins.astimezone(programme.zone).date() - DAY
    days = (ends.astimezone(programme.zone).date() - first).days + 1
    for block in programme.blocks:
        for number in range(days):
            slot = _slot(block, first + number * DAY, programme.zone)
            if slot is not None and slot.begins < ends and slot.ends > begins:
                yield slot


def _slot(block: Block, day: date, zone: ZoneInfo) -> Slot | None:
    if day.weekday() not in block.days:
        return None
    if (block.first_day and day < block.first_day) or (block.last_day and day > block.last_day):
        return None
    return Slot(block, *_span(day, block.starts, block.ends, zone))


@lru_cache(maxsize=4096)
def _span(day: date, starts: time, ends: time, zone: ZoneInfo) -> tuple[datetime, datetime]:
    last = day if ends > starts else day + DAY
    begin, end = moment(day, starts, zone), moment(last, ends, zone)
    if end <= begin:
        # The block lies in the skipped hour: it plays an hour later, in full.
        end = begin + (datetime.combine(last, ends) - datetime.combine(day, starts))
    return begin, end


def on_air(programme: Programme, at: datetime) -> Slot | None:
    """Return the block that is on at that moment; None: the base playlist."""
    occurrences = slots(programme, at, at + timedelta(microseconds=1))
    return max(occurrences, key=lambda slot: slot.rank, default=None)


def next_cut(programme: Programme, after: datetime, until: datetime) -> Slot | None:
    """Return the first block that cuts in after `after` and before `until`."""
    coming = sorted(
        (
            slot
            for slot in slots(programme, after, until)
            if slot.block.start is Start.HARD and after < slot.begins < until
        ),
        key=lambda slot: slot.begins,
    )
    return next((slot for slot in coming if cuts_in(programme, slot)), None)


def cuts_in(programme: Programme, slot: Slot) -> bool:
    """Whether the block is on when it begins, and was not on just before."""
    before = on_air(programme, slot.begins - timedelta(microseconds=1))
    goes_on = before is not None and before.block.pk == slot.block.pk
    return not goes_on and on_air(programme, slot.begins) == slot


def next_edge(programme: Programme, after: datetime, until: datetime) -> datetime:
    """Return when a block begins or ends next; `until` if none does before."""
    occurrences = slots(programme, after, until)
    edges = (edge for slot in occurrences for edge in (slot.begins, slot.ends))
    return min((edge for edge in edges if after < edge < until), default=until)


def overlaps(programme: Programme, begins: datetime, ends: datetime) -> list[tuple[Slot, Slot]]:
    """Return pairs of blocks with the same priority at the same time."""
    ordered = sorted(slots(programme, begins, ends), key=lambda slot: slot.begins)
    return [
        (one, other)
        for index, one in enumerate(ordered)
        for other in ordered[index + 1 :]
        if other.begins < one.ends and one.block.priority == other.block.priority
    ]
