"""Trying the storage: can it be used, and if not, why."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings

from media_library.storage import backends
from media_library.storage.backends import is_local, own_client
from media_library.storage.errors import sentence, storage_errors
from media_library.storage.keys import LEFT_OUT, is_left_out
from media_library.storage.list_objects import RESERVED, UPLOADS, listing

#: Where the trial's object lies for a moment: no listing shows it.
PLACE: Final = "prepared/"
#: A server refuses signatures of a clock that is 15 minutes off: told well before that.
MOST_SKEW: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Examined:
    """What was tried, whether it went well, and a sentence for the operator."""

    check: str
    ok: bool
    sentence: str


def unreachable() -> str:
    """Why the storage can't be used, with what to do; empty when all is well.

    Bounded: 3 s to connect and 6 s for the answer, tried once.
    """
    if is_local():
        return _folder_fault(Path(settings.MEDIA_ROOT))
    client = own_client(backends.BRISK, 1)
    try:
        # A listing, not HEAD: the answer to HEAD has no body, so it can't say what is wrong.
        client.list_objects_v2(Bucket=settings.STORAGE_BUCKET, MaxKeys=1)
    except (BotoCoreError, ClientError) as error:
        return sentence(error)
    finally:
        client.close()
    return ""


def holds_nothing() -> bool:
    """Whether the storage can be listed, and has no original in it.

    So does a mount point whose disk is away: of an empty folder nothing follows. Raises
    `StorageError`.
    """
    if is_local():
        root = Path(settings.MEDIA_ROOT)
        with storage_errors(f"The media folder {root}"):
            return not _has_file(root, {name.rstrip("/") for name in (*RESERVED, UPLOADS)})
    return all(listed.state == LEFT_OUT for listed in listing())


def _has_file(folder: Path, left_out: Collection[str]) -> bool:
    """Found at the first one: the folder may hold a million."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in left_out or is_left_out(entry.name):
                continue
            if not entry.is_dir() or _has_file(Path(entry.path), ()):
                return True
    return False


def examine() -> list[Examined]:
    """List, compare the clocks, write, read and delete a tiny object.

    What can't be tried after a failure is left out. Bounded: four requests of 9 s at most, and
    none after one that found nobody.
    """
    return _examine_folder() if is_local() else _Trial().run()


class _Trial:
    def __init__(self) -> None:
        self.results: list[Examined] = []
        self._there = True
        self._key = f"{PLACE}connection-test-{token_hex(8)}"
        self._content = token_hex(16).encode()
        self._client = own_client(backends.BRISK, 1)

    def run(self) -> list[Examined]:
        named = {"Bucket": settings.STORAGE_BUCKET, "Key": self._key}
        try:
            self._listed()
            written = self._tried(
                "Write", lambda: self._client.put_object(**named, Body=self._content)
            )
            if written:
                self._tried("Read", lambda: self._read(named))
                self._tried("Delete", lambda: self._client.delete_object(**named))
        finally:
            self._client.close()
        return self.results

    def _listed(self) -> None:
        dates: list[str] = []

        def look(response_dict: dict[str, Any] | None, **_: Any) -> None:
            dates.extend(filter(None, [(response_dict or {}).get("headers", {}).get("date")]))

        # A refusal tells the time as well.
        self._client.meta.events.register("response-received.s3", look)
        self._tried(
            "List",
            lambda: self._client.list_objects_v2(Bucket=settings.STORAGE_BUCKET, MaxKeys=1),
        )
        if dates:
            self.results.append(clock(dates[-1], datetime.now(UTC)))

    def _read(self, named: dict[str, str]) -> None:
        with self._client.get_object(**named)["Body"] as body:
            if body.read() != self._content:
                raise _OtherContentError

    def _tried(self, check: str, call: Callable[[], Any]) -> bool:
        if not self._there:
            return False
        fault = ""
        try:
            call()
        except ClientError as error:
            fault = sentence(error)
        except BotoCoreError as error:
            fault = sentence(error)
            self._there = False
        except _OtherContentError:
            fault = "The storage gave back other bytes than were written: use another one."
        self.results.append(Examined(check, not fault, fault or _WELL[check]))
        return not fault


class _OtherContentError(Exception):
    """What was read is not what was written."""


_WELL: Final = {
    "List": "The objects can be listed.",
    "Write": "An object can be written.",
    "Read": "It can be read.",
    "Delete": "It can be deleted.",
    "Folder": "The folder is there.",
}


def clock(date: str, now: datetime) -> Examined:
    """How far this machine's clock is from the storage's, which tells its `date`."""
    try:
        theirs = parsedate_to_datetime(date)
    except ValueError:
        return Examined("Clock", ok=True, sentence="The storage does not tell the time.")
    skew = now - theirs
    seconds = abs(round(skew.total_seconds()))
    if abs(skew) <= MOST_SKEW:
        return Examined("Clock", ok=True, sentence=f"The clocks differ by {seconds} s.")
    return Examined(
        "Clock",
        ok=False,
        sentence=f"This machine's clock is {seconds} s "
        f"{'ahead of' if skew > timedelta() else 'behind'} the storage's, which refuses "
        "requests at 900 s: set it, by NTP at best.",
    )


def _folder_fault(folder: Path) -> str:
    if not folder.is_dir():
        return f"The media folder {folder} does not exist: make it, or set MEDIA_FOLDER."
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return (
            f"The media folder {folder} is read-only for this process: mount it for writing. A "
            "service of systemd needs ReadWritePaths=, see deploy/README.md."
        )
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return f"The media folder {folder} can't be read and written: change its rights."
    return ""


def _examine_folder() -> list[Examined]:
    folder = Path(settings.MEDIA_ROOT)
    fault = _folder_fault(folder)
    results = [Examined("Folder", not fault, fault or _WELL["Folder"])]
    if fault:
        return results
    path, content = folder / f".connection-test-{token_hex(8)}", token_hex(16).encode()
    steps: list[tuple[str, Callable[[], object]]] = [
        ("List", lambda: next(folder.iterdir(), None)),
        ("Write", lambda: path.write_bytes(content)),
        ("Read", path.read_bytes),
        ("Delete", path.unlink),
    ]
    for check, step in steps:
        try:
            step()
        except OSError as error:
            said = f"The media folder {folder}: {error.strerror}. See to its disk and rights."
            results.append(Examined(check, ok=False, sentence=said))
            break
        results.append(Examined(check, ok=True, sentence=_WELL[check]))
    return results
