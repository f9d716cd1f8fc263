"""What the storage holds, in the order of its keys' bytes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog
from django.conf import settings

from media_library.storage.backends import LONGEST_KEY, PATIENT, is_key, is_local, own_client
from media_library.storage.errors import StorageError, storage_errors
from media_library.storage.keys import GROWING, LEFT_OUT, is_left_out
from media_library.storage.objects import folder_etag

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: What streamsite itself keeps in the storage: no media of the operator's.
RESERVED: Final = ("logos/", "prepared/", "thumbnails/")
#: In a folder, where uploads grow until they are whole.
UPLOADS: Final = ".uploads"
#: Keys of one page: the most that S3 and R2 give.
PAGE: Final = 1000
#: Seconds for which a file has to be as it is before it counts as whole: copying writes all the
#: time.
SETTLED_AFTER_S: Final = 30.0
#: Seconds by which a file server's clock may be ahead of ours.
CLOCKS_DIFFER_S: Final = 600.0
#: No character comes after this one, so it stands behind all that begins with a prefix.
_LAST: Final = "\U0010ffff"


class Listed(NamedTuple):
    """An object of the storage."""

    key: str
    size_bytes: int
    etag: str
    #: LEFT_OUT, GROWING, or empty: an object like any other.
    state: str = ""


def listing(after: str = "") -> Iterator[Listed]:
    """All objects behind the key `after`, in the order of their keys' UTF-8 bytes.

    That is also the order of Python's strings. What is hidden or in a trash comes as LEFT_OUT,
    in a folder as one for all that is below, and a file that may still grow as GROWING. Not
    among them are what streamsite keeps there itself,
    folders' own objects, and names that the door would refuse: those are counted in the log.
    Raises `StorageError`, also in the middle: what came until then is no complete listing.
    """
    odd = 0
    for listed in _walk(after) if is_local() else _pages(after):
        if is_left_out(listed.key):
            yield listed._replace(state=LEFT_OUT)
            continue
        if not is_key(listed.key) or len(listed.key.encode()) > LONGEST_KEY:
            odd += 1
            continue
        yield listed
    if odd:
        log.warning("storage.odd_names_left_out", count=odd)


def _pages(after: str) -> Iterator[Listed]:
    client = own_client(PATIENT, 4, dates=False)
    try:
        last, more = after, True
        while more:
            with storage_errors(""):
                page = client.list_objects_v2(
                    Bucket=settings.STORAGE_BUCKET, MaxKeys=PAGE, StartAfter=last
                )
            contents = page.get("Contents", [])
            more = page["IsTruncated"]
            if more and not contents:
                raise StorageError(
                    "The storage's listing ends in the middle: try again, and tell its makers."
                )
            for listed in _ordered(contents, last):
                last = listed.key
                prefix = next((each for each in RESERVED if last.startswith(each)), None)
                if prefix is None:
                    if not last.endswith("/"):
                        yield listed
                elif last < prefix + _LAST:
                    # There may be as many copies as originals: the next page begins behind.
                    last, more = prefix + _LAST, True
                    break
    finally:
        client.close()


def _ordered(contents: list[dict[str, Any]], last: str) -> Iterator[Listed]:
    """The page's objects. A merge with a listing out of order would take all for missing."""
    for each in contents:
        key = each["Key"]
        if key <= last:
            raise StorageError(
                "The storage does not list its objects in the order of their names: "
                "a directory bucket can't be used, take one for general purposes."
            )
        last = key
        yield Listed(key, each["Size"], each["ETag"].strip('"'))


class _Walk:
    """A folder, one directory's names in memory at a time for each level of depth."""

    def __init__(self, after: str) -> None:
        self.root = Path(settings.MEDIA_ROOT).resolve()
        self.after = after
        self.unreadable = 0
        self.now = time.time()

    def below(self, folder: Path, prefix: str) -> Iterator[Listed]:
        for key, path in self._entries(folder, prefix):
            if key.endswith("/"):
                if key in RESERVED or key == f"{UPLOADS}/":
                    continue
                if is_left_out(key):
                    if key > self.after:
                        yield Listed(key, 0, "")
                # All of it may lie before the key where the listing begins.
                elif key + _LAST > self.after:
                    yield from self.below(path, key)
            elif key > self.after:
                try:
                    stat = path.stat()
                except FileNotFoundError:
                    continue
                state = GROWING if self._may_grow(stat) else ""
                yield Listed(key, stat.st_size, folder_etag(stat), state)

    def _may_grow(self, stat: os.stat_result) -> bool:
        # A clock of a file server's own may be ahead; one of a camera's may be years ahead.
        age = self.now - stat.st_mtime
        return -CLOCKS_DIFFER_S < age < SETTLED_AFTER_S

    def _entries(self, folder: Path, prefix: str) -> list[tuple[str, Path]]:
        """Keys and paths in order. A directory's key ends in "/", as its files' keys go on."""
        entries = []
        try:
            with os.scandir(folder) as found:
                for entry in found:
                    kind = self._kind(entry)
                    if kind is not None:
                        entries.append((f"{prefix}{entry.name}{kind}", Path(entry.path)))
        except FileNotFoundError:
            if folder == self.root:
                raise
            # Removed while we came here.
            return []
        entries.sort()
        return entries

    def _kind(self, entry: os.DirEntry[str]) -> str | None:
        """What ends its key: "/" of a directory, "" of a file. None: no part of the library."""
        try:
            entry.name.encode()
        except UnicodeEncodeError:
            self.unreadable += 1
            return None
        if entry.is_dir(follow_symlinks=False):
            return "/"
        if entry.is_symlink():
            # A link to a directory may lead in circles; one to a file may lead out.
            target = Path(entry.path).resolve()
            return "" if target.is_file() and target.is_relative_to(self.root) else None
        return "" if entry.is_file(follow_symlinks=False) else None


def _walk(after: str) -> Iterator[Listed]:
    walk = _Walk(after)
    with storage_errors(f"The media folder {settings.MEDIA_ROOT}"):
        yield from walk.below(walk.root, "")
    if walk.unreadable:
        log.warning("storage.names_not_utf8_left_out", count=walk.unreadable)
