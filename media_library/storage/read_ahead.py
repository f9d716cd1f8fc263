"""The read-ahead cache: what is to be played next, on this machine's own disk.

One thread of the supervisor's process fetches it, piece by piece, and finds out on the way
whether the storage can be reached. Only that thread changes the folder.
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

#: Bytes fetched by one request: a second or two of a slow line.
PIECE: Final = 4 << 20
#: Bytes/s, over all of it: enough for forty channels at 5 Mbit/s, and little work (1-2 % of a
#: core) for a process that has channels to look after.
PACE: Final = 25 << 20
#: Bytes of the disk that stay free, whatever the limit says.
SPARE: Final = 1 << 30
#: Seconds between two looks at the storage while there is nothing to fetch ...
LOOK: Final = 20.0
#: ... and while it is out of reach.
LOOK_AGAIN: Final = 3.0
#: Seconds for which a look counts: what nobody has measured since is not known.
KNOWN: Final = 60.0
#: Characters of a name's ending that is kept: ".matroska".
LONGEST_SUFFIX: Final = 9
#: The place of what nobody wants: behind everything.
LAST: Final = 1 << 30
#: Seconds for which an object that could not be fetched for its own fault is left alone.
REFUSED: Final = 120.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object and its edition: another edition of the same key has other bytes."""

    key: str
    edition: str

    @property
    def name(self) -> str:
        """Its file in the cache."""
        content = hashlib.sha256(f"{self.key}\n{self.edition}".encode()).hexdigest()[:40]
        # FFmpeg takes some formats by the name's ending.
        suffix = PurePosixPath(self.key).suffix
        plain = suffix.isascii() and len(suffix) <= LONGEST_SUFFIX
        return content + (suffix if plain else "")


