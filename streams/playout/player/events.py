"""Events of a channel's player, and the actions that `machine.step` answers them with."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from streams.playout.contract.place import Place
from streams.playout.contract.turn import Turn
from streams.playout.player.ending import Cut
from streams.playout.player.timeline import Slot
from streams.playout.takeover.controller import Substitution
from streams.programme.item import Item
from streams.programme.model import Programme

# ---- events


@dataclass(frozen=True, slots=True)
class BufferLow:
    """Nothing plays, and nothing is queued."""


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The player could not be started. `item`: that is the item's fault."""

    error: str
    item: bool


@dataclass(frozen=True, slots=True)
class Polled:
    """The player runs. `stalled`: its source has; None: enough is buffered."""

    stalled: bool | None
    #: It has delivered data.
    moved: bool


@dataclass(frozen=True, slots=True)
class Exited:
    """The player has ended, and nothing follows by itself. `head`: where its stream ends."""

    head: Fraction
    #: Its exit status; None: unknown, because it was adopted.
    code: int | None
    lines: tuple[str, ...] = ()
    #: It read a file of this machine's disk.
    local: bool = False


@dataclass(frozen=True, slots=True)
class Followed:
    """The first queued player has started, so the one before it was whole."""

    slot: Slot
    #: The programme against which the queue was checked.
    programme: Programme | None


@dataclass(frozen=True, slots=True)
class SkipOrdered:
    """People, or a rule, want the next item. `filler`: a filler before it."""

    cause: str = "Skipped."
    filler: bool = False


@dataclass(frozen=True, slots=True)
class TakeoverChanged:
    """This turn replaces the programme from now on; None: the programme plays again."""

    substitution: Substitution | None
    why: str


@dataclass(frozen=True, slots=True)
class OutOfStep:
    """The picture differs from that of the node that plays the channel.

    `place`: what that node plays, as if its destinations had the lag of ours.
    """

    place: Place


@dataclass(frozen=True, slots=True)
class Sent:
    """The hub sends this position of the feed."""

    position: Fraction


@dataclass(frozen=True, slots=True)
class Resumed:
    """A supervisor begins. `missed`: players that ended while none was running."""

    #: Where the feed ends, or where the running player's turn starts.
    head: Fraction
    missed: tuple[Slot, ...] = ()
    #: The turn of an earlier supervisor's player that still runs; those before it are whole.
    turn: Turn | None = None


Event = (
    BufferLow
    | StartFailed
    | Polled
    | Exited
    | Followed
    | SkipOrdered
    | TakeoverChanged
    | OutOfStep
    | Sent
    | Resumed
)


# ---- actions


@dataclass(frozen=True, slots=True)
class StartItem:
    """Start a player of the newest slot, or a relay of the substitution's pipe."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class CutItem:
    """End the player; its exit is reported as an event. `kill`: without grace."""

    kill: bool


@dataclass(frozen=True, slots=True)
class ReportFailure:
    """Check the storage, or the local copy, because the item failed."""

    item: Item
    local: bool


@dataclass(frozen=True, slots=True)
class Trouble:
    """The programme is in trouble (a sentence), or plays again (empty)."""

    cause: str


@dataclass(frozen=True, slots=True)
class OnAir:
    """A slot came on air; the one before it ended as `ending` describes."""

    slot: Slot
    before: Slot | None
    ending: Cut


@dataclass(frozen=True, slots=True)
class Refuse:
    """The order is not carried out. `text`: a sentence for people."""

    text: str


Action = StartItem | CutItem | ReportFailure | Trouble | OnAir | Refuse
