"""Backups by themselves: to a folder, to the bucket, so many of each."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from django.conf import settings

from media_library import storage
from media_library.storage import StorageError
from streamsite.backups import archive
from streamsite.backups.database import BackupError

#: Where they lie in the bucket.
PREFIX: Final = "streamsite-backups/"
SUFFIX: Final = ".backup"
#: The name says when: the next one is due by it, and the oldest goes first.
NAME: Final = f"streamsite-%Y%m%dT%H%M%SZ{SUFFIX}"
#: What a killed backup has left is removed after this.
LEFTOVER_AGE: Final = timedelta(days=1)


def back_up(now: datetime) -> str:
    """Makes a backup if one is due, in each place. Raises `BackupError`, `StorageError`."""
    if not settings.BACKUP_TO:
        return "Off: BACKUP_TO is empty."
    places = [place for place in settings.BACKUP_TO if _due(newest(place), now)]
    if not places:
        return "Not yet."
    folder: Path = settings.BACKUP_FOLDER
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    _remove_leftovers(folder, now)
    with TemporaryDirectory(prefix=".backup-", dir=folder) as name:
        made = Path(name) / now.astimezone(UTC).strftime(NAME)
        archive.write(made, settings.BACKUP_PASSPHRASE, now)
        if "bucket" in places:
            storage.upload(made, PREFIX + made.name)
        if "folder" in places:
            made.replace(folder / made.name)
    for place in places:
        _keep_newest(place)
    return f"{made.name} is in the {' and the '.join(places)}."


def newest(place: str) -> datetime | None:
    """Returns when the newest of "folder" or "bucket" was made. Raises `StorageError`."""
    moments = (_moment(name) for name in names(place))
    return max((moment for moment in moments if moment is not None), default=None)


def names(place: str) -> list[str]:
    """Returns the backups' names, oldest first. Raises `StorageError`."""
    listed: Iterable[str]
    if place == "bucket":
        listed = (key.removeprefix(PREFIX) for key in storage.keys_below(PREFIX))
    else:
        folder: Path = settings.BACKUP_FOLDER
        listed = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    return sorted(name for name in listed if _moment(name) is not None)


def fetch(name: str, to: Path) -> None:
    """Writes a backup of the bucket to a file; "" is the newest. Raises `BackupError`."""
    try:
        listed = names("bucket")
        if not listed:
            raise BackupError(f"There is no backup under {PREFIX} in the bucket.")
        chosen = name or listed[-1]
        if chosen not in listed:
            raise BackupError(f"The bucket has no {chosen}: it has {', '.join(listed)}.")
        storage.download(PREFIX + chosen, to)
    except StorageError as error:
        raise BackupError(str(error)) from None
    to.chmod(0o600)


def _due(last: datetime | None, now: datetime) -> bool:
    return last is None or now - last >= timedelta(hours=settings.BACKUP_HOURS)


def _moment(name: str) -> datetime | None:
    try:
        return datetime.strptime(name, NAME).replace(tzinfo=UTC)
    except ValueError:
        return None


def _keep_newest(place: str) -> None:
    for name in names(place)[: -settings.BACKUP_KEEP]:
        if place == "bucket":
            storage.delete(PREFIX + name)
        else:
            (settings.BACKUP_FOLDER / name).unlink(missing_ok=True)


def _remove_leftovers(folder: Path, now: datetime) -> None:
    for path in folder.glob(".backup-*"):
        if path.stat().st_mtime < (now - LEFTOVER_AGE).timestamp():
            shutil.rmtree(path, ignore_errors=True)