class ReadAhead:
    """Keeps the folder filled with what is wanted. `limit` in bytes; nothing is kept at 0."""

    def __init__(
        self, folder: Path, limit: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder = folder
        self.limit = limit
        self._clock = clock
        self._wanted: tuple[Wanted, ...] = ()
        self._held: frozenset[str] = frozenset()
        self._fault = ""
        self._known_at: float | None = None
        self._refused: dict[Wanted, float] = {}
        self._facts: dict[Wanted, Facts] = {}
        self._spoiled: set[Wanted] = set()
        #: The storage is to be seen to at once.
        self._doubted = False
        self._complaint = ""
        self._call = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None

    # ---- what the supervisor asks; nothing here waits

    def find(self, wanted: Wanted) -> Path | None:
        """The whole file, if it is here."""
        if wanted in self._spoiled and not self._fault:
            return None
        # With the storage away, one that may be damaged is better than none.
        path = self.folder / wanted.name
        return path if path.is_file() else None

    def want(self, wanted: Sequence[Wanted], held: Sequence[Wanted] = ()) -> None:
        """What to have, soonest first; `held` is on air and stays, whatever is needed."""
        self._wanted = tuple(dict.fromkeys(wanted))
        self._held = frozenset(each.name for each in held)
        self._call.set()

    def distrust(self, wanted: Wanted) -> None:
        """Its file here failed to play: it is fetched anew."""
        self._spoiled.add(wanted)
        self._call.set()

    def doubt(self) -> None:
        """Something failed to play: the storage is seen to at once."""
        self._doubted = True
        self._call.set()

    def fault(self) -> str | None:
        """Why the storage can't be reached; empty when it can, None while nobody knows."""
        if self._known_at is None or self._clock() - self._known_at > KNOWN:
            return None
        return self._fault

    # ---- the thread

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Leave; what is half fetched is gone on with later."""
        self._stopped = True
        self._call.set()
        if self._thread is not None:
            # It may be waiting for the storage: as a daemon it holds nobody up.
            self._thread.join(1)

    def _run(self) -> None:
        while not self._stopped:
            try:
                rest = self.step()
            except Exception:
                # Nothing here may end the channels' process, or the thread for good.
                logger.exception("The read-ahead cache met something unforeseen.")
                rest = LOOK
            if rest:
                self._call.wait(rest)
            self._call.clear()

    def step(self) -> float:
        """Do one thing: remove, look or fetch a piece. Seconds to rest after it."""
        began = self._clock()
        wanted = self._wanted
        try:
            self._remove_spoiled()
            if (missing := self._next_missing(wanted)) is not None:
                size = self._fetch(wanted, *missing)
                self._reached()
                return max(0.0, size / PACE - (self._clock() - began))
            self._tidy(wanted)
            self._complaint = ""
        except StorageError as error:
            return self._unreachable(str(error))
        except OSError as error:
            self._complain(error)
        return self._look()

    def _complain(self, error: OSError) -> None:
        complaint = f"The cache can't be written ({error.strerror}): make room on its disk."
        if complaint != self._complaint:
            logger.warning("%s", complaint)
        self._complaint = complaint

    def _look(self) -> float:
        """See whether the storage is there. One cheap question."""
        doubted, self._doubted = self._doubted, False
        if not doubted and not self._fault and self._known_at is not None:
            since = self._clock() - self._known_at
            if since < LOOK:
                return LOOK - since
        if fault := storage.unreachable():
            return self._unreachable(fault)
        self._reached()
        return LOOK

    def _reached(self) -> None:
        if self._fault:
            logger.info("The storage can be reached again.")
        self._fault, self._known_at = "", self._clock()

    def _unreachable(self, fault: str) -> float:
        if self._fault != fault:
            logger.warning("%s", fault)
        self._fault, self._known_at = fault, self._clock()
        return LOOK_AGAIN

    # ---- what to fetch, and the room for it

    def _next_missing(self, wanted: Sequence[Wanted]) -> tuple[Wanted, Facts] | None:
        """The first that is not here and for which there is room beside those before it."""
        names = {each.name for each in wanted}
        held = (self.folder / name for name in self._held - names)
        room = self.limit - sum(path.stat().st_size for path in held if path.exists())
        now = self._clock()
        for each in wanted:
            path = self.folder / each.name
            if path.exists():
                room -= path.stat().st_size
                continue
            if now < self._refused.get(each, 0.0):
                continue
            try:
                facts = self._facts.get(each) or storage.facts(each.key, brisk=True)
            except StorageError as error:
                self._refuse(each, error)
                continue
            self._facts[each] = facts
            if facts.size_bytes <= room:
                return each, facts
            if facts.size_bytes > self.limit:
                # It would never fit. Others have to wait until what is before them has played;
                # what follows may fit meanwhile.
                self._refused[each] = now + REFUSED
        return None

    def _refuse(self, wanted: Wanted, error: StorageError) -> None:
        """Leave it alone for a while. Raises `StorageError` where all are out of reach."""
        if not error.permanent and (fault := storage.unreachable()):
            raise StorageError(fault)
        # Archived, denied, gone, another one: its own fault, and no reason to stop the others.
        logger.warning("The cache leaves %s out: %s", wanted.key, error)
        self._refused[wanted] = self._clock() + REFUSED
        self._facts.pop(wanted, None)

    def _fetch(self, all_wanted: Sequence[Wanted], wanted: Wanted, facts: Facts) -> int:
        """One more piece of it. Bytes that were fetched."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        # The storage's etag is in the name: pieces of two contents never come together.
        mark = hashlib.sha256(facts.etag.encode()).hexdigest()[:16]
        part = self.folder / f"{wanted.name}.{mark}.part"
        have = part.stat().st_size if part.exists() else 0
        if have < facts.size_bytes:
            length = min(PIECE, facts.size_bytes - have)
            before = all_wanted[: all_wanted.index(wanted) + 1]
            self._make_room(length, {each.name for each in before})
            try:
                piece = storage.read(wanted.key, have, length, etag=facts.etag, brisk=True)
            except StorageError as error:
                self._refuse(wanted, error)
                if error.permanent:
                    part.unlink(missing_ok=True)
                return 0
            if not piece:
                self._facts.pop(wanted, None)
                part.unlink(missing_ok=True)
                return 0
            with part.open("ab") as file:
                file.write(piece)
            have += len(piece)
        else:
            piece = b""
        if have >= facts.size_bytes:
            self._finish(wanted, facts, part)
        return len(piece)

    def _finish(self, wanted: Wanted, facts: Facts, part: Path) -> None:
        self._facts.pop(wanted, None)
        if part.stat().st_size != facts.size_bytes:
            part.unlink()
            return
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(self.folder / wanted.name)

    def _make_room(self, needed: int, keep: set[str]) -> None:
        """Remove what is not to be kept: first what nobody wants, oldest first, then the last.

        Raises `OSError` where the disk has no room even then.
        """
        keep |= self._held
        places = {each.name: place for place, each in enumerate(self._wanted)}
        # A piece's name begins with its file's.
        sizes = {
            path: path.stat()
            for path in self._files()
            if not any(path.name.startswith(name) for name in keep)
        }
        total = sum(path.stat().st_size for path in self._files())
        free = shutil.disk_usage(self.folder).free
        if free + sum(stat.st_size for stat in sizes.values()) - needed < SPARE:
            # Removing everything would not do: then it stays.
            raise OSError(ENOSPC, os.strerror(ENOSPC))
        for path in sorted(
            sizes, key=lambda path: (-places.get(path.name, LAST), sizes[path].st_mtime)
        ):
            if total + needed <= self.limit and free - needed >= SPARE:
                return
            path.unlink()
            total, free = total - sizes[path].st_size, free + sizes[path].st_size

    def _files(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return [path for path in self.folder.iterdir() if path.is_file()]

    def _tidy(self, wanted: Sequence[Wanted]) -> None:
        """Remove pieces of what is wanted no more, and forget what was known of it."""
        names = {each.name for each in wanted}
        for path in self._files():
            if path.suffix == ".part" and not any(path.name.startswith(n) for n in names):
                path.unlink()
        for known in (self._facts, self._refused):
            for each in set(known) - set(wanted):
                del known[each]

    def _remove_spoiled(self) -> None:
        """Remove what is to be fetched anew. Raises `StorageError` where that can't be had."""
        if self._spoiled and (fault := storage.unreachable()):
            raise StorageError(fault)
        for each in list(self._spoiled):
            try:
                (self.folder / each.name).unlink(missing_ok=True)
            except OSError as error:
                # It stays spoiled, and the others are seen to.
                self._complain(error)
            else:
                self._spoiled.discard(each)
