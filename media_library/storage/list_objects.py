"""Lists the objects of the storage in the order of their keys' bytes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog
from django.conf import settings

from media_library.storage.backends import (
    MAX_KEY_BYTES,
    TRANSFER_TIMEOUTS_S,
    client,
    is_key,
    is_local,
    own_client,
)
from media_library.storage.errors import StorageError, storage_errors
from media_library.storage.keys import GROWING, LEFT_OUT, is_left_out
from media_library.storage.objects import folder_etag

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Prefixes that streamsite keeps for itself: no media of the operator.
RESERVED: Final = ("logos/", "prepared/", "streamsite-backups/", "thumbnails/")
#: Folder for incomplete uploads, in a local storage.
UPLOADS: Final = ".uploads"
#: Keys per page: the maximum of S3 and R2.
PAGE: Final = 1000
#: Seconds without a change until a file counts as complete: a copy process writes all the time.
SETTLED_AFTER_S: Final = 30.0
#: Seconds by which a file server's clock may be ahead of this machine's.
MAX_CLOCK_SKEW_S: Final = 600.0
#: The highest character: a prefix followed by it sorts behind all keys with that prefix.
_HIGHEST_CHARACTER: Final = "\U0010ffff"


class Listed(NamedTuple):
    """An object of the storage."""

    key: str
    size_bytes: int
    etag: str
    #: LEFT_OUT, GROWING, or empty: an object like any other.
    state: str = ""


def listing(after: str = "") -> Iterator[Listed]:
    """Lists all objects behind the key `after`, in the order of their keys' UTF-8 bytes.

    That is also the order of Python's strings. Hidden objects and those in a trash have the
    state LEFT_OUT (a folder counts as one object); files that may still grow have GROWING.
    Skipped without an entry: streamsite's own objects, objects that stand for folders, and
    names that are no valid keys; the last are counted in the log. Raises `StorageError`, also
    in the middle: the objects listed until then are no complete listing.
    """
    odd = 0
    for listed in _walk(after) if is_local() else _pages(after):
        if is_left_out(listed.key):
            yield listed._replace(state=LEFT_OUT)
            continue
        if not is_key(listed.key) or len(listed.key.encode()) > MAX_KEY_BYTES:
            odd += 1
            continue
        yield listed
    if odd:
        log.warning("storage.odd_names_left_out", count=odd)


def keys_below(prefix: str) -> list[str]:
    """Returns the keys of streamsite's own objects with the prefix. Raises `StorageError`."""
    with storage_errors(prefix):
        if is_local():
            folder = Path(settings.MEDIA_ROOT) / prefix
            paths = folder.iterdir() if folder.is_dir() else ()
            return sorted(f"{prefix}{path.name}" for path in paths)
        pages = client().get_paginator("list_objects_v2")
        return [
            entry["Key"]
            for page in pages.paginate(Bucket=settings.STORAGE_BUCKET, Prefix=prefix)
            for entry in page.get("Contents", [])
        ]


def _pages(after: str) -> Iterator[Listed]:
    lister = own_client(TRANSFER_TIMEOUTS_S, 4, dates=False)
    try:
        last, more = after, True
        while more:
            with storage_errors(""):
                page = lister.list_objects_v2(
                    Bucket=settings.STORAGE_BUCKET, MaxKeys=PAGE, StartAfter=last
                )
            contents = page.get("Contents", [])
            more = page["IsTruncated"]
            if more and not contents:
                raise StorageError(
                    "The storage's listing is incomplete: try again, and tell the vendor."
                )
            for listed in _ordered(contents, last):
                last = listed.key
                prefix = next(
                    (reserved for reserved in RESERVED if last.startswith(reserved)), None
                )
                if prefix is None:
                    if not last.endswith("/"):
                        yield listed
                elif last < prefix + _HIGHEST_CHARACTER:
                    # There may be as many copies as originals: the next page begins behind
                    # them.
                    last, more = prefix + _HIGHEST_CHARACTER, True
                    break
    finally:
        lister.close()


def _ordered(contents: list[dict[str, Any]], last: str) -> Iterator[Listed]:
    """Yields the page's objects. An unordered listing would mark every item as missing."""
    for entry in contents:
        key = entry["Key"]
        if key <= last:
            raise StorageError(
                "The storage does not list its objects in the order of their names: "
                "a directory bucket can't be used, use a general purpose bucket."
            )
        last = key
        yield Listed(key, entry["Size"], entry["ETag"].strip('"'))


class _Walk:
    """Walks through a folder, with one directory's names in memory per level of depth."""

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
                # All of it may lie before the key that the listing starts from.
                elif key + _HIGHEST_CHARACTER > self.after:
                    yield from self.below(path, key)
            elif key > self.after:
                try:
                    stat = path.stat()
                except FileNotFoundError:
                    continue
                state = GROWING if self._may_grow(stat) else ""
                yield Listed(key, stat.st_size, folder_etag(stat), state)

    def _may_grow(self, stat: os.stat_result) -> bool:
        # A file server's clock may be ahead by minutes; a camera's may be ahead by years.
        age = self.now - stat.st_mtime
        return -MAX_CLOCK_SKEW_S < age < SETTLED_AFTER_S

    def _entries(self, folder: Path, prefix: str) -> list[tuple[str, Path]]:
        """Returns keys and paths in order. A directory's key ends in "/"."""
        entries = []
        try:
            with os.scandir(folder) as scanned:
                for entry in scanned:
                    kind = self._kind(entry)
                    if kind is not None:
                        entries.append((f"{prefix}{entry.name}{kind}", Path(entry.path)))
        except FileNotFoundError:
            if folder == self.root:
                raise
            # Removed during the walk.
            return []
        entries.sort()
        return entries

    def _kind(self, entry: os.DirEntry[str]) -> str | None:
        """Returns the end of its key: "/" for a directory, "" for a file; None: skipped."""
        try:
            entry.name.encode()
        except UnicodeEncodeError:
            self.unreadable += 1
            return None
        if entry.is_dir(follow_symlinks=False):
            return "/"
        if entry.is_symlink():
            # A link to a directory may form a loop; one to a file may lead out of the folder.
            target = Path(entry.path).resolve()
            return "" if target.is_file() and target.is_relative_to(self.root) else None
        return "" if entry.is_file(follow_symlinks=False) else None


def _walk(after: str) -> Iterator[Listed]:
    walk = _Walk(after)
    with storage_errors(f"The media folder {settings.MEDIA_ROOT}"):
        yield from walk.below(walk.root, "")
    if walk.unreadable:
        log.warning("storage.names_not_utf8_left_out", count=walk.unreadable)
