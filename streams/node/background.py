"""Background work of a node beside its supervisor: the on-air hours and the preflights.

Both query the database and FFmpeg, and the preflights also the network. So they must run
neither in the supervisor's loop nor in its exchange with the ledger, which renews the claims.
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

#: Seconds between two checks of the on-air hours, which are kept to the second ...
SCHEDULE_INTERVAL_S: Final = 1.0
#: ... and between two rounds of preflights, unless the ledger requests one.
PREFLIGHT_INTERVAL_S: Final = 5.0
#: Seconds that the end of the node waits for the tick in progress.
JOIN_TIMEOUT_S: Final = 1.0


class BackgroundThread(threading.Thread):
    """A daemon thread: the end of the process does not wait for it."""

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
                # The next tick may succeed whatever the error is, so it is logged once.
                if self._fault != repr(error):
                    self._fault = repr(error)
                    log.exception("background.failed")
        connection.close()

    def tick(self, *, requested: bool) -> None:
        now, mono = timezone.now(), time.monotonic()
        self.timetable.tick(now, mono)
        if requested or mono - self._preflights_at >= PREFLIGHT_INTERVAL_S:
            self._preflights_at = mono
            self.preflights.tick(now, mono)

    def stop(self) -> None:
        self._stopped = True
        self.preflights.requested.set()


@contextmanager
def background_work() -> Iterator[Preflights]:
    """Run the on-air hours and the preflights while the block runs."""
    preflights = Preflights(settings.NODE_NAME, wake_supervisor)
    thread = BackgroundThread(preflights)
    thread.start()
    try:
        yield preflights
    finally:
        thread.stop()
        thread.join(JOIN_TIMEOUT_S)
        preflights.close()
