"""Where an MP4 keeps its index, and whether all of it is there. Pure.

Only the heads of the boxes at the top are read (ISO/IEC 14496-12, 4.2): some 16 bytes each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: Reads up to so many bytes from an offset: (start, length).
Read = Callable[[int, int], bytes]

#: Boxes looked at. A plain file has four or five; one in fragments has two for each of them,
#: and its index in front.
MOST: Final = 24
#: What an MP4 or a MOV begins with.
_FIRST: Final = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp"}
_HEAD: Final = 8
_LONG_HEAD: Final = 16


@dataclass(frozen=True, slots=True)
class Layout:
    """`index` is "front" or "end", or empty where no moov box was found."""

    index: str
    #: Bytes the file should have by what its boxes say; more than it has: it was cut off.
    should_have: int


def layout(read: Read, size: int) -> Layout | None:
    """How a file of that size is laid out; None where it is no MP4. Raises what `read` does."""
    at, index, media = 0, "", False
    for number in range(MOST):
        head = read(at, _LONG_HEAD) if at < size else b""
        if len(head) < _HEAD:
            break
        kind, length = head[4:8], int.from_bytes(head[:4], "big")
        if number == 0 and kind not in _FIRST:
            return None
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        elif length == 0:
            # To the end of the file.
            length = size - at
        if length < _HEAD:
            # No box: what follows is no MP4 any more.
            break
        if kind == b"moov":
            index = "end" if media else "front"
        media = media or kind == b"mdat"
        at += length
    return Layout(index, at)
