"""The exchange between engine and ledger, once per tick.

The engine collects notes. The ledger writes them and returns the assignments, in one
transaction. If it fails, the notes are kept and the channels keep playing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from streams.playout.contract.fence import Claims
from streams.playout.contract.output_status import Status, Taken
from streams.playout.contract.picture import Flaw
from streams.playout.contract.place import Place
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
    """All processes of the run have ended."""

    channel: int
    run: int
    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class Released:
    """All processes of the channel have ended between two items; another node continues.

    `cursors`: where it continues.
    """

    channel: int
    run: int
    at: float
    cursors: Cursors


@dataclass(frozen=True, slots=True)
class Aired:
    """An item came on air, which ended the previous one as `previous_ending` describes."""

    channel: int
    run: int
    turn: Turn
    at: float
    previous_ending: str
    previous_cause: str
    #: When the previous item ended, if that was not at the same moment.
    previous_until: float | None = None


@dataclass(frozen=True, slots=True)
class TakeoverRequested:
    """A feed is about to go on air, or its broadcaster is announced."""

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
    """Another feed or the programme replaced the feed, or the feed never came on air."""

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
    """The open incident of the subject now has another cause."""

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
class Evidence:
    """What was on air when an incident was opened."""

    channel: int
    run: int
    subject: str
    #: When the incident begins.
    opened: float
    #: A JPEG; empty: there was no picture.
    still: bytes
    #: Name of the file with the seconds around it on this node; empty: none is kept.
    clip: str


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
    """Bit rate in bit/s, CPU in percent of one core."""

    channel: int
    output: int | None
    role: str
    at: float
    state: str
    bitrate: int | None
    fps: float | None
    speed: float | None
    lag_seconds: float | None
    cpu_percent: float | None
    memory_bytes: int | None
    taken: Taken | None = None


Note = (
    RunOnAir
    | RunEnded
    | Released
    | Aired
    | TakeoverRequested
    | TakeoverAired
    | TakeoverEnded
    | IncidentOpened
    | IncidentExplained
    | IncidentClosed
    | Evidence
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
    #: When its present session began, in seconds since the epoch.
    session: float | None = None
    #: Seconds by which the destination is behind the hub.
    lag: float | None = None
    #: Why it is late, as a sentence; empty: it is not.
    late: str = ""
    taken: Taken | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The present state of a channel."""

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
    #: Cursors of the lists after the item on air has played ...
    cursors: Cursors
    #: ... and as far as viewers have seen the programme.
    seen: Cursors
    outputs: Mapping[int, OutputSnapshot] = field(default_factory=dict)
    #: What a second node is to play; None: unknown.
    place: Place | None = None
    #: Until when the air was looked at, in seconds since the epoch; None: not yet.
    inspected_at: float | None = None
    #: The flaws of picture and sound that it has, and since when.
    flaws: Mapping[Flaw, float] = field(default_factory=dict)


class Ledger(Protocol):
    #: The claims as the last successful exchange left them.
    claims: Claims

    def exchange(
        self, at: float, snapshots: Sequence[Snapshot], notes: Sequence[Note]
    ) -> dict[int, Assignment]:
        """Write the notes and snapshots, renew the claims and return the assignments.

        Called in a thread of its own, one call at a time. All or nothing: after an exception
        the same notes are passed again. A channel that is missing in the result must be
        stopped.
        """
        ...
