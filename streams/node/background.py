"""Background work of a node beside its supervisor: the on-air hours and the preflights.

Both query the database and FFmpeg, and the preflights also the network. So they must run
neither in the supervisor's loop nor in its exchange with the ledger, which renews the claims.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from django.conf import settings
from django.utils import timezone

from streams.control.on_air_schedule import Timetable
from streams.node.preflight_runner import Preflights
from streams.planning.database_clock import clock_ahead
from streams.wake import wake_supervisor
from streamsite.processes.repeating import repeating

#: Seconds between two checks of the on-air hours, which are kept to the second ...
SCHEDULE_INTERVAL_S: Final = 1.0
#: ... and between two rounds of preflights, unless the ledger requests one.
PREFLIGHT_INTERVAL_S: Final = 5.0


@contextmanager
def background_work() -> Iterator[Preflights]:
    """Run the on-air hours and the preflights while the block runs."""
    preflights, timetable = Preflights(settings.NODE_NAME, wake_supervisor), Timetable()
    due = 0.0

    def tick() -> None:
        nonlocal due
        # All nodes keep the hours by the same clock.
        now = timezone.now() - timedelta(seconds=clock_ahead())
        mono = time.monotonic()
        timetable.tick(now, mono)
        if preflights.requested.is_set() or mono >= due:
            due = mono + PREFLIGHT_INTERVAL_S
            preflights.tick(now)

    try:
        with repeating("background", SCHEDULE_INTERVAL_S, tick, preflights.requested):
            yield preflights
    finally:
        preflights.close()
