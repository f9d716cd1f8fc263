"""The read-ahead cache: the next items, on this machine's own disk.

One thread of the supervisor's process downloads them in pieces and detects on the way whether
the storage can be reached. Only that thread changes the folder.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from errno import ENOSPC
from pathlib import Path, PurePosixPath
from typing import Final

from media_library import storage
from media_library.storage import Facts, StorageError

logger = logging.getLogger(__name__)

#: Bytes per request: a second or two on a slow line.
PIECE_BYTES: Final = 4 << 20
#: Bytes/s in total: enough for forty channels at 5 Mbit/s, and little work (1-2 % of a core)
#: for a process that supervises channels.
MAX_BYTES_PER_S: Final = 25 << 20
#: Bytes of the disk that stay free, whatever the limit is.
MIN_FREE_BYTES: Final = 1 << 30
#: Seconds between two checks of the storage while there is nothing to download ...
POLL_INTERVAL_S: Final = 20.0
#: ... and while it can't be reached.
RETRY_INTERVAL_S: Final = 3.0
#: Seconds for which a check is valid; after that the state is unknown.
STATUS_LIFETIME_S: Final = 60.0
#: Maximum characters of a file name's ending: ".matroska".
MAX_SUFFIX_CHARS: Final = 9
#: Rank of files outside the queue: behind all others.
UNQUEUED_RANK: Final = 1 << 30
#: Seconds for which an object that failed by its own fault is skipped.
REFUSED_RETRY_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """An object and its edition: another edition of the same key has other bytes."""

    key: str
    edition: str

    @property
    def name(self) -> str:
        """Name of its file in the cache."""
        content = hashlib.sha256(f"{self.key}\n{self.edition}".encode()).hexdigest()[:40]
        # FFmpeg recognises some formats by the file name's ending.
        suffix = PurePosixPath(self.key).suffix
        plain = suffix.isascii() and len(suffix) <= MAX_SUFFIX_CHARS
        return content + (suffix if plain else "")


class ReadAhead:
    """Keeps the folder filled with the queued objects. `limit` in bytes; 0 stores nothing."""

    def __init__(
        self, folder: Path, limit: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder = folder
        self.limit = limit
        self._clock = clock
        self._queue: tuple[ObjectVersion, ...] = ()
        self._held: frozenset[str] = frozenset()
        self._fault = ""
        self._checked_at: float | None = None
        self._refused: dict[ObjectVersion, float] = {}
        self._facts: dict[ObjectVersion, Facts] = {}
        self._spoiled: set[ObjectVersion] = set()
        #: The storage has to be checked at once.
        self._doubted = False
        self._complaint = ""
        self._wake = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None

    # ---- called by the supervisor; nothing here waits

    def find(self, version: ObjectVersion) -> Path | None:
        """Returns the complete file, if it is in the cache."""
        if version in self._spoiled and not self._fault:
            return None
        # While the storage can't be reached, a possibly damaged file is better than none.
        path = self.folder / version.name
        return path if path.is_file() else None

    def set_queue(
        self, queue: Sequence[ObjectVersion], held: Sequence[ObjectVersion] = ()
    ) -> None:
        """Sets the objects to cache, soonest first; `held` is on air and is never removed."""
        self._queue = tuple(dict.fromkeys(queue))
        self._held = frozenset(version.name for version in held)
        self._wake.set()

    def distrust(self, version: ObjectVersion) -> None:
        """Marks a cached file that failed to play: it is downloaded again."""
        self._spoiled.add(version)
        self._wake.set()

    def doubt(self) -> None:
        """Reports a failed playback: the storage is checked at once."""
        self._doubted = True
        self._wake.set()

    def fault(self) -> str | None:
        """Returns why the storage can't be reached; empty when it can, None while unknown."""
        if self._checked_at is None or self._clock() - self._checked_at > STATUS_LIFETIME_S:
            return None
        return self._fault

    # ---- the thread

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; incomplete downloads are resumed later."""
        self._stopped = True
        self._wake.set()
        if self._thread is not None:
            # It may be waiting for the storage; as a daemon thread it blocks nothing.
            self._thread.join(1)

    def _run(self) -> None:
        while not self._stopped:
            try:
                rest = self.step()
            except Exception:
                # No error may end the channels' process, or this thread for good.
                logger.exception("The read-ahead cache failed unexpectedly.")
                rest = POLL_INTERVAL_S
            if rest:
                self._wake.wait(rest)
            self._wake.clear()

    def step(self) -> float:
        """Does one step: remove, check or download. Returns seconds until the next step."""
        began = self._clock()
        queue = self._queue
        try:
            self._remove_spoiled()
            if (missing := self._next_missing(queue)) is not None:
                size = self._fetch(queue, *missing)
                self._reached()
                return max(0.0, size / MAX_BYTES_PER_S - (self._clock() - began))
            self._tidy(queue)
            self._complaint = ""
        except StorageError as error:
            return self._unreachable(str(error))
        except OSError as error:
            self._complain(error)
        return self._check_storage()

    def _complain(self, error: OSError) -> None:
        complaint = f"The cache can't be written ({error.strerror}): free space on its disk."
        if complaint != self._complaint:
            logger.warning("%s", complaint)
        self._complaint = complaint

    def _check_storage(self) -> float:
        """Checks whether the storage can be reached, with one cheap request."""
        doubted, self._doubted = self._doubted, False
        if not doubted and not self._fault and self._checked_at is not None:
            since = self._clock() - self._checked_at
            if since < POLL_INTERVAL_S:
                return POLL_INTERVAL_S - since
        if fault := storage.unreachable():
            return self._unreachable(fault)
        self._reached()
        return POLL_INTERVAL_S

    def _reached(self) -> None:
        if self._fault:
            logger.info("The storage can be reached again.")
        self._fault, self._checked_at = "", self._clock()

    def _unreachable(self, fault: str) -> float:
        if self._fault != fault:
            logger.warning("%s", fault)
        self._fault, self._checked_at = fault, self._clock()
        return RETRY_INTERVAL_S

    # ---- the next download, and the space for it

    def _next_missing(
        self, queue: Sequence[ObjectVersion]
    ) -> tuple[ObjectVersion, Facts] | None:
        """Returns the first missing object that fits beside the objects queued before it."""
        names = {version.name for version in queue}
        held = (self.folder / name for name in self._held - names)
        room = self.limit - sum(path.stat().st_size for path in held if path.exists())
        now = self._clock()
        for version in queue:
            path = self.folder / version.name
            if path.exists():
                room -= path.stat().st_size
                continue
            if now < self._refused.get(version, 0.0):
                continue
            try:
                facts = self._facts.get(version) or storage.facts(version.key, brisk=True)
            except StorageError as error:
                self._refuse(version, error)
                continue
            self._facts[version] = facts
            if facts.size_bytes <= room:
                return version, facts
            if facts.size_bytes > self.limit:
                # It can never fit. Other objects wait until earlier ones have played; later
                # ones may fit now.
                self._refused[version] = now + REFUSED_RETRY_S
        return None

    def _refuse(self, version: ObjectVersion, error: StorageError) -> None:
        """Skips the object for a while. Raises `StorageError` if no object can be reached."""
        if not error.permanent and (fault := storage.unreachable()):
            raise StorageError(fault)
        # Archived, denied, deleted or replaced: only this object fails, the others continue.
        logger.warning("The cache skips %s: %s", version.key, error)
        self._refused[version] = self._clock() + REFUSED_RETRY_S
        self._facts.pop(version, None)

    def _fetch(
        self, queue: Sequence[ObjectVersion], version: ObjectVersion, facts: Facts
    ) -> int:
        """Downloads one more piece. Returns the number of bytes."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        # The storage's etag is part of the name: pieces of two contents are never mixed.
        mark = hashlib.sha256(facts.etag.encode()).hexdigest()[:16]
        part = self.folder / f"{version.name}.{mark}.part"
        have = part.stat().st_size if part.exists() else 0
        if have < facts.size_bytes:
            length = min(PIECE_BYTES, facts.size_bytes - have)
            before = queue[: queue.index(version) + 1]
            self._make_room(length, {entry.name for entry in before})
            try:
                piece = storage.read(version.key, have, length, etag=facts.etag, brisk=True)
            except StorageError as error:
                self._refuse(version, error)
                if error.permanent:
                    part.unlink(missing_ok=True)
                return 0
            if not piece:
                self._facts.pop(version, None)
                part.unlink(missing_ok=True)
                return 0
            with part.open("ab") as file:
                file.write(piece)
            have += len(piece)
        else:
            piece = b""
        if have >= facts.size_bytes:
            self._finish(version, facts, part)
        return len(piece)

    def _finish(self, version: ObjectVersion, facts: Facts, part: Path) -> None:
        self._facts.pop(version, None)
        if part.stat().st_size != facts.size_bytes:
            part.unlink()
            return
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(self.folder / version.name)

    def _make_room(self, needed: int, keep: set[str]) -> None:
        """Removes files outside `keep`: unqueued ones, oldest first, then the queue's end.

        Raises `OSError` if the disk has no space even then.
        """
        keep |= self._held
        places = {version.name: place for place, version in enumerate(self._queue)}
        # The name of a piece begins with its file's name.
        sizes = {
            path: path.stat()
            for path in self._files()
            if not any(path.name.startswith(name) for name in keep)
        }
        total = sum(path.stat().st_size for path in self._files())
        free = shutil.disk_usage(self.folder).free
        if free + sum(stat.st_size for stat in sizes.values()) - needed < MIN_FREE_BYTES:
            # Removing everything would not suffice, so nothing is removed.
            raise OSError(ENOSPC, os.strerror(ENOSPC))
        for path in sorted(
            sizes,
            key=lambda path: (-places.get(path.name, UNQUEUED_RANK), sizes[path].st_mtime),
        ):
            if total + needed <= self.limit and free - needed >= MIN_FREE_BYTES:
                return
            path.unlink()
            total, free = total - sizes[path].st_size, free + sizes[path].st_size

    def _files(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return [path for path in self.folder.iterdir() if path.is_file()]

    def _tidy(self, queue: Sequence[ObjectVersion]) -> None:
        """Removes pieces of unqueued objects, and what is cached about them."""
        names = {version.name for version in queue}
        for path in self._files():
            if path.suffix == ".part" and not any(path.name.startswith(n) for n in names):
                path.unlink()
        for cached in (self._facts, self._refused):
            for version in set(cached) - set(queue):
                del cached[version]

    def _remove_spoiled(self) -> None:
        """Removes files to download again. Raises `StorageError` if that is impossible now."""
        if self._spoiled and (fault := storage.unreachable()):
            raise StorageError(fault)
        for version in list(self._spoiled):
            try:
                (self.folder / version.name).unlink(missing_ok=True)
            except OSError as error:
                # It stays marked, and the others are handled.
                self._complain(error)
            else:
                self._spoiled.discard(version)
