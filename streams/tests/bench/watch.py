"""Records when data arrived, by watching the recording grow."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Self

from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.waiting import until

#: Seconds between two polls.
POLL_INTERVAL_S = 0.1


class Watch:
    """Records the length of a key's newest recording while the block runs."""

    def __init__(self, server: RtmpServer, key: str) -> None:
        self._server = server
        self._key = key
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        #: Moments of the monotonic clock, each with seconds of the recording.
        self.seen: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def until_more(self, seconds: float, within: float = 30) -> None:
        """Wait until so many more seconds have arrived."""
        begun = self.reached
        until(lambda: self.reached >= begun + seconds, within, f"{seconds} s more arrive")

    @property
    def reached(self) -> float:
        return self.seen[-1][1] if self.seen else 0.0

    def arrived(self, at: float) -> float:
        """The moment at which the recording had reached so many seconds."""
        return next(moment for moment, reached in self.seen if reached >= at)

    def _poll(self) -> None:
        while not self._stopped.wait(POLL_INTERVAL_S):
            if recordings := self._server.recordings(self._key):
                reached = last_second(recordings[-1])
                if reached is not None:
                    self.seen.append((time.monotonic(), reached))


def last_second(path: Path) -> float | None:
    """Seconds of an FLV file's last tag (Adobe's specification, annex E); None: incomplete."""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        if end < 13 + 15:
            return None
        file.seek(end - 4)
        size = int.from_bytes(file.read(4), "big")
        if not 11 < size < end:
            return None
        file.seek(end - 4 - size)
        head = file.read(11)
    if head[0] not in {8, 9, 18}:
        return None
    return int.from_bytes(head[7:8] + head[4:7], "big") / 1000
