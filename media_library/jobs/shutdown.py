"""A stop of the service while a worker is at something: it is given back, and nobody died."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from django.db import connection

#: Seconds to clear away and to give back: fewer than systemd waits (TimeoutStopSec).
PATIENCE: Final = 8


class _Stopped(SystemExit):
    """The service stops: nothing but this module catches it."""


@contextmanager
def given_back(give_back: Callable[[], object]) -> Iterator[None]:
    """SIGTERM ends the work as an error would; `give_back` is called, and the process ends.

    Otherwise the signal ends the process where it stands, which looks like a death.
    """
    if threading.current_thread() is not threading.main_thread():
        # Signals are not for threads to handle.
        yield
        return
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    except _Stopped:
        # The signal may have come in the middle of an exchange with the database.
        connection.close()
        give_back()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(*_: object) -> None:
    # Once: the service's signal is followed by the one for the death of our parent.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Whatever holds up the rest, we are no orphan that works on.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(PATIENCE)
    raise _Stopped(128 + signal.SIGTERM)
