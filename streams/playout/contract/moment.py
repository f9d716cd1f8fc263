"""A moment on both clocks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Now:
    """A moment on both clocks: `mono` for durations, `wall` (since the epoch) for history.

    The wall clock is the ledger's, so that all nodes write and keep the same times.
    """

    mono: float
    wall: float

    @classmethod
    def read(cls, ahead: float = 0.0) -> Now:
        """`ahead`: seconds by which this machine's clock is ahead of the ledger's."""
        return cls(time.monotonic(), time.time() - ahead)

    def at(self, mono: float) -> float:
        """Convert another monotonic moment to wall-clock time."""
        return self.wall + (mono - self.mono)


def when(wall: float) -> datetime:
    """Convert seconds since the epoch."""
    return datetime.fromtimestamp(wall, tz=UTC)
