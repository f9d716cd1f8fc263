"""Judges from the kernel's figures what a destination has really taken. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

from streams.playout.contract.output_status import Taken
from streams.playout.ffmpeg.connections import Connection

#: Seconds over which the figures are taken.
SPAN_S: Final = 30.0
#: Seconds over which the bit rate is taken.
RATE_S: Final = 10.0
#: Seconds between two looks at the connection.
POLL_S: Final = 1.0


class Acknowledged:
    """Collects looks at one connection."""

    def __init__(self, *, adopted: bool = False) -> None:
        """`adopted`: the process ran before, so one look does not tell whether it stands."""
        self._adopted = adopted
        self._polls: deque[tuple[float, Connection]] = deque()
        #: Since when nothing was acknowledged, at the last look; None: something was.
        self._refused: float | None = None

    def add(self, connection: Connection | None, now: float) -> None:
        """Take a look into account. None: there is no connection, or it is unknown."""
        if connection is None:
            self._polls.clear()
            self._refused = None
            return
        at, before = self._polls[-1] if self._polls else (now, None)
        if before is None or connection.acked != before.acked or not connection.queued:
            self._refused = None
        elif self._refused is None:
            # Its last byte was taken between the two looks before this one.
            earlier = self._polls[-2][0] if len(self._polls) > 1 else at
            self._refused = (earlier + at) / 2
        if before is not None and connection.acked < before.acked:
            # Another connection.
            self._polls.clear()
        self._polls.append((now, connection))
        while now - self._polls[0][0] > SPAN_S:
            self._polls.popleft()

    def due(self, now: float) -> bool:
        return not self._polls or now - self._polls[-1][0] >= POLL_S

    def refused_since(self) -> float | None:
        """Since when nothing was acknowledged although there is something; None: it takes."""
        return self._refused

    def takes(self) -> bool:
        """Whether nothing shows that the destination takes nothing."""
        unsure = self._adopted and len(self._polls) == 1 and self._polls[0][1].queued > 0
        return self._refused is None and not unsure

    def taken(self) -> Taken | None:
        """Return the figures; None: unknown."""
        if not self._polls:
            return None
        end, last = self._polls[-1]
        recent = next(one for one in self._polls if end - one[0] <= RATE_S)
        elapsed = end - recent[0]
        bitrate = round((last.acked - recent[1].acked) * 8 / elapsed) if elapsed else None
        first = self._polls[0][1]
        sent = last.sent - first.sent
        resent = round(100 * (last.resent - first.resent) / sent, 2) if sent > 0 else None
        return Taken(bitrate, resent, last.queued)
