"""The order in which a list is played, round after round. Pure.

A loop follows the playlist. A shuffled list has in each round an order that depends on nothing
but the entries themselves, so that an entry that is added, removed or faulty for a while moves
no other. An item that was played within the last third of the list waits, and is played in the
same round as soon as that is over.

Both go on where they stood when the entry that was played last is gone.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from hashlib import blake2b
from typing import Final

from streams.programme.model import Cursor, Entry, Order, Rotation, Round

#: Decides whether an entry may be played.
Allowed = Callable[[Entry], bool]


#: Rounds that a rotation remembers: the one that is played, and some that it came from.
_MAX_ROUNDS: Final = 16
#: Plays that a shuffled list remembers. A third of the list counts, and it may grow threefold.
MAX_RECENT: Final = 1000
#: Entries that a loop remembers behind the one it plays, should that be removed.
_MAX_FOLLOWERS: Final = 8


def is_shuffled(rotation: Rotation) -> bool:
    # Of fewer than three, a third is none.
    return rotation.order is Order.SHUFFLE and len(rotation.entries) >= 3  # noqa: PLR2004


def round_of(rotation: Rotation, number: int) -> tuple[Entry, ...]:
    """The entries in the order of one round, if none of them has to wait."""
    return _round(rotation, number).entries


def _round(rotation: Rotation, number: int) -> Round:
    current = rotation.rounds.get(number)
    if current is None:
        order = rotation.entries
        keys: tuple[bytes, ...] = ()
        if is_shuffled(rotation):
            order = tuple(sorted(order, key=lambda entry: _key(rotation, number, entry.pk)))
            keys = tuple(_key(rotation, number, entry.pk) for entry in order)
        places = {entry.pk: at for at, entry in enumerate(order)}
        current = Round(order, places, keys)
        if len(rotation.rounds) >= _MAX_ROUNDS:
            rotation.rounds.clear()
        rotation.rounds[number] = current
    return current


def _key(rotation: Rotation, number: int, pk: int) -> bytes:
    """Where an entry stands in a round, whatever else is in the list."""
    return blake2b(f"{rotation.seed} {number} {pk}".encode(), digest_size=8).digest()


def following(
    rotation: Rotation, cursor: Cursor, allowed: Allowed
) -> tuple[Entry, Cursor] | None:
    """The next entry that is allowed, and where the list stands once it has played.

    None: there is none at all.
    """
    if not any(map(allowed, rotation.entries)):
        return None
    if is_shuffled(rotation):
        return _next_shuffled(rotation, cursor, allowed)
    return _next_looped(rotation, cursor, allowed)


def upcoming(rotation: Rotation, cursor: Cursor) -> tuple[Entry, ...]:
    """Every entry once, the next ones first, as far as that is known without playing on."""
    current = _round(rotation, cursor.round)
    begin = _begin(rotation, current, cursor)
    waiting = sorted(current.places[pk] for pk in cursor.waiting if pk in current.places)
    first = [current.entries[at] for at in waiting]
    return (
        *first,
        *current.entries[begin:],
        *(entry for entry in current.entries[:begin] if entry not in first),
    )


def _begin(rotation: Rotation, current: Round, cursor: Cursor) -> int:
    """The index in its round behind the entry that the list has come to."""
    if is_shuffled(rotation):
        mark = cursor.last if cursor.mark is None else cursor.mark
        return (
            0
            if mark is None
            else bisect_right(current.keys, _key(rotation, cursor.round, mark))
        )
    if cursor.last is None:
        return 0
    if (last := current.places.get(cursor.last)) is not None:
        return last + 1
    # It is gone: what stood behind it is next, wherever that stands now.
    for pk in cursor.waiting:
        if (place := current.places.get(pk)) is not None:
            return place
    return min(cursor.place, len(current.entries))


# ---- a loop


def _next_looped(
    rotation: Rotation, cursor: Cursor, allowed: Allowed
) -> tuple[Entry, Cursor] | None:
    number, order = cursor.round, rotation.entries
    begin = _begin(rotation, _round(rotation, number), cursor)
    while True:
        for at in range(begin, len(order)):
            if allowed(order[at]):
                behind = tuple(entry.pk for entry in order[at + 1 : at + 1 + _MAX_FOLLOWERS])
                return order[at], Cursor(order[at].pk, number, place=at, waiting=behind)
        number, begin = number + 1, 0


# ---- a shuffled list


def _next_shuffled(
    rotation: Rotation, cursor: Cursor, allowed: Allowed
) -> tuple[Entry, Cursor] | None:
    while True:
        current = _round(rotation, cursor.round)
        begin = _begin(rotation, current, cursor)
        # How many were played since; of an item that is in it twice, since the later time.
        newest = len(cursor.recent) - 1
        ages = {item: newest - at for at, item in enumerate(cursor.recent)}
        apart, counted = rotation.items // 3, False
        passed: list[int] = []
        for at in _left(current, cursor, begin):
            entry = current.entries[at]
            if not allowed(entry):
                continue
            age = ages.get(entry.media, MAX_RECENT)
            if age < apart and not counted:
                # What may not be played does not count. It is asked only here: it takes long.
                items = {other.media for other in rotation.entries if allowed(other)}
                apart, counted = len(items) // 3, True
            if age >= apart:
                return _played(rotation, cursor, begin, at, passed)
            passed.append(at)
        if passed and rotation.items < len(rotation.entries):
            # A few items, listed many times: the one that was played the longest ago.
            at = max(passed, key=lambda at: ages[current.entries[at].media])
            return _played(
                rotation, cursor, begin, at, [other for other in passed if other != at]
            )
        # The round is over, or an edit has left nothing in it but what was just played.
        cursor = Cursor(None, cursor.round + 1, recent=cursor.recent)


def _left(current: Round, cursor: Cursor, begin: int) -> Iterator[int]:
    """Indices of what is to be played in the round: what waits first, then the rest."""
    yield from sorted(current.places[pk] for pk in cursor.waiting if pk in current.places)
    yield from range(begin, len(current.entries))


def _played(
    rotation: Rotation, cursor: Cursor, begin: int, at: int, passed: list[int]
) -> tuple[Entry, Cursor]:
    """The entry at that index, and where the list stands behind it.

    `passed`: indices of those that have to wait, and come in the same round.
    """
    entries = _round(rotation, cursor.round).entries
    entry = entries[at]
    waits = dict.fromkeys(cursor.waiting) | dict.fromkeys(entries[index].pk for index in passed)
    waits.pop(entry.pk, None)
    mark = cursor.last if cursor.mark is None else cursor.mark
    return entry, Cursor(
        entry.pk,
        cursor.round,
        waiting=tuple(waits),
        mark=mark if at < begin else entry.pk,
        # Two rounds hold a play of each, however the list may grow.
        recent=(*cursor.recent, entry.media)[-min(MAX_RECENT, 2 * len(entries)) :],
    )


# ---- time


def advanced(rotation: Rotation, cursor: Cursor, seconds: Fraction, allowed: Allowed) -> Cursor:
    """The cursor as it were, had the list played on for so long from where it was cut."""
    entry = next((other for other in rotation.entries if other.pk == cursor.last), None)
    if cursor.into is None or entry is None or not allowed(entry):
        return replace(cursor, into=None, left=None)
    into = cursor.into + seconds
    whole = sum((other.seconds for other in rotation.entries if allowed(other)), Fraction(0))
    at = replace(cursor, left=None)
    while into >= entry.seconds:
        into -= entry.seconds
        successor = following(rotation, at, allowed)
        if successor is None:
            break
        if successor[1].round > at.round and into >= whole:
            # Each round lasts as long as any other: months may have passed, unseen.
            at = Cursor(None, successor[1].round + int(into // whole))
            into %= whole
            successor = following(rotation, at, allowed) or successor
        entry, at = successor
    return replace(at, into=into)
