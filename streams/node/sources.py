"""Locates the engine's items: in the cache, in the storage or on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Final

from django.conf import settings

from media_library import storage
from media_library.location import LocalFile, Location
from media_library.storage.mount_watch import FolderWatch
from media_library.storage.read_ahead import ObjectVersion, ReadAhead
from streams.playout.contract.ledger import Snapshot
from streams.playout.contract.plan import Assignment, SourceError
from streams.programme.item import Item, Kind
from streams.programme.model import Cursors, Programme
from streams.programme.schedule import preview

#: Maximum items to read ahead for one channel, and of its filler. The disk limits the rest.
MAX_AHEAD_ITEMS: Final = 200
MAX_FILLERS: Final = 50
#: Period and number of picks to look ahead: a list of two items stays the same for days.
HORIZON: Final = timedelta(days=2)
MAX_PICKS: Final = 2 * MAX_AHEAD_ITEMS
#: Maximum age in seconds of a channel's computed line.
LINE_MAX_AGE_S: Final = 30.0
#: Items of the programme that come before the filler.
ITEMS_BEFORE_FILLER: Final = 2


class Sources:
    """Implements the engine's `Sources`: the storage behind the read-ahead cache."""

    def __init__(self, ahead: ReadAhead | None, folder: FolderWatch | None = None) -> None:
        #: None: the storage is a folder of this machine.
        self.ahead = ahead
        self.folder = folder
        #: By channel: the turn its line was computed for, until when it is valid, and the line.
        self._lines: dict[int, tuple[object, float, list[Item]]] = {}

    def locate(self, item: Item) -> Location:
        if item.kind is Kind.SLATE:
            return LocalFile(Path(item.key))
        if self.ahead is not None and (path := self.ahead.find(cache_key(item))) is not None:
            return LocalFile(path)
        try:
            return storage.locate(item.key)
        except storage.StorageError as error:
            raise SourceError(str(error)) from error

    def is_local(self, item: Item) -> bool:
        if item.kind is Kind.SLATE:
            return True
        return self.ahead is not None and self.ahead.find(cache_key(item)) is not None

    def fault(self) -> str | None:
        if self.ahead is not None:
            return self.ahead.fault()
        return "" if self.folder is None else self.folder.fault()

    def report_failure(self, item: Item, *, local: bool) -> None:
        if item.kind is Kind.SLATE:
            return
        if self.ahead is not None and local:
            self.ahead.distrust(cache_key(item))
        elif self.ahead is not None:
            self.ahead.doubt()
        elif self.folder is not None:
            self.folder.doubt()

    def _line(self, assignment: Assignment, shot: Snapshot | None) -> list[Item]:
        """Return the channel's line, cached while the same turn is on air."""
        programme = assignment.plan.programme
        turn = None if shot is None else shot.now
        cached = self._lines.get(assignment.plan.pk)
        if cached is not None and cached[0] == turn and time.monotonic() < cached[1]:
            return cached[2]
        until = None if shot is None else shot.now_until
        at = datetime.fromtimestamp(time.time() if until is None else until, tz=UTC)
        items = line(programme, at, assignment.cursors if shot is None else shot.cursors)
        self._lines[assignment.plan.pk] = turn, time.monotonic() + LINE_MAX_AGE_S, items
        return items

    def prepare(
        self, assignments: Mapping[int, Assignment], snapshots: Iterable[Snapshot]
    ) -> None:
        """Request the next items of these channels for the cache."""
        if self.ahead is None:
            return
        on_air = {snapshot.channel: snapshot for snapshot in snapshots}
        lines, held = [], []
        for pk, assignment in assignments.items():
            snapshot = on_air.get(pk)
            lines.append(self._line(assignment, snapshot))
            if snapshot is not None and snapshot.now is not None:
                held.append(snapshot.now.item)
            if snapshot is not None and snapshot.next is not None:
                held.append(snapshot.next)
        self.ahead.set_queue(
            [cache_key(item) for item in by_turns(lines)],
            [cache_key(item) for item in held if item.kind is not Kind.SLATE],
        )


def cache_key(item: Item) -> ObjectVersion:
    return ObjectVersion(item.key, item.edition)


def line(programme: Programme, at: datetime, cursors: Cursors) -> list[Item]:
    """Return the next items of one channel, with its filler behind the first ones."""
    soon: dict[Item, None] = {}
    for number, pick in enumerate(preview(programme, at, at + HORIZON, cursors)):
        if pick.entry is not None:
            soon[pick.entry.item] = None
        if len(soon) >= MAX_AHEAD_ITEMS or number >= MAX_PICKS:
            break
    ahead = list(soon)
    fillers = [entry.item for entry in programme.filler.entries[:MAX_FILLERS]]
    return [*ahead[:ITEMS_BEFORE_FILLER], *fillers, *ahead[ITEMS_BEFORE_FILLER:]]


def by_turns(lines: Sequence[Sequence[Item]]) -> Iterator[Item]:
    """Yield the first item of each line, then the second of each, and so on."""
    for turn in zip_longest(*lines):
        yield from (item for item in turn if item is not None)


def open_sources() -> Sources:
    """Open the sources of this node, and start the thread that monitors the storage."""
    if settings.STORAGE_PROVIDER == "local":
        folder = FolderWatch(settings.MEDIA_ROOT)
        folder.start()
        return Sources(None, folder)
    ahead = ReadAhead(settings.CACHE_DIR, settings.CACHE_SIZE_GB * 1_000_000_000)
    ahead.start()
    return Sources(ahead)
