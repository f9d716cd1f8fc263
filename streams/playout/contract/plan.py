"""What a channel shall play and where it shall go: frozen values, made from rows elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from media_library.house_format import HouseFormat
from media_library.location import Location
from streams.playout.contract.live_feed import Wish
from streams.playout.contract.states import AirState
from streams.programme.item import Item
from streams.programme.model import Cursors, Programme
from streamsite.security.secret import Secret


@dataclass(frozen=True, slots=True)
class OutputPlan:
    pk: int
    name: str
    #: Without any secret.
    address: str
    key: Secret = field(default_factory=lambda: Secret(""))
    #: Differs when address, secrets or `verify` differ, and tells nothing of them.
    edition: str = ""
    #: Seconds after which its session is rolled over, at an item's end ...
    roll_after: float = 0.0
    #: ... and at the latest; 0: never.
    roll_by: float = 0.0
    #: Why it can't be sent there, in a sentence; empty when it can.
    fault: str = ""
    #: Secret parameters, as they would stand behind the "?" of the address.
    query: Secret = field(default_factory=lambda: Secret(""))
    #: Whether the server's certificate is verified, where it has one.
    verify: bool = True

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What no line about it may show."""
        return self.key, self.query


class EngineKind(StrEnum):
    """What keeps a channel on the air."""

    FFMPEG = "ffmpeg"


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    pk: int
    slug: str
    house_format: HouseFormat
    programme: Programme
    outputs: tuple[OutputPlan, ...]
    slate: Item
    #: What says that somebody goes live soon, and that there are technical difficulties.
    soon: Item | None = None
    trouble: Item | None = None
    engine: EngineKind = EngineKind.FFMPEG


@dataclass(frozen=True, slots=True)
class Assignment:
    """A channel this node plays: the plan, and the orders as they stand."""

    plan: ChannelPlan
    run: int
    restarts: int = 0
    restarts_done: int = 0
    skips: int = 0
    skips_done: int = 0
    #: Where the programme goes on.
    cursors: Cursors = field(default_factory=dict)
    #: Who may take it over now.
    wish: Wish = field(default_factory=Wish)
    # How an earlier supervisor left it; times are seconds since the epoch.
    #: When the channel was last measured; None: never in this run.
    measured_at: float | None = None
    on_air_since: float | None = None
    state: AirState = AirState.STARTING
    since: float | None = None
    open_incidents: frozenset[str] = frozenset()
    #: Streams whose takeover is written down and has not ended.
    open_takeovers: frozenset[int] = frozenset()


class SourceError(Exception):
    """An item whose bytes can't be found. `str()` is a sentence."""


class Sources(Protocol):
    """Where items' bytes are. Called in the supervisor's loop: nothing here may wait."""

    def locate(self, item: Item) -> Location:
        """Raises `SourceError`."""
        ...

    def at_hand(self, item: Item) -> bool:
        """Whether its bytes lie on this machine's own disk, so that nothing can stall them."""
        ...

    def fault(self) -> str | None:
        """Why the storage can't be reached; empty when it can, None while nobody knows."""
        ...

    def distrust(self, item: Item, *, local: bool) -> None:
        """It failed: find out whether the storage is there, or its copy here damaged.

        `local`: it was read from this machine's disk, wherever it would be read from by now.
        """
        ...


@dataclass(frozen=True, slots=True)
class Policy:
    """Times in seconds. The defaults are the product's promises; tests shorten them."""

    #: First retry delay after the immediate one; doubled up to `retry_cap`, then 60 and 120.
    retry_first: float = 1.0
    retry_cap: float = 30.0
    #: Failures in a row after which an output is shown as failing.
    max_retries: int = 3
    give_up: bool = False
    #: No progress of a living process for so long is a stall.
    stall: float = 10.0
    #: A pusher that held so long is no longer counted as failing in a row.
    settled: float = 10.0
    #: What is buffered between player and hub, at most, before the next item is started.
    lead: float = 3.0
    #: Below so much in the pipe, a player that gives nothing is replaced.
    low_water: float = 1.5
    #: A player that has given nothing at all for so long is replaced.
    first_byte: float = 2.5
    #: Between the roll-overs of two outputs: one is on air and settled before the other goes.
    apart: float = 60.0
    #: So long after its limit, a session that waits for the other outputs waits no more.
    late: float = 600.0
    #: SIGTERM to SIGKILL.
    grace: float = 5.0
    #: Between two samples of every process.
    sample: float = 10.0
    #: False leaves out `-re`: the soak test plays days in minutes.
    paced: bool = True
    segment: int = 2
    segments: int = 10
    #: Seconds since the epoch at the feed's start, where a day is not played in a day.
    began: float | None = None


@dataclass(frozen=True, slots=True)
class Tools:
    """What the engine needs of the machine."""

    ffmpeg: str
    run_dir: Path
    #: Shown in the process list of children, and how strays are recognised.
    node: str = "node"
    #: Number of the group that may read the HLS folders; None: the process's own.
    hls_group: int | None = None
