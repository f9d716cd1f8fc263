"""Modes of files: the database holds password hashes and sessions."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

#: Taken from every new file: the group's right to write, and all rights of others.
UMASK: Final = 0o027
#: The widest modes of a data folder and a database.
FOLDER: Final = 0o750
FILE: Final = 0o600
#: And the file of settings: a server's belongs to root, and its service reads it.
SETTINGS: Final = 0o640
#: Suffixes of the files that SQLite keeps beside its own.
_BESIDE: Final = ("-wal", "-shm", "-journal")


def narrow_umask() -> None:
    """Let nobody else read what this process makes; a stricter umask stays."""
    os.umask(os.umask(UMASK) | UMASK)


def private_folder(folder: Path) -> None:
    """Make the folder, or take from it what others may do there. Raises `OSError`."""
    folder.mkdir(mode=FOLDER, parents=True, exist_ok=True)
    _narrow(folder, FOLDER)


def private_database(file: Path) -> None:
    """See to it that an SQLite file is its owner's alone, before and after it is made.

    SQLite gives what it keeps beside the file the file's own mode. Raises `OSError`.
    """
    # An empty file is a database without tables.
    os.close(os.open(file, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, FILE))
    for path in (file, *lies_beside(file)):
        _narrow(path, FILE)


def lies_beside(file: Path) -> list[Path]:
    """The files that SQLite keeps beside its file at this moment."""
    paths = (file.with_name(file.name + suffix) for suffix in _BESIDE)
    return [path for path in paths if path.exists()]


def too_open(path: Path, most: int) -> bool:
    """Whether its mode grants more than `most`; False where it is not there."""
    try:
        return bool(stat.S_IMODE(path.stat().st_mode) & 0o777 & ~most)
    except FileNotFoundError:
        return False


def _narrow(path: Path, most: int) -> None:
    """Only what is ours: another user's can't be changed, and is told by `check --deploy`."""
    try:
        status = path.stat()
    except FileNotFoundError:
        # SQLite has just put it away.
        return
    if status.st_uid == os.geteuid() and status.st_mode & 0o777 & ~most:
        path.chmod(stat.S_IMODE(status.st_mode) & ~(0o777 & ~most))
