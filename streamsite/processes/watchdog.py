"""Ends a process whose main loop no longer turns; its parent starts it again.

The kernel keeps the time, so it holds for a loop that hangs in a system call or in a library,
too.
"""

from __future__ import annotations

import faulthandler
import signal


def report() -> None:
    """Write where each thread stands into the log, before the end."""
    faulthandler.register(signal.SIGALRM, all_threads=True, chain=True)


def expect(seconds: int) -> None:
    """End this process in so many seconds, unless it is called again before. 0: never."""
    signal.alarm(seconds)
