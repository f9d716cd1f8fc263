"""What a worker does while the database is away: its work goes on, and its last word is kept.

PostgreSQL is started anew, or somebody writes into SQLite for long: neither may cost hours of
encoding, nor look like the death of whoever was at it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, TypeVar

from django.db import InterfaceError, OperationalError, connection

logger = logging.getLogger(__name__)
T = TypeVar("T")

AWAY: Final = (OperationalError, InterfaceError)
#: Seconds from a sign of life that failed to the next: far below any SILENT.
BEAT_AGAIN: Final = 5.0
#: Seconds between the tries at what must be written: two minutes in all.
WRITE_AGAIN: Final = (1.0, 4.0, 10.0, 15.0, 30.0, 60.0)


class SignsOfLife:
    """Those of one worker at one thing; `whose` stands in the log.

    One that can't be written is left out. If the claim is lost meanwhile, the next one that is
    written finds that.
    """

    def __init__(self, whose: str) -> None:
        self._whose = whose
        self._next = 0.0

    def give(self, write: Callable[[], None]) -> None:
        """Raises what else `write` does."""
        if time.monotonic() < self._next:
            return
        try:
            write()
        except AWAY as error:
            _missed(self._whose, error)
            self._next = time.monotonic() + BEAT_AGAIN


def insist(whose: str, write: Callable[[], T]) -> T:
    """What `write` returns, once the database is back. Raises its error after two minutes.

    The last try may have been written although its answer got lost: `write` has to bear that.
    """
    for wait in WRITE_AGAIN:
        try:
            return write()
        except AWAY as error:
            _missed(whose, error)
            time.sleep(wait)
    return write()


def _missed(whose: str, error: Exception) -> None:
    logger.warning("%s goes on without the database: %s", whose, error)
    # Nothing can be said over a connection that broke; the next question opens another.
    connection.close()
