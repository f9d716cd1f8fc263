"""Computes when each item is on air next. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from streams.programme.model import BASE, Cursor, Cursors, Entry, Pick, Programme
from streams.programme.rotation import upcoming
from streams.programme.schedule import moment


def due(
    programme: Programme, picks: Iterable[Pick], until: datetime, cursors: Cursors
) -> dict[int, datetime]:
    """Return when each item of the programme is on next, by its id.

    `picks`: the programme up to `until`. `cursors`: of the lists before it. Items that are not
    among the picks follow after them, each list in its order from its cursor. Their times are
    too early rather than too late, because each list is assumed to play alone. Filler is not
    included.
    """
    lists = [(BASE, programme.base)]
    lists += [(block.rule, block.rotation) for block in programme.blocks]
    left = {entry.item.media for _, rotation in lists for entry in rotation.entries}
    items: dict[int, datetime] = {}
    for pick in picks:
        if pick.entry is not None:
            _set_earliest(items, pick.entry, pick.begins)
            left.discard(pick.entry.item.media)
        if not left:
            # Every item has its time: the rest only repeats them.
            return items
        until, cursors = max(until, pick.ends), pick.cursors
    for rule, rotation in lists:
        at = until
        for entry in upcoming(rotation, cursors.get(rule, Cursor())):
            _set_earliest(items, entry, at)
            at = moment(at, entry.seconds)
    return items


def _set_earliest(items: dict[int, datetime], entry: Entry, at: datetime) -> None:
    media = entry.item.media
    if media is not None and at < items.get(media, at.max.replace(tzinfo=at.tzinfo)):
        items[media] = at
