"""Ensures one supervisor per run directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

NAME: Final = "supervisor.lock"


class NodeLock:
    """Holds the lock of a run directory, even if somebody deletes its file.

    Entering it waits until an earlier supervisor has ended. `keep` is called periodically.
    """

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / NAME
        self._fd = -1

    def __enter__(self) -> NodeLock:
        while not self._take(wait=True):
            # The file was replaced during the wait, so its lock protects nothing.
            continue
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)

    def keep(self) -> bool:
        """Lock the file again if it was deleted. False: another supervisor has done so.

        Raises `OSError` if it can't be created.
        """
        if self._is_current(self._fd):
            return True
        before = self._fd
        if not self._take(wait=False):
            return False
        os.close(before)
        return True

    def _take(self, *, wait: bool) -> bool:
        """Lock the file at the path. False: another supervisor holds or has replaced it."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if (_locked(fd) or (wait and _waited(fd))) and self._is_current(fd):
            self._fd = fd
            return True
        os.close(fd)
        return False

    def _is_current(self, fd: int) -> bool:
        """Whether `fd` is the file that others find at the path."""
        try:
            current = self.path.stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(current, os.fstat(fd))


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _waited(fd: int) -> bool:
    log.info("supervisor.waits", reason="another supervisor holds the run directory")
    fcntl.flock(fd, fcntl.LOCK_EX)
    return True


def holder(run_dir: Path) -> int | None:
    """Return the pid of the supervisor that holds the lock, as the kernel lists it; None: none.

    None as well if that process is in a pid namespace that this one can't see (a container).
    """
    try:
        inode = (run_dir / NAME).stat().st_ino
        locks = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    # "1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF" (proc_locks(5)); "->" marks a waiter.
    # The device is left out: overlay and btrfs show another one to stat(2).
    for line in locks:
        fields = line.split()
        if fields[1] == "FLOCK" and int(fields[5].rpartition(":")[2]) == inode:
            return int(fields[4]) or None
    return None
