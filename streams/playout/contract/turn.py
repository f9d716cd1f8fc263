"""A turn: an item's time on air, as the programme wants it, or what stands in for that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from media_library.house_format import HouseFormat
from streams.programme.item import Item
from streams.programme.model import Cursor

#: The rule by which something stands in for what can't be played.
FAILOVER = "failover"
#: The rule by which a live feed is on, or a slate that tells of it.
TAKEOVER = "takeover"
#: By how much a file may be shorter than what it tells of itself, in seconds, and as a part of
#: it: a sound may be longer than its picture.
LENGTH_ERROR_S = Fraction(5)
LENGTH_ERROR_SHARE = Fraction(1, 50)


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
        return seconds - max(LENGTH_ERROR_S, seconds * LENGTH_ERROR_SHARE)

    def length(self, house_format: HouseFormat) -> Fraction | None:
        """Seconds, where they are known exactly."""
        whole = self.item.length(house_format)
        if whole is None:
            return None
        left = whole - self.into
        return left if self.limit is None else min(left, self.limit)
