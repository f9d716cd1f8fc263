"""What a node does beside its supervisor: the hours and the preflights.

They ask the database, FFmpeg, and in the end the network, and so have no place in the
supervisor's loop nor in its exchange with the ledger, which renews the claims.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog
from django.conf import settings
from django.db import close_old_connections, connection
from django.utils import timezone

from streams.control.on_air_schedule import Timetable
from streams.node.preflight_runner import Preflights
from streams.wake import wake_supervisor

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds between two looks at the hours, which are kept to the second ...
TICK: Final = 1.0
#: ... and at what may want a preflight, unless the ledger asks for one.
REST: Final = 5.0
#: Seconds that the end of the node waits for the look that is under way.
LAST: Final = 1.0


class Attendant(threading.Thread):
    """A daemon: the end of the process does not wait for it."""

    def __init__(self, preflights: Preflights) -> None:
        super().__init__(name="attendant", daemon=True)
        self.preflights = preflights
        self.timetable = Timetable()
        self._stopped = False
        self._fault = ""
        self._looked = float("-inf")

    def run(self) -> None:
        while not self._stopped:
            asked = self.preflights.wanted.wait(TICK)
            try:
                close_old_connections()
                self.look(asked=asked)
                self._fault = ""
            except Exception as error:
                # Whatever it is, the next look may go well; and it is told once.
                if self._fault != repr(error):
                    self._fault = repr(error)
                    log.exception("attendant.failed")
        connection.close()

    def look(self, *, asked: bool) -> None:
        now, mono = timezone.now(), time.monotonic()
        self.timetable.look(now, mono)
        if asked or mono - self._looked >= REST:
            self._looked = mono
            self.preflights.look(now, mono)

    def stop(self) -> None:
        self._stopped = True
        self.preflights.wanted.set()


@contextmanager
def attended() -> Iterator[Preflights]:
    """Look after hours and preflights while the block runs."""
    preflights = Preflights(settings.NODE_NAME, wake_supervisor)
    attendant = Attendant(preflights)
    attendant.start()
    try:
        yield preflights
    finally:
        attendant.stop()
        attendant.join(LAST)
        preflights.close()
