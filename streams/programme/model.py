"""What shall be on air, when: frozen values, made from rows elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from enum import StrEnum
from fractions import Fraction
from typing import Final
from zoneinfo import ZoneInfo

from streams.programme.item import Item

#: The rule that holds where no block does, and the one of what fills gaps.
BASE: Final = "base"
FILLER: Final = "filler"


class Order(StrEnum):
    LOOP = "loop"
    #: Every item once a round, none again soon after it was played.
    SHUFFLE = "shuffle"


class Start(StrEnum):
    #: Cuts in at its time.
    HARD = "hard"
    #: Waits for the end of the item that is on air.
    SOFT = "soft"


class Return(StrEnum):
    """How a list goes on with an item that was cut by something else."""

    #: Where it was cut.
    CONTINUE = "continue"
    #: Where it would be by now.
    WALL_CLOCK = "wall_clock"
    #: From the item's beginning.
    RESTART = "restart"
    #: With the item after it.
    NEXT = "next"


@dataclass(frozen=True, slots=True)
class Entry:
    """A place in a list. `rating` is an age in years; None: nobody has rated it."""

    item: Item
    #: Exact where the item is prepared, as probed otherwise.
    seconds: Fraction
    rating: int | None = None
    #: Whether it lasts just so long. What is not prepared lasts as long as it does.
    exact: bool = True

    @property
    def pk(self) -> int:
        return self.item.entry or 0

    @property
    def media(self) -> int:
        """The same for two entries of one item."""
        return -self.pk if self.item.media is None else self.item.media


@dataclass(frozen=True, slots=True)
class Round:
    """The entries in the order of one round, and where each of them stands in it."""

    entries: tuple[Entry, ...]
    places: Mapping[int, int]
    #: What a shuffled round is sorted by.
    keys: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Rotation:
    """A playlist in an order. `seed` makes its shuffling its own."""

    entries: tuple[Entry, ...]
    order: Order = Order.LOOP
    seed: int = 0
    #: Its rounds, as `rotation.round_of` works them out: remembered here and not by value, for
    #: to hash and to compare thousands of entries at every item takes longer than all the rest.
    rounds: dict[int, Round] = field(
        default_factory=dict, init=False, repr=False, compare=False, hash=False
    )

    #: The lowest rating in it; None: nobody has rated anything.
    mildest: int | None = field(init=False, repr=False, compare=False)
    #: How many different items are in it.
    items: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rated = (entry.rating for entry in self.entries if entry.rating is not None)
        object.__setattr__(self, "mildest", min(rated, default=None))
        object.__setattr__(self, "items", len({entry.media for entry in self.entries}))


@dataclass(frozen=True, slots=True)
class Block:
    """A playlist on some days, from a time to a time, in the channel's time zone.

    An end that is not after the start is the next day's. Nothing unrated is played where there
    is a maximum rating.
    """

    pk: int
    name: str
    rotation: Rotation
    starts: time
    ends: time
    #: Monday is 0.
    days: frozenset[int] = frozenset(range(7))
    first_day: date | None = None
    last_day: date | None = None
    #: The highest wins where blocks overlap; among equals, the one that began last.
    priority: int = 0
    start: Start = Start.SOFT
    #: It ends on time: what does not fit gives way to filler.
    fit: bool = False
    max_rating: int | None = None

    @property
    def rule(self) -> str:
        return f"block-{self.pk}"


@dataclass(frozen=True, slots=True)
class Programme:
    base: Rotation
    zone: ZoneInfo
    blocks: tuple[Block, ...] = ()
    filler: Rotation = Rotation(())
    max_rating: int | None = None
    on_return: Return = Return.CONTINUE
    #: Seconds. An item can be cut at whole multiples of `cut`, which is the grid of the house,
    #: and gone on with at multiples of `resume`, which is the way from keyframe to keyframe.
    cut: Fraction = Fraction(16, 30)
    resume: Fraction = Fraction(2)
    #: How long the slate is on before the programme is asked again.
    slate: Fraction = Fraction(60)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a list stands: the entry that it played last, in which round."""

    last: int | None = None
    round: int = 0
    #: Seconds into that entry at which it was cut; None: it was played to its end.
    into: Fraction | None = None
    #: When it was cut.
    left: datetime | None = None
    # What follows lets a list go on where it stood, however it is edited meanwhile. Of a loop:
    #: The index of that entry.
    place: int = field(default=0, compare=False)
    #: Entries behind it; of a shuffled list those that have to wait, passed over in this round.
    waiting: tuple[int, ...] = field(default=(), compare=False)
    # Of a shuffled list:
    #: The entry up to which it has come in this round, if that is not the last.
    mark: int | None = field(default=None, compare=False)
    #: The items that were played last, the latest at the end.
    recent: tuple[int, ...] = field(default=(), compare=False)


#: Of each rule, where its list stands.
Cursors = Mapping[str, Cursor]


@dataclass(frozen=True, slots=True)
class Pick:
    """What plays from one moment to another, and why. Without an entry it is the slate."""

    entry: Entry | None
    begins: datetime
    ends: datetime
    rule: str
    #: A sentence for people.
    why: str
    #: Seconds into the item.
    start: Fraction = Fraction(0)
    end: Fraction = Fraction(0)
    cursors: Cursors = field(default_factory=dict, compare=False, repr=False)
    #: The list whose turn it is has nothing that may be played.
    wanting: bool = False

    @property
    def whole(self) -> bool:
        return self.entry is not None and not self.start and self.end == self.entry.seconds
