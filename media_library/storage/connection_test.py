"""Tests the storage: whether it can be used, and if not, why."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from contextlib import closing
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

#: Prefix of the test object's key. Listings skip it.
TEST_PREFIX: Final = "prepared/"
#: Servers refuse signatures when a clock is off by 15 minutes; the test fails well before that.
MAX_CLOCK_SKEW: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check, whether it passed, and a sentence for the operator."""

    check: str
    ok: bool
    sentence: str


def unreachable() -> str:
    """Returns why the storage can't be used and what to do; empty when it can.

    Bounded: 3 s to connect and 6 s for the answer, tried once.
    """
    if is_local():
        return _folder_fault(Path(settings.MEDIA_ROOT))
    client = own_client(backends.BRISK_TIMEOUTS_S, 1)
    try:
        # A listing instead of HEAD: the answer to HEAD has no body and can't name the fault.
        client.list_objects_v2(Bucket=settings.STORAGE_BUCKET, MaxKeys=1)
    except (BotoCoreError, ClientError) as error:
        return sentence(error)
    finally:
        client.close()
    return ""


def holds_nothing() -> bool:
    """Returns whether the storage can be listed and has no original in it.

    A mount point whose disk is missing looks the same, so an empty folder proves nothing.
    Raises `StorageError`.
    """
    if is_local():
        root = Path(settings.MEDIA_ROOT)
        with storage_errors(f"The media folder {root}"):
            return not _has_file(root, {name.rstrip("/") for name in (*RESERVED, UPLOADS)})
    return all(listed.state == LEFT_OUT for listed in listing())


def _has_file(folder: Path, left_out: Collection[str]) -> bool:
    """Returns at the first file: the folder may hold a million."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in left_out or is_left_out(entry.name):
                continue
            if not entry.is_dir() or _has_file(Path(entry.path), ()):
                return True
    return False


def examine() -> list[CheckResult]:
    """Lists, compares the clocks, writes, reads and deletes a tiny object.

    After a failure, checks that depend on it are skipped. Bounded: four requests of 9 s at
    most, and none after the storage could not be reached.
    """
    content = token_hex(16).encode()
    if is_local():
        folder = Path(settings.MEDIA_ROOT)
        fault = _folder_fault(folder)
        there = CheckResult("Folder", not fault, fault or "The folder is there.")
        if fault:
            return [there]
        path = folder / f".connection-test-{token_hex(8)}"
        return [
            there,
            *_tried(
                lambda: next(folder.iterdir(), None),
                lambda: path.write_bytes(content),
                lambda: _compare(path.read_bytes(), content),
                path.unlink,
            ),
        ]
    named = {
        "Bucket": settings.STORAGE_BUCKET,
        "Key": f"{TEST_PREFIX}connection-test-{token_hex(8)}",
    }
    dates: list[str] = []

    def note_date(response_dict: dict[str, Any] | None, **_: Any) -> None:
        dates.extend(filter(None, [(response_dict or {}).get("headers", {}).get("date")]))

    with closing(own_client(backends.BRISK_TIMEOUTS_S, 1)) as client:
        # A refusal carries the server's time as well.
        client.meta.events.register("response-received.s3", note_date)
        results = _tried(
            lambda: client.list_objects_v2(Bucket=settings.STORAGE_BUCKET, MaxKeys=1),
            lambda: client.put_object(**named, Body=content),
            lambda: _compare(client.get_object(**named)["Body"].read(), content),
            lambda: client.delete_object(**named),
        )
    if dates:
        results.insert(1, clock(dates[0], datetime.now(UTC)))
    return results


def _tried(*steps: Callable[[], object]) -> list[CheckResult]:
    """Runs the steps until one can't reach the storage, or can't write."""
    results = []
    for (check, passed), step in zip(_PASSED.items(), steps, strict=True):
        fault, last = "", False
        try:
            step()
        except ClientError as error:
            fault, last = sentence(error), check == "Write"
        except BotoCoreError as error:
            fault, last = sentence(error), True
        except OSError as error:
            where = settings.MEDIA_ROOT
            fault = f"The media folder {where}: {error.strerror}. Check disk and permissions."
            last = True
        except _OtherContentError:
            fault = "The storage returned other bytes than were written: use another storage."
        results.append(CheckResult(check, not fault, fault or passed))
        if last:
            break
    return results


def _compare(read: bytes, written: bytes) -> None:
    if read != written:
        raise _OtherContentError


class _OtherContentError(Exception):
    """The bytes read differ from the bytes written."""


_PASSED: Final = {
    "List": "The objects can be listed.",
    "Write": "An object can be written.",
    "Read": "It can be read.",
    "Delete": "It can be deleted.",
}


def clock(date: str, now: datetime) -> CheckResult:
    """Compares this machine's clock with the storage's, which sends its `date`."""
    try:
        theirs = parsedate_to_datetime(date)
    except ValueError:
        return CheckResult("Clock", ok=True, sentence="The storage does not send its time.")
    skew = now - theirs
    seconds = abs(round(skew.total_seconds()))
    if abs(skew) <= MAX_CLOCK_SKEW:
        return CheckResult("Clock", ok=True, sentence=f"The clocks differ by {seconds} s.")
    return CheckResult(
        "Clock",
        ok=False,
        sentence=f"This machine's clock is {seconds} s "
        f"{'ahead of' if skew > timedelta() else 'behind'} the storage's, which refuses "
        "requests at 900 s: set it, preferably by NTP.",
    )


def _folder_fault(folder: Path) -> str:
    if not folder.is_dir():
        return f"The media folder {folder} does not exist: create it, or set MEDIA_FOLDER."
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return (
            f"The media folder {folder} is read-only for this process: mount it for writing. A "
            "service of systemd needs ReadWritePaths=, see deploy/README.md."
        )
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return f"The media folder {folder} can't be read and written: change its permissions."
    return ""
