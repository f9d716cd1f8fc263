"""Watches the media folder from a thread, because a network file system may not answer."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

#: Seconds between two checks while the folder is missing.
POLL_INTERVAL_S: Final = 2.0


def gone(folder: Path) -> str:
    """Returns why nothing in the folder can be played and what to do; empty when it can.

    An unmounted disk leaves an empty mount point behind.
    """
    try:
        with os.scandir(folder) as entries:
            if next(entries, None) is None:
                return f"The media folder {folder} is empty: is its disk mounted?"
    except FileNotFoundError:
        return f"The media folder {folder} does not exist: is its disk mounted?"
    except OSError as error:
        return f"The media folder {folder} can't be read ({error.strerror}): check its disk."
    return ""


class FolderWatch:
    """Checks the folder after something could not be played, until the folder is well again.

    `fault` returns the last result and never waits.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._fault = ""
        self._doubted = False
        self._wake = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="folder-watch", daemon=True).start()

    def doubt(self) -> None:
        """Reports that a file in the folder could not be played: checks now."""
        self._doubted = True
        self._wake.set()

    def fault(self) -> str | None:
        """Returns the last result of `gone`; None while it is unknown."""
        return None if self._doubted else self._fault

    def check(self) -> None:
        fault = gone(self.folder)
        if fault != self._fault:
            logger.warning(fault or f"The media folder {self.folder} is available again.")
        self._fault, self._doubted = fault, False

    def _run(self) -> None:
        while True:
            self._wake.wait(POLL_INTERVAL_S if self._fault else None)
            self._wake.clear()
            self.check()
