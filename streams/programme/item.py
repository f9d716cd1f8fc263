"""An item: something that can be played. Frozen values, made from rows elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING

from media_library.house_format import House

if TYPE_CHECKING:
    from streams.programme.model import Cursor

#: The rule by which something stands in for what can't be played.
FAILOVER = "failover"
#: The rule by which a live feed is on, or a slate that tells of it.
TAKEOVER = "takeover"
#: By how much a file may be shorter than what it tells of itself, in seconds, and as a part of
#: it: a sound may be longer than its picture.
UNSURE_SECONDS = Fraction(5)
UNSURE_PART = Fraction(1, 50)


class Mode(StrEnum):
    """How a player handles an item."""

    #: Conformed to the house format: copied, its length known to the frame.
    PREPARED = "prepared"
    #: Its codecs allow a copy; its length is known when it has played.
    COPY = "copy"
    #: Encoded to the house format in real time.
    TRANSCODE = "transcode"


class Kind(StrEnum):
    ITEM = "item"
    #: Stands in for items that can't be played.
    FILLER = "filler"
    SLATE = "slate"
    #: A broadcaster's feed, already in the house format.
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Item:
    """Something to play. `entry` and `media` are the ledger's names of it."""

    title: str
    key: str
    mode: Mode
    kind: Kind = Kind.ITEM
    entry: int | None = None
    media: int | None = None
    #: Video frames of a prepared item.
    frames: int | None = None
    has_audio: bool = True
    #: Seconds from decoding to showing: B-frames. A prepared item has none.
    reorder: Fraction = Fraction(0)
    #: Differs when the bytes under the key do.
    edition: str = ""

    def length(self, house: House) -> Fraction | None:
        """Seconds, where they are known exactly."""
        return None if self.frames is None else house.seconds(self.frames)


@dataclass(frozen=True, slots=True)
class Turn:
    """An item's turn on air, as the programme wants it, or what stands in for that."""

    item: Item
    #: By which rule: the programme's (streams.programme.model), or `FAILOVER`.
    rule: str = ""
    #: A sentence for people.
    why: str = ""
    #: Seconds into the item at which it begins.
    into: Fraction = Fraction(0)
    #: Seconds after which it is cut; None: it plays to its end.
    limit: Fraction | None = None
    #: Seconds it will last, as far as is known.
    seconds: Fraction | None = None
    #: Where the lists stand when it has played.
    cursors: Mapping[str, Cursor] = field(default_factory=dict, compare=False, repr=False)
    #: It is on for want of what should be.
    stands_in: bool = False
    #: Its sound is faded in.
    fade: bool = False

    def was_cut(self, played: Fraction, frame: Fraction) -> bool:
        """Whether so many seconds of it end at its limit, and not with the item."""
        return self.limit is not None and played > self.limit - frame

    def least(self) -> Fraction:
        """Seconds that it gives at least, by what is known or guessed of its length."""
        seconds = self.seconds or Fraction(0)
        return seconds - max(UNSURE_SECONDS, seconds * UNSURE_PART)

    def length(self, house: House) -> Fraction | None:
        """Seconds, where they are known exactly."""
        whole = self.item.length(house)
        if whole is None:
            return None
        left = whole - self.into
        return left if self.limit is None else min(left, self.limit)
