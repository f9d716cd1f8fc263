"""Requeues a worker's job when the service stops, so that it does not count as a death."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from django.db import connection

#: Seconds to clean up and requeue: fewer than systemd waits (TimeoutStopSec).
SHUTDOWN_TIMEOUT_S: Final = 8


class _Stopped(SystemExit):
    """The service stops. Only this module catches it."""


@contextmanager
def requeued_on_stop(requeue: Callable[[], object]) -> Iterator[None]:
    """Turns SIGTERM into an error of the block; calls `requeue`, then the process ends.

    Without it the signal would end the process at once, which looks like a death. Ctrl-C in a
    command has the same effect.
    """
    if threading.current_thread() is not threading.main_thread():
        # Threads can't handle signals.
        yield
        return
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    except (_Stopped, KeyboardInterrupt):
        # The signal may have interrupted a query to the database.
        if not connection.in_atomic_block:
            connection.close()
        requeue()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(*_: object) -> None:
    # Only once: the service's signal is followed by the parent-death signal.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # The process ends by an alarm even if the cleanup hangs.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(SHUTDOWN_TIMEOUT_S)
    raise _Stopped(128 + signal.SIGTERM)
