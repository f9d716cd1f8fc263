"""Contract of an engine, which keeps one channel on the air.

The supervisor knows engines only by this contract. `streams.playout.channel` implements it with
FFmpeg.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from streams.playout.contract.air_flaws import Watched
from streams.playout.contract.ledger import Note, Snapshot
from streams.playout.contract.moment import Now
from streams.playout.contract.plan import Assignment, Policy, Sources, Tools
from streams.playout.contract.states import AirState


class Handle(Protocol):
    """A process of an engine. `pidfd` becomes readable when the process has ended."""

    pidfd: int

    @property
    def pid(self) -> int: ...


class Engine(Protocol):
    """Keeps one channel on the air. No method blocks."""

    assignment: Assignment
    state: AirState
    #: A sentence that explains the state; empty if none is needed.
    cause: str
    #: Nothing may be sent, because another node may be sending the channel.
    fenced: bool
    #: The engine has stopped and none of its processes run any more.
    ended: bool

    @property
    def calm(self) -> bool:
        """Whether one beat a second is enough."""

    def beat(self, now: Now) -> None:
        """Process everything that happened since the last beat."""

    def update(self, assignment: Assignment) -> None:
        """Take new orders. The next beat carries them out."""

    def stop(self, reason: str) -> None:
        """End the run during the following beats."""

    def claim_lost(self, now: Now) -> None:
        """Another node has claimed the channel: stop sending at once, and end."""

    @property
    def air(self) -> Path | None:
        """The folder of its HLS window, if its air should be looked at."""

    def take_inspected(self, watched: Watched) -> None:
        """Take what a look at its air has shown."""

    def snapshot(self) -> Snapshot:
        """Return the channel's state for the ledger."""

    def drain(self) -> list[Note]:
        """Return the notes collected since the last call."""

    def handles(self) -> Iterable[Handle]:
        """Return the engine's processes."""

    def close(self) -> None:
        """Release all resources. The processes keep running: another supervisor adopts them."""


#: Opens the engine of an assignment and adopts its running processes.
OpenEngine = Callable[[Tools, Policy, Assignment, Sources, Now], Engine]
