"""A moment on both clocks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Now:
    """A moment on both clocks: `mono` for durations, `wall` (since the epoch) for history.

    The wall clock is the ledger's, so that all nodes write and keep the same times, also if
    somebody sets this machine's clock.
    """

    mono: float
    wall: float

    @classmethod
    def read(cls, offset: float | None = None) -> Now:
        """`offset`: `Claims.wall_offset`."""
        mono = time.monotonic()
        return cls(mono, time.time() if offset is None else mono + offset)

    def at(self, mono: float) -> float:
        """Convert another monotonic moment to wall-clock time."""
        return self.wall + (mono - self.mono)


def when(wall: float) -> datetime:
    """Convert seconds since the epoch."""
    return datetime.fromtimestamp(wall, tz=UTC)
