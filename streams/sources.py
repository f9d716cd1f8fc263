"""Where the engine's items are: in the cache, in the storage, on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Final

from django.conf import settings

from media_library import storage
from media_library.cache import ReadAhead, Wanted
from media_library.location import LocalFile, Location
from streams.playout.item import Item, Kind
from streams.playout.ledger import Snapshot
from streams.playout.plan import Assignment, SourceError
from streams.programme.rota import from_next

#: Items that are looked ahead for one channel, and of its filler. The limit is the disk's.
AHEAD: Final = 200
FILLERS: Final = 50
#: Items of the programme that go before the filler.
FIRST: Final = 2


class Sources:
    """`streams.playout.plan.Sources` over the storage, with the read-ahead cache in front."""

    def __init__(self, ahead: ReadAhead | None) -> None:
        #: None: the storage is a folder of this machine.
        self.ahead = ahead

    def locate(self, item: Item) -> Location:
        if item.kind is Kind.SLATE:
            return LocalFile(Path(item.key))
        if self.ahead is not None and (path := self.ahead.find(wanted(item))) is not None:
            return LocalFile(path)
        try:
            return storage.locate(item.key)
        except storage.StorageError as error:
            raise SourceError(str(error)) from error

    def at_hand(self, item: Item) -> bool:
        if item.kind is Kind.SLATE:
            return True
        return self.ahead is not None and self.ahead.find(wanted(item)) is not None

    def fault(self) -> str | None:
        return "" if self.ahead is None else self.ahead.fault()

    def distrust(self, item: Item) -> None:
        if self.ahead is not None and item.kind is not Kind.SLATE:
            self.ahead.distrust(wanted(item))

    def prepare(
        self, assignments: Mapping[int, Assignment], snapshots: Iterable[Snapshot]
    ) -> None:
        """Have the next items of these channels fetched."""
        if self.ahead is None:
            return
        on_air = {shot.channel: shot for shot in snapshots}
        lines, held = [], []
        for pk, assignment in assignments.items():
            shot = on_air.get(pk)
            last = assignment.last_entry if shot is None else shot.last_entry
            lines.append(list(line(assignment, last)))
            if shot is not None:
                held += [item for item in (shot.now, shot.next) if item is not None]
        self.ahead.want(
            [wanted(item) for item in by_turns(lines)],
            [wanted(item) for item in held if item.kind is not Kind.SLATE],
        )


def wanted(item: Item) -> Wanted:
    return Wanted(item.key, item.edition)


def line(assignment: Assignment, last_entry: int | None) -> Iterator[Item]:
    """What one channel plays soon, and its filler behind the first of it."""
    soon = from_next(assignment.plan.items, last_entry)[:AHEAD]
    return chain(soon[:FIRST], islice(assignment.plan.fillers, FILLERS), soon[FIRST:])


def by_turns(lines: Sequence[Sequence[Item]]) -> Iterator[Item]:
    """The first of each, then the second of each, and so on."""
    for turn in zip_longest(*lines):
        yield from (item for item in turn if item is not None)


def open_sources() -> Sources:
    """The sources of this node. For a bucket, the cache's thread is started with them."""
    if settings.STORAGE_PROVIDER == "local":
        return Sources(None)
    ahead = ReadAhead(settings.CACHE_DIR, settings.CACHE_SIZE_GB * 1_000_000_000)
    ahead.start()
    return Sources(ahead)
