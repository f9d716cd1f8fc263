"""The order in which a list is played, round after round. Pure.

A loop follows the playlist. The order of a shuffled list in each round depends only on the
entries themselves, so that adding, removing or temporarily losing an entry moves no other one.
An item that was played within the last third of the list waits, and is played later in the same
round.

Both continue at their position even if the entry that was played last is gone.
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


#: Cached rounds of a rotation: the current one and some earlier ones.
_MAX_ROUNDS: Final = 16
#: Plays that a shuffled list remembers. Only a third of the list counts, but the list may grow
#: threefold.
MAX_RECENT: Final = 1000
#: Following entries that a loop remembers, in case its present entry is removed.
_MAX_FOLLOWERS: Final = 8


def is_shuffled(rotation: Rotation) -> bool:
    # A third of fewer than three is none.
    return rotation.order is Order.SHUFFLE and len(rotation.entries) >= 3  # noqa: PLR2004 - two items have one order


def round_of(rotation: Rotation, number: int) -> tuple[Entry, ...]:
    """Return the entries in the order of one round, if none of them must wait."""
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
    """Sort key of an entry in a round, independent of the other entries."""
    return blake2b(f"{rotation.seed} {number} {pk}".encode(), digest_size=8).digest()


def following(
    rotation: Rotation, cursor: Cursor, allowed: Allowed
) -> tuple[Entry, Cursor] | None:
    """Return the next allowed entry, and the cursor after it has played.

    None: no entry is allowed.
    """
    if not any(map(allowed, rotation.entries)):
        return None
    if is_shuffled(rotation):
        return _next_shuffled(rotation, cursor, allowed)
    return _next_looped(rotation, cursor, allowed)


def upcoming(rotation: Rotation, cursor: Cursor) -> tuple[Entry, ...]:
    """Return every entry once, the next ones first, as far as known without playing on."""
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
    """The index after the entry that the list has reached in its round."""
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
    # The entry is gone: the one that followed it is next, wherever it is now.
    for pk in cursor.waiting:
        if (index := current.places.get(pk)) is not None:
            return index
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
        # Plays since each item; for an item that occurs twice, since the later play.
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
                # Only items that may be played count. Computed only here, because it is slow.
                items = {other.media for other in rotation.entries if allowed(other)}
                apart, counted = len(items) // 3, True
            if age >= apart:
                return _played(rotation, cursor, begin, at, passed)
            passed.append(at)
        if passed and rotation.items < len(rotation.entries):
            # A few items, listed many times: take the one that was played the longest ago.
            at = max(passed, key=lambda at: ages[current.entries[at].media])
            return _played(
                rotation, cursor, begin, at, [other for other in passed if other != at]
            )
        # The round is over, or an edit left only the item that was just played.
        cursor = Cursor(None, cursor.round + 1, recent=cursor.recent)


def _left(current: Round, cursor: Cursor, begin: int) -> Iterator[int]:
    """Yield the indices left in the round: first the waiting entries, then the rest."""
    yield from sorted(current.places[pk] for pk in cursor.waiting if pk in current.places)
    yield from range(begin, len(current.entries))


def _played(
    rotation: Rotation, cursor: Cursor, begin: int, at: int, passed: list[int]
) -> tuple[Entry, Cursor]:
    """Return the entry at that index, and the cursor after it.

    `passed`: indices of entries that must wait and follow in the same round.
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
        # Two rounds contain a play of each entry, however the list grows.
        recent=(*cursor.recent, entry.media)[-min(MAX_RECENT, 2 * len(entries)) :],
    )


# ---- time


def advanced(rotation: Rotation, cursor: Cursor, seconds: Fraction, allowed: Allowed) -> Cursor:
    """Return the cursor as if the list had played on for so long since it was cut."""
    entry = next((other for other in rotation.entries if other.pk == cursor.last), None)
    if cursor.into is None or entry is None or not allowed(entry):
        return replace(cursor, into=None, cut_at=None)
    into = cursor.into + seconds
    whole = sum((other.seconds for other in rotation.entries if allowed(other)), Fraction(0))
    at = replace(cursor, cut_at=None)
    while into >= entry.seconds:
        into -= entry.seconds
        successor = following(rotation, at, allowed)
        if successor is None:
            break
        if successor[1].round > at.round and into >= whole:
            # All rounds have the same length, so any number of them can be skipped at once.
            at = Cursor(None, successor[1].round + int(into // whole))
            into %= whole
            successor = following(rotation, at, allowed) or successor
        entry, at = successor
    return replace(at, into=into)
