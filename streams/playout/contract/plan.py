"""A channel's programme and destinations as frozen values, made from rows elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from media_library.house_format import HouseFormat
from media_library.location import Location
from streams.playout.contract.live_feed import IngestState
from streams.playout.contract.picture import Flaw, Remedy
from streams.playout.contract.place import Place
from streams.playout.contract.states import AirState
from streams.programme.item import Item
from streams.programme.model import Cursors, Programme
from streamsite.security.secret import Secret


@dataclass(frozen=True, slots=True)
class OutputPlan:
    pk: int
    name: str
    #: The address without any secret.
    address: str
    key: Secret = field(default_factory=lambda: Secret(""))
    #: Changes when address, secrets or `verify` change, and reveals nothing about them.
    edition: str = ""
    #: Seconds after which its session is rolled over at an item's end ...
    roll_after: float = 0.0
    #: ... and at the latest; 0: never.
    roll_by: float = 0.0
    #: Why the output can't be used, as a sentence; empty if it can.
    fault: str = ""
    #: Secret parameters, as they would follow the "?" of the address.
    query: Secret = field(default_factory=lambda: Secret(""))
    #: Whether to verify the server's certificate, if the protocol has one.
    verify: bool = True

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Secrets that no line about the output may show."""
        return self.key, self.query


class EngineKind(StrEnum):
    """The implementation that keeps a channel on the air."""

    FFMPEG = "ffmpeg"


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    pk: int
    slug: str
    house_format: HouseFormat
    programme: Programme
    outputs: tuple[OutputPlan, ...]
    slate: Item
    #: Slates that announce a live feed, and that report technical difficulties.
    soon: Item | None = None
    trouble: Item | None = None
    engine: EngineKind = EngineKind.FFMPEG
    #: What is done about flaws of picture and sound; reported if it is missing.
    remedies: Mapping[Flaw, Remedy] = field(default_factory=dict)
    #: What is done about an output that is late.
    late_remedy: Remedy = Remedy.REPORT


@dataclass(frozen=True, slots=True)
class Assignment:
    """A channel that this node plays: its plan and its current orders."""

    plan: ChannelPlan
    run: int
    restarts: int = 0
    restarts_done: int = 0
    skips: int = 0
    skips_done: int = 0
    #: Cursors from which the programme continues.
    cursors: Cursors = field(default_factory=dict)
    #: The takeover that is requested now.
    ingest: IngestState = field(default_factory=IngestState)
    #: The node drains: it releases the channel to another node at the end of the item on air.
    leaves: bool = False
    #: The node that released it between two items: the programme goes on with the next one.
    released_by: str = ""
    #: Another node owns the channel: this one plays the same and sends other outputs.
    second: bool = False
    #: What the owner plays, for a second node; None: nothing was audible of it lately.
    owner_place: Place | None = None
    # State left by an earlier supervisor; times are seconds since the epoch.
    #: When the channel was last measured; None: never in this run.
    measured_at: float | None = None
    on_air_since: float | None = None
    state: AirState = AirState.STARTING
    since: float | None = None
    open_incidents: frozenset[str] = frozenset()
    #: Streams with a recorded takeover that has not ended.
    open_takeovers: frozenset[int] = frozenset()


class SourceError(Exception):
    """The item's bytes can't be located. `str()` is a sentence."""


class Sources(Protocol):
    """Locates the bytes of items. Called in the supervisor's loop, so no method may block."""

    def locate(self, item: Item) -> Location:
        """Return where to read the item. Raises `SourceError`."""
        ...

    def is_local(self, item: Item) -> bool:
        """Whether the bytes are on this machine's own disk, where no network can stall them."""
        ...

    def fault(self) -> str | None:
        """Why the storage is unreachable; empty if it is reachable, None while unknown."""
        ...

    def report_failure(self, item: Item, *, local: bool) -> None:
        """Check the storage, or the local copy, because the item failed.

        `local`: the item was read from this machine's disk, regardless of where it would be
        read from now.
        """
        ...


@dataclass(frozen=True, slots=True)
class Policy:
    """Times in seconds. The defaults are the product's promises; tests shorten them."""

    #: First retry delay after the immediate one; doubled up to `retry_cap`, then 60 and 120.
    retry_first: float = 1.0
    retry_cap: float = 30.0
    #: Consecutive failures after which an output is shown as failing.
    max_retries: int = 3
    give_up: bool = False
    #: A running process without progress for this long has stalled.
    stall: float = 10.0
    #: An output that has taken nothing for this long is off air, before it is restarted.
    noticed: float = 8.0
    #: A pusher that stayed up this long resets the count of consecutive failures.
    settled: float = 10.0
    #: Maximum buffered between player and hub when the next item is started.
    lead: float = 3.0
    #: With less than this in the pipe, a player that delivers nothing is replaced.
    low_water: float = 1.5
    #: A player that has delivered nothing at all for this long is replaced.
    first_byte: float = 2.5
    #: Between the rollovers of two outputs: one is on air and settled before the other starts.
    apart: float = 60.0
    #: A session that waits for the other outputs stops waiting this long after its limit.
    late: float = 600.0
    #: From SIGTERM to SIGKILL.
    grace: float = 5.0
    #: Between two samples of every process, and between two looks at the air.
    sample: float = 10.0
    #: Between two samples of the player, which would be a quarter of all rows: hub and outputs
    #: show what is sent.
    player_sample: float = 60.0
    #: False omits `-re`: the soak test plays days in minutes.
    paced: bool = True
    segment: int = 2
    segments: int = 10
    #: Seconds since the epoch at the feed's start, if the feed does not run in real time.
    began: float | None = None


@dataclass(frozen=True, slots=True)
class Tools:
    """The machine's resources that the engine needs."""

    ffmpeg: str
    run_dir: Path
    #: Shown in the process list of children; identifies stray processes.
    node: str = "node"
    #: Number of the group that may read the HLS folders; None: the process's own.
    hls_group: int | None = None
    #: Where what was on air around an incident is kept; None: it is not.
    evidence_dir: Path | None = None
