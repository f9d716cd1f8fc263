"""Whether the media folder is there: asked in a thread, for a network's may not answer."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

#: Seconds between two looks while it is gone.
AGAIN: Final = 2.0


def gone(folder: Path) -> str:
    """Why nothing in the folder can be played, with what to do; empty when there is something.

    A disk that is not mounted leaves its mount point behind, which is empty.
    """
    try:
        with os.scandir(folder) as entries:
            if next(entries, None) is None:
                return f"The media folder {folder} is empty: is its disk mounted?"
    except FileNotFoundError:
        return f"The media folder {folder} is not there: is its disk mounted?"
    except OSError as error:
        return f"The media folder {folder} can't be read ({error.strerror}): see to its disk."
    return ""


class FolderWatch:
    """Looks when something could not be played, and then until all is well again.

    `fault` has the last answer and never waits.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._fault = ""
        self._doubted = False
        self._call = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="folder-watch", daemon=True).start()

    def doubt(self) -> None:
        """Something in it could not be played: look now."""
        self._doubted = True
        self._call.set()

    def fault(self) -> str | None:
        """What `gone` said last; None while nobody knows."""
        return None if self._doubted else self._fault

    def look(self) -> None:
        found = gone(self.folder)
        if found != self._fault:
            logger.warning(found or f"The media folder {self.folder} is there again.")
        self._fault, self._doubted = found, False

    def _run(self) -> None:
        while True:
            self._call.wait(AGAIN if self._fault else None)
            self._call.clear()
            self.look()
