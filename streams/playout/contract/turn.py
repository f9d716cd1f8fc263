"""A turn: the airtime of one scheduled item, or of its stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from media_library.house_format import HouseFormat
from streams.programme.item import Item
from streams.programme.model import Cursor

#: Rule of a stand-in for an item that can't be played.
FAILOVER = "failover"
#: Rule of a live feed, or of a slate that announces it.
TAKEOVER = "takeover"
#: Maximum by which a file may be shorter than its declared length, in seconds and as a share of
#: the length: its audio may be longer than its video.
LENGTH_ERROR_S = Fraction(5)
LENGTH_ERROR_SHARE = Fraction(1, 50)


@dataclass(frozen=True, slots=True)
class Turn:
    """The airtime of one scheduled item, or of its stand-in."""

    item: Item
    #: The rule that chose it: the programme's (`streams.programme.model`) or `FAILOVER`.
    rule: str = ""
    #: A sentence for people.
    why: str = ""
    #: Seconds into the item at which the turn starts.
    into: Fraction = Fraction(0)
    #: Seconds after which it is cut; None: it plays to its end.
    limit: Fraction | None = None
    #: Expected seconds, as far as known.
    seconds: Fraction | None = None
    #: Cursors of the lists after it has played.
    cursors: Mapping[str, Cursor] = field(default_factory=dict, compare=False, repr=False)
    #: It replaces an item that should have been on air.
    stands_in: bool = False
    #: Its audio is faded in.
    fade: bool = False

    def was_cut(self, played: Fraction, frame: Fraction) -> bool:
        """Whether a turn that played so many seconds ended at its limit, not with the item."""
        return self.limit is not None and played > self.limit - frame

    def min_seconds(self) -> Fraction:
        """Minimum seconds that it delivers, from its known or estimated length."""
        seconds = self.seconds or Fraction(0)
        return seconds - max(LENGTH_ERROR_S, seconds * LENGTH_ERROR_SHARE)

    def length(self, house_format: HouseFormat) -> Fraction | None:
        """Seconds, where they are known exactly."""
        whole = self.item.length(house_format)
        if whole is None:
            return None
        left = whole - self.into
        return left if self.limit is None else min(left, self.limit)
