"""Edits of blocks in the calendar: moving a block and copying a week."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final

from django.core.exceptions import ValidationError
from django.db import transaction

from streams.models import Block, Channel
from streams.wake import wake_supervisor

DAY: Final = timedelta(days=1)
WEEK: Final = timedelta(days=7)
#: The date that an earlier copy has appended to the name.
_DATED: Final = re.compile(r", \d{1,2} [A-Z][a-z]{2} \d{4}( \(\d+\))?$")


class BlockRefusedError(Exception):
    """A change of a block that is refused. `str()` of it is a sentence for the operator."""


class BlockChangedError(BlockRefusedError):
    """The block was changed by somebody else since it was shown."""


# ---- pure ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Times:
    """The times at which a block is on, as stored in its row."""

    starts: time
    ends: time
    #: Monday is 0.
    days: frozenset[int]
    first_day: date | None
    last_day: date | None

    @property
    def token(self) -> str:
        """A text that is equal for equal times. It detects changes since a page was shown."""
        days = "".join(map(str, sorted(self.days)))
        return f"{self.starts}/{self.ends}/{days}/{self.first_day}/{self.last_day}"

    @property
    def occurrences(self) -> list[date] | None:
        """The days on which it is on; None if it has no first or last day."""
        if self.first_day is None or self.last_day is None:
            return None
        count = (self.last_day - self.first_day).days + 1
        listed = (self.first_day + number * DAY for number in range(count))
        return [day for day in listed if day.weekday() in self.days]


def moved(times: Times, day: date, starts_by: timedelta, ends_by: timedelta) -> Times:
    """Returns the times after the occurrence of that day, or one of its edges, was dragged.

    A block has one time for all its days, so all occurrences move. If the occurrence moves to
    another weekday, that weekday replaces the old one. If the block is on that weekday already,
    only the time changes. Raises `BlockRefusedError`.
    """
    last = day if times.ends > times.starts else day + DAY
    starts = datetime.combine(day, times.starts) + starts_by
    ends = datetime.combine(last, times.ends) + ends_by
    if ends <= starts:
        raise BlockRefusedError("The block would end before it starts.")
    if ends - starts > DAY:
        raise BlockRefusedError("A block lasts 24 hours at most. Make two blocks instead.")
    days, first_day, last_day = times.days, times.first_day, times.last_day
    by = starts.date() - day
    if by and times.occurrences == [day]:
        # A block on a single day moves as a whole.
        days = frozenset({starts.weekday()})
        first_day = last_day = starts.date()
    elif by and starts.weekday() not in days:
        if (first_day and starts.date() < first_day) or (last_day and starts.date() > last_day):
            raise BlockRefusedError(
                "That day is outside the block's dates. Change the dates in its form first."
            )
        days = days - {day.weekday()} | {starts.weekday()}
    return Times(starts.time(), ends.time(), days, first_day, last_day)


# ---- rows ------------------------------------------------------------------------------------


def times_of(block: Block) -> Times:
    return Times(block.starts, block.ends, block.weekdays, block.first_day, block.last_day)


def move(block: Block, times: Times, *, seen: str) -> None:
    """Write the times to the block if its present ones still match the token `seen`.

    Raises `BlockRefusedError`; nothing is written in that case.
    """
    with transaction.atomic():
        row = Block.objects.select_for_update().filter(pk=block.pk).first()
        if row is None or times_of(row).token != seen:
            raise BlockChangedError(
                f"Somebody else has changed “{block.name}” in the meantime. Check it and try "
                "again."
            )
        row.starts, row.ends = times.starts, times.ends
        row.days = Block.of_weekdays(times.days)
        row.first_day, row.last_day = times.first_day, times.last_day
        _checked(row)
        row.save(update_fields=["starts", "ends", "days", "first_day", "last_day"])
        transaction.on_commit(wake_supervisor)


def in_week(channel: Channel, monday: date) -> list[Block]:
    """Returns the blocks whose dates are within that week. Copying the week copies these."""
    rows = channel.blocks.filter(first_day__gte=monday, last_day__lt=monday + WEEK)
    return list(rows.order_by("first_day", "starts", "pk"))


def copy_week(channel: Channel, monday: date, to: date) -> list[Block]:
    """Copy the blocks of the week of `monday` to the week of `to`; both are Mondays.

    A block that exists there with the same playlist, days and times is not copied again.
    Raises `BlockRefusedError`; nothing is written in that case.
    """
    if monday == to:
        raise BlockRefusedError("That is the same week. Choose another one.")
    with transaction.atomic():
        blocks = in_week(channel, monday)
        if not blocks:
            raise BlockRefusedError(
                "No block has dates within this week, so there is nothing to copy. Blocks "
                "without dates are in every week already."
            )
        there = {_alike(block) for block in in_week(channel, to)}
        names = set(channel.blocks.values_list("name", flat=True))
        made = []
        for block in blocks:
            copy = _copy(block, to - monday, names)
            if _alike(copy) not in there:
                _checked(copy)
                copy.save()
                names.add(copy.name)
                made.append(copy)
        transaction.on_commit(wake_supervisor)
    return made


def _copy(block: Block, by: timedelta, names: Iterable[str]) -> Block:
    if block.first_day is None or block.last_day is None:
        raise ValueError("Only a block with dates can be copied.")
    copy = Block.objects.get(pk=block.pk)
    copy.pk = None
    copy._state.adding = True  # noqa: SLF001 - as in Django's documentation on copying
    copy.first_day, copy.last_day = block.first_day + by, block.last_day + by
    ending = f", {copy.first_day.day} {copy.first_day:%b %Y}"
    stem = _DATED.sub("", block.name)[:60]
    copy.name, number = stem + ending, 1
    while copy.name in names:
        number += 1
        copy.name = f"{stem}{ending} ({number})"
    return copy


def _alike(block: Block) -> tuple[object, ...]:
    return block.playlist_id, times_of(block).token


def _checked(block: Block) -> None:
    try:
        block.full_clean()
    except ValidationError as error:
        raise BlockRefusedError(f"“{block.name}”: {' '.join(error.messages)}") from None
