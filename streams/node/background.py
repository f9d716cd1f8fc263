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
SCHEDULE_INTERVAL_S: Final = 1.0
#: ... and at what may want a preflight, unless the ledger asks for one.
PREFLIGHT_INTERVAL_S: Final = 5.0
#: Seconds that the end of the node waits for the look that is under way.
JOIN_TIMEOUT_S: Final = 1.0


class BackgroundThread(threading.Thread):
    """A daemon: the end of the process does not wait for it."""

    def __init__(self, preflights: Preflights) -> None:
        super().__init__(name="background", daemon=True)
        self.preflights = preflights
        self.timetable = Timetable()
        self._stopped = False
        self._fault = ""
        self._preflights_at = float("-inf")

    def run(self) -> None:
        while not self._stopped:
            requested = self.preflights.requested.wait(SCHEDULE_INTERVAL_S)
            try:
                close_old_connections()
                self.tick(requested=requested)
                self._fault = ""
            except Exception as error:
                # Whatever it is, the next look may go well; and it is told once.
                if self._fault != repr(error):
                    self._fault = repr(error)
                    log.exception("background.failed")
        connection.close()

    def tick(self, *, requested: bool) -> None:
        now, mono = timezone.now(), time.monotonic()
        self.timetable.look(now, mono)
        if requested or mono - self._preflights_at >= PREFLIGHT_INTERVAL_S:
            self._preflights_at = mono
            self.preflights.tick(now, mono)

    def stop(self) -> None:
        self._stopped = True
        self.preflights.requested.set()


@contextmanager
def background_work() -> Iterator[Preflights]:
    """Look after hours and preflights while the block runs."""
    preflights = Preflights(settings.NODE_NAME, wake_supervisor)
    thread = BackgroundThread(preflights)
    thread.start()
    try:
        yield preflights
    finally:
        thread.stop()
        thread.join(JOIN_TIMEOUT_S)
        preflights.close()
