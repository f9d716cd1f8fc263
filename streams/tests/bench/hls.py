"""Keeps every segment of a channel's rolling HLS window, which the hub deletes after 20 s."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from types import TracebackType
from typing import Final, Self

#: Seconds between two polls: a segment lives for twenty.
POLL_INTERVAL_S: Final = 0.2


class HlsRecorder:
    """Links segments into `kept` as they appear while the context is open."""

    def __init__(self, window: Path, kept: Path) -> None:
        self.window = window
        self.kept = kept
        kept.mkdir(parents=True)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="hls-recorder")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(POLL_INTERVAL_S):
            self.poll()

    def poll(self) -> None:
        """Link new segments. A segment gets its name only when it is complete."""
        for segment in self.window.glob("*.ts"):
            link = self.kept / segment.name
            if not link.exists():
                try:
                    os.link(segment, link)
                except FileNotFoundError:
                    # Deleted meanwhile, or the channel's folder was removed.
                    continue

    def segments(self) -> list[Path]:
        self.poll()
        return sorted(self.kept.glob("*.ts"))

    def joined(self, target: Path) -> Path:
        """Join all segments into one transport stream for the audit."""
        with target.open("wb") as whole:
            for segment in self.segments():
                with segment.open("rb") as part:
                    shutil.copyfileobj(part, whole)
        return target
