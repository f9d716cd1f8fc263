"""Occurrences of blocks in the channel's local time, for the calendar."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from streams.models import Channel
from streams.models.programme import WEEKDAYS, clock
from streams.programme import block_times
from streams.programme.block_times import Slot
from streams.programme.model import NO_LIST, Programme

DAY: Final = timedelta(days=1)
#: Maximum number of sentences on overlaps of one week.
MAX_OVERLAPS: Final = 30


def outline(channel: Channel) -> Programme:
    """Return the channel's blocks without their playlists, for their times only. One query."""
    blocks = channel.blocks.filter(enabled=True)
    return Programme(NO_LIST, channel.zone, tuple(block.timed() for block in blocks))


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A block on one day, in the channel's local time."""

    slot: Slot
    day: date
    begins: datetime
    ends: datetime
    clashes: bool


def wall(at: datetime, zone: ZoneInfo) -> datetime:
    """Return the channel's local time without an offset."""
    return at.astimezone(zone).replace(tzinfo=None)


def span(first: date, days: int, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the moments at which so many local days begin and end."""
    return block_times.moment(first, time(), zone), block_times.moment(
        first + days * DAY, time(), zone
    )


def occurrences(programme: Programme, begins: datetime, ends: datetime) -> list[Occurrence]:
    """Return the blocks that are on between two moments, ordered by their beginning."""
    zone = programme.zone
    clashing = {
        (slot.block.pk, slot.begins)
        for pair in block_times.overlaps(programme, begins, ends)
        for slot in pair
    }
    return [
        Occurrence(
            slot,
            slot.begins.astimezone(zone).date(),
            wall(slot.begins, zone),
            wall(slot.ends, zone),
            (slot.block.pk, slot.begins) in clashing,
        )
        for slot in sorted(
            block_times.slots(programme, begins, ends),
            key=lambda slot: (slot.begins, slot.block.pk),
        )
    ]


def overlaps(programme: Programme, begins: datetime, ends: datetime) -> list[str]:
    """Return sentences on blocks with the same priority at the same time, and who wins.

    An overlap that recurs on several days is listed once.
    """
    zone = programme.zone
    days_of: dict[str, list[datetime]] = {}
    for one, other in block_times.overlaps(programme, begins, ends):
        since = max(one.begins, other.begins)
        days_of.setdefault(_overlap(programme, one, other), []).append(since.astimezone(zone))
    return [f"{_days(at)} {sentence}" for sentence, at in list(days_of.items())[:MAX_OVERLAPS]]


def _overlap(programme: Programme, one: Slot, other: Slot) -> str:
    begins, ends = max(one.begins, other.begins), min(one.ends, other.ends)
    wins = block_times.on_air(programme, begins)
    priority = one.block.priority
    span = " to ".join(clock(at.astimezone(programme.zone).time()) for at in (begins, ends))
    text = f"{span}: “{one.block.name}” and “{other.block.name}” both have priority {priority}."
    if wins is not None and wins.block.priority > priority:
        return f"{text} Neither plays while “{wins.block.name}” is, which has more."
    first = max(one, other, key=lambda slot: slot.rank)
    why = "it was created first" if one.begins == other.begins else "it begins later"
    return f"{text} “{first.block.name}” wins, for {why}."


def _days(moments: list[datetime]) -> str:
    if len(moments) == 1:
        return f"{moments[0]:%a} {moments[0].day} {moments[0]:%b}"
    days = sorted({at.weekday() for at in moments})
    return (
        "Every day" if len(days) == len(WEEKDAYS) else ", ".join(WEEKDAYS[day] for day in days)
    )


@dataclass(frozen=True, slots=True)
class Claim:
    """A block that applies to a moment, and why it wins or loses."""

    slot: Slot
    wins: bool
    because: str


def claims(programme: Programme, at: datetime) -> list[Claim]:
    """Return the blocks that apply to that moment, the winner first."""
    slots = block_times.slots(programme, at, at + timedelta(microseconds=1))
    ranked = sorted(slots, key=lambda slot: slot.rank, reverse=True)
    return [
        Claim(slot, not index, _because(slot, ranked[1:] if not index else ranked[:1]))
        for index, slot in enumerate(ranked)
    ]


def _because(slot: Slot, others: list[Slot]) -> str:
    if not others:
        return "No other block applies at this time."
    best, own = others[0], slot.block
    than, wins = f"“{best.block.name}”", slot.rank > best.rank
    if own.priority != best.block.priority:
        return f"It has {'more' if wins else 'less'} priority than {than}."
    if slot.begins != best.begins:
        return f"It has the same priority as {than} and begins {_order(wins)}."
    return f"It begins with {than}, has the same priority, and was created {_order(not wins)}."


def _order(later: bool) -> str:  # noqa: FBT001 - the word's own question
    return "later" if later else "earlier"


def clock_changes(first: date, days: int, zone: ZoneInfo) -> list[str]:
    """Return a sentence for each of these days on which daylight saving changes."""
    sentences = []
    for number in range(days):
        day = first + number * DAY
        begins, ends = span(day, 1, zone)
        by = (begins.astimezone(zone).utcoffset() or DAY) - (
            ends.astimezone(zone).utcoffset() or DAY
        )
        if by:
            minutes = abs(by) // timedelta(minutes=1)
            on, back = f"On {day:%a} {day.day} {day:%b}", by > timedelta(0)
            sentences.append(
                f"{on} the clock goes back by {minutes} minutes: a block whose time comes "
                "twice begins at the first, and a block across the change lasts that much "
                "longer."
                if back
                else f"{on} the clock goes forward by {minutes} minutes: a block that would "
                "begin in the skipped time begins that much later."
            )
    return sentences
