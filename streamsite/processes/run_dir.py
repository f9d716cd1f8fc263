"""Whether a process can still work in the run directory.

If somebody deletes its contents, each part restores its own. If the directory itself
is deleted, a service of systemd can't restore it: its writable folders are set when it starts
(RuntimeDirectory=, ProtectSystem=). So it ends then, and starts anew.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Final

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds between two checks.
POLL_INTERVAL_S: Final = 5.0


def is_usable(run_dir: Path) -> bool:
    """Whether it is there, or could be made, and can be written to."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
    except OSError:
        return False
    return os.access(run_dir, os.W_OK | os.X_OK)


def end_without(run_dir: Path, loop: asyncio.AbstractEventLoop, master: int) -> None:
    """End a server in the ordinary way when it loses its run directory; `master`: its pid.

    One that never had it goes on: a start would change nothing.
    """

    def poll() -> None:
        if is_usable(run_dir):
            loop.call_later(POLL_INTERVAL_S, poll)
        else:
            log.critical("run_dir.gone", folder=str(run_dir), action="the server ends")
            os.kill(master, signal.SIGTERM)

    if is_usable(run_dir):
        loop.call_later(POLL_INTERVAL_S, poll)
