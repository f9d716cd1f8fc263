"""What the engine tells the world, and what it hears: one exchange a tick.

The engine collects notes; the ledger writes them and answers with the assignments, in one
transaction. When it fails, the notes are kept and the channels play on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from streams.playout.contract.fence import Claims
from streams.playout.contract.output_status import Status
from streams.playout.contract.plan import Assignment
from streams.playout.contract.states import AirState
from streams.playout.contract.turn import Turn
from streams.programme.item import Item
from streams.programme.model import Cursors

# Times are seconds since the epoch.


@dataclass(frozen=True, slots=True)
class RunOnAir:
    channel: int
    run: int
    at: float


@dataclass(frozen=True, slots=True)
class RunEnded:
    """All processes of the run are gone."""

    channel: int
    run: int
    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class Aired:
    """An item came on air; what was on air before ended then, in the way told."""

    channel: int
    run: int
    turn: Turn
    at: float
    previous_ending: str
    previous_cause: str
    #: When that ended, if not at the same moment.
    previous_until: float | None = None


@dataclass(frozen=True, slots=True)
class TakeoverRequested:
    """A feed is about to be on, or its broadcaster is announced."""

    channel: int
    run: int
    stream: int
    broadcaster: int
    at: float


@dataclass(frozen=True, slots=True)
class TakeoverAired:
    channel: int
    stream: int
    at: float


@dataclass(frozen=True, slots=True)
class TakeoverEnded:
    """Another feed or the programme is on; or the feed never came on."""

    channel: int
    stream: int
    at: float
    cause: str


@dataclass(frozen=True, slots=True)
class IncidentOpened:
    channel: int
    run: int
    subject: str
    output: int | None
    #: "degraded", "lost" or "planned".
    severity: str
    cause: str
    at: float


@dataclass(frozen=True, slots=True)
class IncidentExplained:
    """By now the open one of that subject has another cause."""

    channel: int
    subject: str
    cause: str
    at: float


@dataclass(frozen=True, slots=True)
class IncidentClosed:
    channel: int
    subject: str
    at: float


@dataclass(frozen=True, slots=True)
class Logged:
    channel: int
    run: int
    role: str
    level: str
    text: str
    at: float


@dataclass(frozen=True, slots=True)
class Sampled:
    """Bit rate in bit/s, lag in seconds, CPU in percent of one core, memory in bytes."""

    channel: int
    output: int | None
    role: str
    at: float
    state: str
    bitrate: int | None
    fps: float | None
    speed: float | None
    lag: float | None
    cpu: float | None
    memory: int | None


Note = (
    RunOnAir
    | RunEnded
    | Aired
    | TakeoverRequested
    | TakeoverAired
    | TakeoverEnded
    | IncidentOpened
    | IncidentExplained
    | IncidentClosed
    | Logged
    | Sampled
)


@dataclass(frozen=True, slots=True)
class OutputSnapshot:
    status: Status
    #: Seconds since the epoch.
    since: float
    retry_at: float | None
    bitrate: int | None
    fps: float | None
    speed: float | None
    #: Since when (seconds since the epoch) its present session runs.
    session: float | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A channel as it is now."""

    channel: int
    run: int
    state: AirState
    cause: str
    since: float
    on_air_since: float | None
    now: Turn | None
    now_since: float | None
    now_until: float | None
    next: Item | None
    bitrate: int | None
    restarts_done: int
    skips_done: int
    #: Where the lists stand when what is on air now has played ...
    cursors: Cursors
    #: ... and as far as it was seen by now.
    seen: Cursors
    outputs: Mapping[int, OutputSnapshot] = field(default_factory=dict)


class Ledger(Protocol):
    #: What the last exchange that succeeded has found of the claims.
    claims: Claims

    def exchange(
        self, at: float, snapshots: Sequence[Snapshot], notes: Sequence[Note]
    ) -> dict[int, Assignment]:
        """Write the notes and snapshots, renew the claims; answer with what to play.

        Called in a thread of its own, one call at a time. All or nothing: after an exception
        the same notes come again. A channel that is missing in the answer is to be stopped.
        """
        ...
