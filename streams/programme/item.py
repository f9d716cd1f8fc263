"""An item that can be played, as frozen values made from rows elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from media_library.house_format import HouseFormat


class Mode(StrEnum):
    """How a player handles an item."""

    #: Conformed to the house format: copied; its length is known to the frame.
    PREPARED = "prepared"
    #: Its codecs allow a copy; its length is known after it has played.
    COPY = "copy"
    #: Encoded to the house format in real time.
    TRANSCODE = "transcode"


class Kind(StrEnum):
    ITEM = "item"
    #: Replaces items that can't be played.
    FILLER = "filler"
    SLATE = "slate"
    #: A broadcaster's feed, already in the house format.
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Item:
    """Something to play. `entry` and `media` are primary keys in the ledger."""

    title: str
    key: str
    mode: Mode
    kind: Kind = Kind.ITEM
    entry: int | None = None
    media: int | None = None
    #: Video frames of a prepared item.
    frames: int | None = None
    has_audio: bool = True
    #: Seconds from decoding to display, caused by B-frames. A prepared item has none.
    reorder: Fraction = Fraction(0)
    #: Changes when the bytes under the key change.
    edition: str = ""

    def length(self, house_format: HouseFormat) -> Fraction | None:
        """Seconds, if known exactly; otherwise None."""
        return None if self.frames is None else house_format.seconds(self.frames)
