"""What a worker does while the database is away: its work goes on.

PostgreSQL is started anew, or somebody writes into SQLite for long: neither may cost hours of
encoding, nor look like the death of whoever was at it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from django.db import InterfaceError, OperationalError, connection

logger = logging.getLogger(__name__)

AWAY: Final = (OperationalError, InterfaceError)
#: Seconds from a sign of life that failed to the next: far below any SILENT.
BEAT_AGAIN: Final = 5.0


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


def _missed(whose: str, error: Exception) -> None:
    logger.warning("%s goes on without the database: %s", whose, error)
    # Nothing can be said over a connection that broke; the next question opens another.
    connection.close()
