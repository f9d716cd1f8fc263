"""What a node plays and where in it, so that a second node can play the same."""

from __future__ import annotations

from dataclasses import dataclass

from streams.playout.contract.turn import Turn


@dataclass(frozen=True, slots=True)
class Place:
    """The turn that a hub sends. Times are seconds of this machine's monotonic clock."""

    turn: Turn
    #: When the hub began to send it.
    began: float
    #: Seconds by which the slowest destination is behind the hub; None: unknown.
    lag: float | None = None
