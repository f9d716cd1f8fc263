"""When each item is on air next. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from streams.programme.model import BASE, Cursor, Cursors, Entry, Pick, Programme
from streams.programme.rotation import upcoming
from streams.programme.schedule import moment


def due(
    programme: Programme, picks: Iterable[Pick], until: datetime, cursors: Cursors
) -> dict[int, datetime]:
    """When each item of the programme comes next, by its id.

    `found` is what will be on air up to `until`, `cursors` where the lists stand before it.
    What is not among it comes behind it, each list in its order from where it stands then: too
    soon rather than too late, for each is taken to play on alone. Filler is none of it.
    """
    lists = [(BASE, programme.base)]
    lists += [(block.rule, block.rotation) for block in programme.blocks]
    left = {entry.item.media for _, rotation in lists for entry in rotation.entries}
    items: dict[int, datetime] = {}
    for pick in picks:
        if pick.entry is not None:
            _soonest(items, pick.entry, pick.begins)
            left.discard(pick.entry.item.media)
        if not left:
            # Each has its time: the same over again tells nothing new.
            return items
        until, cursors = max(until, pick.ends), pick.cursors
    for rule, rotation in lists:
        at = until
        for entry in upcoming(rotation, cursors.get(rule, Cursor())):
            _soonest(items, entry, at)
            at = moment(at, entry.seconds)
    return items


def _soonest(items: dict[int, datetime], entry: Entry, at: datetime) -> None:
    media = entry.item.media
    if media is not None and at < items.get(media, at.max.replace(tzinfo=at.tzinfo)):
        items[media] = at
