"""Claims on rows: how a worker takes work, shows that it lives, and gives the work back.

    waiting ──take──▶ held ──Heartbeat──▶ held ──update of `mine`──▶ over, or waiting again
       ▲                └── cancelled, or its worker is dead ──┘

A claim is a conditional update that writes a mark, a value of this claim alone. Every later
update of the holder asks for the mark. Whoever removes it ends the holder's work with its next
heartbeat. A restart of PostgreSQL, or a long write to SQLite, neither costs hours of work nor
makes a worker look dead: heartbeats are skipped meanwhile, and the result is written again.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Generic, Self, TypeVar

import psutil
import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, connections
from django.db.models import Model, Q, QuerySet
from django.utils import timezone

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
M = TypeVar("M", bound=Model)
T = TypeVar("T")

DATABASE_ERRORS: Final = (OperationalError, InterfaceError)
#: Seconds from a failed heartbeat to the next: far below the age at which a worker counts as
#: dead.
HEARTBEAT_RETRY_S: Final = 5.0
#: Seconds between the tries of a mandatory write: two minutes in total.
WRITE_RETRIES_S: Final = (1.0, 4.0, 10.0, 15.0, 30.0, 60.0)


class ClaimLostError(Exception):
    """The row was cancelled or deleted, or another worker has it now: this one stops."""


@dataclass(frozen=True, slots=True)
class Claims(Generic[M]):
    """The claims on a model's rows. `mark` names the column with the mark."""

    model: type[M]
    mark: str
    #: Relations that are read with a claimed row.
    related: tuple[str, ...] = ()

    def take(self, pk: int, mark: object, free: Q, **columns: Any) -> M | None:
        """Claims the row and writes `columns`; None if it is not `free` any more.

        `free` names columns of the row itself: PostgreSQL evaluates those again after it has
        waited for another update, but no subquery.
        """
        rows = self.model._default_manager.order_by()
        if not rows.filter(free, pk=pk).update(**columns, **{self.mark: mark}):
            return None
        return rows.select_related(*self.related).filter(pk=pk, **{self.mark: mark}).first()

    def mine(self, row: M) -> QuerySet[M]:
        """Returns the row, as long as the claim holds with which it was read."""
        mark = {self.mark: getattr(row, self.mark)}
        return self.model._default_manager.filter(pk=row.pk, **mark)


def take_next(waiting: Callable[[], QuerySet[M]], take: Callable[[int], M | None]) -> M | None:
    """Claims the first waiting row; None if none is waiting."""
    while (pk := waiting().values_list("pk", flat=True).first()) is not None:
        if (row := take(pk)) is not None:
            return row
    return None


def retry_sentence(due_at: datetime) -> str:
    """Returns when it is tried again, in the installation's time zone."""
    return f"The next try is at {timezone.localtime(due_at):%H:%M}."


def given_up_sentence(tries: int) -> str:
    return f"It failed {tries} times; there is no further automatic try."


# ---- while the work is done ------------------------------------------------------------------


class Heartbeat:
    """The heartbeats of one worker at one row; `work` names it in the log."""

    def __init__(self, mine: QuerySet[Any], work: str, interval_s: float) -> None:
        #: Columns that are written with the next heartbeat.
        self.columns: dict[str, Any] = {}
        self._mine = mine
        self._work = work
        self._interval_s = interval_s
        self._next = 0.0
        self._missed = False

    def hasten(self) -> None:
        """Lets the next `send` write, however soon it comes, if the database is available."""
        if not self._missed:
            self._next = 0.0

    def send(self) -> bool:
        """Writes the columns if it is time; returns whether it did. Raises `ClaimLostError`.

        If the claim was lost while the database was unavailable, a later one detects it.
        """
        if time.monotonic() < self._next:
            return False
        try:
            if not self._mine.update(**self.columns, heartbeat_at=timezone.now()):
                raise ClaimLostError
        except DATABASE_ERRORS as error:
            _log_missed_write(self._work, error)
            self._missed, self._next = True, time.monotonic() + HEARTBEAT_RETRY_S
            return False
        self._missed, self._next = False, time.monotonic() + self._interval_s
        self.columns = {}
        return True


class Background:
    """Calls `beat` from a thread, every `interval_s` seconds, while the block runs.

    An error of `beat` ends the thread; `check`, `wait` and the end of the block raise it.
    """

    def __init__(self, beat: Callable[[], object], interval_s: float) -> None:
        self._beat = beat
        self._interval_s = interval_s
        self._done, self._failed = threading.Event(), threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="heartbeat")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._done.set()
        self._thread.join()
        if kind is None:
            self.check()

    def check(self) -> None:
        if self._error is not None:
            raise self._error

    def wait(self, seconds: float) -> None:
        self._failed.wait(seconds)
        self.check()

    def _run(self) -> None:
        try:
            while not self._done.wait(self._interval_s):
                self._beat()
        except Exception as error:  # noqa: BLE001 - the block raises it
            self._error = error
            self._failed.set()
        finally:
            connections.close_all()


def retry_write(work: str, write: Callable[[], T]) -> T:
    """Returns the result of `write`, retried while the database is unavailable.

    Raises the error after two minutes. A try may have been written although its answer was
    lost: `write` has to be idempotent.
    """
    for delay in WRITE_RETRIES_S:
        try:
            return write()
        except DATABASE_ERRORS as error:
            _log_missed_write(work, error)
            time.sleep(delay)
    return write()


def _log_missed_write(work: str, error: Exception) -> None:
    log.warning("claims.no_database", work=work, error=str(error))
    # A broken connection can't be used again; the next query opens another.
    connection.close()


# ---- processes -------------------------------------------------------------------------------


def machine() -> str:
    """Returns eight digits that identify this boot of the machine and its pid namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    # Two containers of one machine and name can't see each other's processes.
    room = Path("/proc/self/ns/pid").readlink()
    parts = f"{settings.NODE_NAME}\n{boot}\n{room}"
    return hashlib.sha256(parts.encode()).hexdigest()[:8]


def this_process() -> str:
    return _name(psutil.Process())


def _name(process: psutil.Process) -> str:
    return f"{machine()}-{process.pid:x}-{int(process.create_time() * 100):x}"


def lives(name: str) -> bool | None:
    """Returns whether that process is alive; None: it is on another machine, so unknown."""
    host, _, rest = name.partition("-")
    if host != machine():
        return None
    try:
        process = psutil.Process(int(rest.partition("-")[0], 16))
        return process.status() != psutil.STATUS_ZOMBIE and _name(process) == name
    except (psutil.Error, ValueError):
        return False
