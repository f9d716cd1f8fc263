"""Keeps a worker running while the database is unavailable.

A restart of PostgreSQL, or a long write to SQLite, must neither cost hours of encoding nor make
the worker look dead: progress is skipped, and the final result is retried.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, TypeVar

from django.db import InterfaceError, OperationalError, connection

logger = logging.getLogger(__name__)
T = TypeVar("T")

DATABASE_ERRORS: Final = (OperationalError, InterfaceError)
#: Seconds from a failed heartbeat to the next: far below any HEARTBEAT_TIMEOUT.
HEARTBEAT_RETRY_S: Final = 5.0
#: Seconds between the tries of a mandatory write: two minutes in total.
WRITE_RETRIES_S: Final = (1.0, 4.0, 10.0, 15.0, 30.0, 60.0)


class Heartbeats:
    """Heartbeats of one worker at one job; `worker` names it in the log.

    A heartbeat that can't be written is skipped. If the claim was lost meanwhile, the next
    heartbeat detects it.
    """

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._next = 0.0

    def send(self, write: Callable[[], None]) -> None:
        """Calls `write` unless the last failure was a moment ago. Raises its other errors."""
        if time.monotonic() < self._next:
            return
        try:
            write()
        except DATABASE_ERRORS as error:
            _log_missed_write(self._worker, error)
            self._next = time.monotonic() + HEARTBEAT_RETRY_S


def retry_write(worker: str, write: Callable[[], T]) -> T:
    """Returns the result of `write`, retried while the database is unavailable.

    Raises the error after two minutes. A try may have been written although its answer was
    lost: `write` has to be idempotent.
    """
    for delay in WRITE_RETRIES_S:
        try:
            return write()
        except DATABASE_ERRORS as error:
            _log_missed_write(worker, error)
            time.sleep(delay)
    return write()


def _log_missed_write(worker: str, error: Exception) -> None:
    logger.warning("%s continues without the database: %s", worker, error)
    # A broken connection can't be used again; the next query opens another.
    connection.close()
