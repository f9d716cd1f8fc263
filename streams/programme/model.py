"""The programme of a channel as frozen values, made from rows elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from enum import StrEnum
from fractions import Fraction
from typing import Final
from zoneinfo import ZoneInfo

from streams.programme.item import Item

#: Rule of the base playlist, and rule of the filler.
BASE: Final = "base"
FILLER: Final = "filler"


class Order(StrEnum):
    LOOP = "loop"
    #: Every item once per round, none again soon after it was played.
    SHUFFLE = "shuffle"


class Start(StrEnum):
    #: Cuts in at its time.
    HARD = "hard"
    #: Waits for the end of the item that is on air.
    SOFT = "soft"


class Return(StrEnum):
    """How a list continues with an item that was cut by something else."""

    #: At the position of the cut.
    CONTINUE = "continue"
    #: At the position that it would have reached by now.
    WALL_CLOCK = "wall_clock"
    #: From the item's beginning.
    RESTART = "restart"
    #: With the item after it.
    NEXT = "next"


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a list. `rating` is an age in years; None: not rated."""

    item: Item
    #: Exact if the item is prepared, otherwise as probed.
    seconds: Fraction
    rating: int | None = None
    #: Whether `seconds` is exact. An unprepared item lasts as long as its file plays.
    exact: bool = True

    @property
    def pk(self) -> int:
        return self.item.entry or 0

    @property
    def media(self) -> int:
        """Equal for two entries of one item."""
        return -self.pk if self.item.media is None else self.item.media


@dataclass(frozen=True, slots=True)
class Round:
    """The entries in the order of one round, and the index of each."""

    entries: tuple[Entry, ...]
    places: Mapping[int, int]
    #: Sort keys of a shuffled round.
    keys: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Rotation:
    """A playlist with its order. `seed` makes its shuffle unique."""

    entries: tuple[Entry, ...]
    order: Order = Order.LOOP
    seed: int = 0
    #: Rounds computed by `rotation.round_of`. Cached here instead of by value, because hashing
    #: and comparing thousands of entries at every item takes longer than everything else.
    rounds: dict[int, Round] = field(
        default_factory=dict, init=False, repr=False, compare=False, hash=False
    )

    #: The lowest rating in it; None: nothing is rated.
    lowest_rating: int | None = field(init=False, repr=False, compare=False)
    #: Number of different items in it.
    items: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rated = (entry.rating for entry in self.entries if entry.rating is not None)
        object.__setattr__(self, "lowest_rating", min(rated, default=None))
        object.__setattr__(self, "items", len({entry.media for entry in self.entries}))


#: For blocks of which only the times matter.
NO_LIST: Final = Rotation(())


@dataclass(frozen=True, slots=True)
class Block:
    """A playlist on certain days and times, in the channel's time zone.

    An end that is not after the start is on the next day. With a maximum rating, unrated items
    are not played.
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
    #: The highest wins if blocks overlap; among equals, the one that began last.
    priority: int = 0
    start: Start = Start.SOFT
    #: It ends on time: filler replaces an item that does not fit.
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
    #: Seconds. An item can be cut at multiples of `cut`, which is the grid of the house format,
    #: and resumed at multiples of `resume`, which is its keyframe interval.
    cut: Fraction = Fraction(16, 30)
    resume: Fraction = Fraction(2)
    #: Seconds of the slate before the programme is evaluated again.
    slate: Fraction = Fraction(60)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Position of a list: the entry that it played last, and its round."""

    last: int | None = None
    round: int = 0
    #: Seconds into that entry at which it was cut; None: it was played to its end.
    into: Fraction | None = None
    #: When it was cut.
    cut_at: datetime | None = None
    # With the following values a list continues at its position even if it is edited. For a
    # loop:
    #: The index of that entry.
    place: int = field(default=0, compare=False)
    #: The following entries; in a shuffled list, entries passed over in this round that must
    #: wait.
    waiting: tuple[int, ...] = field(default=(), compare=False)
    # For a shuffled list:
    #: The entry up to which this round has come, if that is not `last`.
    mark: int | None = field(default=None, compare=False)
    #: The items that were played last, the latest one at the end.
    recent: tuple[int, ...] = field(default=(), compare=False)


#: Position of each rule's list.
Cursors = Mapping[str, Cursor]


@dataclass(frozen=True, slots=True)
class Pick:
    """An entry that plays from one moment to another, and why. Without an entry: the slate."""

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
    #: The scheduled list has nothing that may be played.
    list_empty: bool = False

    @property
    def whole(self) -> bool:
        return self.entry is not None and not self.start and self.end == self.entry.seconds
