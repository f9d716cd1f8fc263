"""Background threads that do something again and again beside a process's main work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog
from django.db import close_old_connections, connection

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds that the end of the process waits for a call in progress.
STOP_TIMEOUT_S: Final = 1.0


@contextmanager
def repeating(
    name: str,
    interval_s: float,
    act: Callable[[], object],
    requested: threading.Event | None = None,
) -> Iterator[None]:
    """Call `act` every `interval_s` seconds while the block runs, or when `requested` is set.

    In a daemon thread: the process does not wait for it at exit.
    """
    early, stopped = requested or threading.Event(), threading.Event()

    def run() -> None:
        fault = ""
        while True:
            early.wait(interval_s)
            if stopped.is_set():
                break
            try:
                close_old_connections()
                act()
                fault = ""
            except Exception as error:
                # The next call may succeed whatever the error is, so it is logged once.
                if fault != repr(error):
                    fault = repr(error)
                    log.exception("background.failed", thread=name)
        connection.close()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        early.set()
        thread.join(STOP_TIMEOUT_S)
