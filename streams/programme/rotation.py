"""The order in which a list is played, round after round. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from typing import Final

from streams.programme.values import Cursor, Entry, Order, Rotation, Round

#: Decides whether an entry may be played.
Allowed = Callable[[Entry], bool]


#: Rounds that a rotation remembers: the one that is played, and some that it came from.
_REMEMBERED: Final = 16


def round_of(rotation: Rotation, number: int) -> tuple[Entry, ...]:
    """The entries in the order of one round."""
    return _remembered(rotation, number).entries


def _remembered(rotation: Rotation, number: int) -> Round:
    found = rotation.rounds.get(number)
    if found is None:
        order = _ordered(rotation, number)
        found = Round(order, {entry.pk: at for at, entry in enumerate(order)})
        if len(rotation.rounds) >= _REMEMBERED:
            rotation.rounds.clear()
        rotation.rounds[number] = found
    return found


def _ordered(rotation: Rotation, number: int) -> tuple[Entry, ...]:
    """The order of a round.

    Shuffled, what stood in the last third of the round before does not stand in the first third
    of this one: a third of the list, at least, lies between two plays of an item.
    """
    if rotation.order is Order.LOOP or len(rotation.entries) < 3:  # noqa: PLR2004 - no thirds
        return rotation.entries
    shuffled = _shuffled(rotation, number)
    if number % 2 == 0:
        # As it fell. Each round between two of these is put in order by both, so that none
        # hangs on all that went before: a channel may be in its millionth round.
        return shuffled
    third = len(shuffled) // 3
    late = {entry.item.media for entry in _shuffled(rotation, number - 1)[-third:]}
    early = {entry.item.media for entry in _shuffled(rotation, number + 1)[:third]}
    first = [entry for entry in shuffled if entry.item.media not in late][:third]
    taken = {entry.pk for entry in first}
    last = [
        entry
        for entry in reversed(shuffled)
        if entry.item.media not in early and entry.pk not in taken
    ][:third]
    taken |= {entry.pk for entry in last}
    middle = [entry for entry in shuffled if entry.pk not in taken]
    return (*first, *middle, *reversed(last))


def _shuffled(rotation: Rotation, number: int) -> tuple[Entry, ...]:
    shuffled = list(rotation.entries)
    random.Random(f"{rotation.seed} {number}").shuffle(shuffled)  # noqa: S311 - no secret
    return tuple(shuffled)


def place(rotation: Rotation, cursor: Cursor) -> int | None:
    """Where the entry that was played last stands in its round; None: it was removed."""
    if cursor.last is None:
        return None
    return _remembered(rotation, cursor.round).places.get(cursor.last)


def following(rotation: Rotation, cursor: Cursor, allowed: Allowed) -> tuple[Entry, int] | None:
    """The next entry that is allowed, and its round; None: there is none at all.

    An entry that was removed meanwhile sends the list to the top of its round.
    """
    if not any(map(allowed, rotation.entries)):
        return None
    number = cursor.round
    order = round_of(rotation, number)
    last = place(rotation, cursor)
    begin = 0 if last is None else last + 1
    while True:
        for at in range(begin, len(order)):
            if allowed(order[at]):
                return order[at], number
        number, begin = number + 1, 0
        order = round_of(rotation, number)


def advanced(rotation: Rotation, cursor: Cursor, seconds: Fraction, allowed: Allowed) -> Cursor:
    """The cursor as it were, had the list played on for so long from where it was cut."""
    begin = place(rotation, cursor)
    left = [] if begin is None else round_of(rotation, cursor.round)[begin:]
    if cursor.into is None or not left or not allowed(left[0]):
        return Cursor(cursor.last, cursor.round)
    number, into = cursor.round, cursor.into + seconds
    while True:
        for entry in filter(allowed, left):
            if into < entry.seconds:
                return Cursor(entry.pk, number, into)
            into -= entry.seconds
        # Each round lasts as long as any other: months may have passed.
        length = sum((each.seconds for each in rotation.entries if allowed(each)), Fraction(0))
        number += 1 + int(into // length)
        into %= length
        left = round_of(rotation, number)
