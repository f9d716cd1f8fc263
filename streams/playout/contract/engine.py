"""The contract of an engine: what keeps one channel on the air.

The supervisor knows engines by this alone. FFmpeg's is `streams.playout.channel`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from streams.playout.contract.ledger import Note, Snapshot
from streams.playout.contract.moment import Now
from streams.playout.contract.plan import Assignment, Policy, Sources, Tools
from streams.playout.contract.states import AirState


class Handle(Protocol):
    """A process of an engine. `pidfd` can be read when it has ended."""

    pidfd: int

    @property
    def pid(self) -> int: ...


class Engine(Protocol):
    """Keeps one channel on the air. Nothing here waits."""

    assignment: Assignment
    state: AirState
    #: A sentence for the state; empty where none is needed.
    cause: str
    #: Nothing may be sent, because another node may send the channel.
    fenced: bool
    #: It has stopped, and nothing of it runs any more.
    ended: bool

    @property
    def calm(self) -> bool:
        """Whether a beat once a second is enough."""

    def beat(self, now: Now) -> None:
        """Look at what happened since the last beat, and do what follows."""

    def update(self, assignment: Assignment) -> None:
        """Take new orders. The next beat carries them out."""

    def stop(self, reason: str) -> None:
        """End the run, in the beats that follow."""

    def lose(self, now: Now) -> None:
        """Another node has claimed the channel: send nothing from now on, and end."""

    def snapshot(self) -> Snapshot:
        """Its state, for the ledger."""

    def drain(self) -> list[Note]:
        """What it reported since the last call."""

    def handles(self) -> Iterable[Handle]:
        """Its processes."""

    def close(self) -> None:
        """Let go of everything. Its processes run on: another supervisor adopts them."""


#: Opens the engine of an assignment, and takes over what runs of it.
OpenEngine = Callable[[Tools, Policy, Assignment, Sources, Now], Engine]
