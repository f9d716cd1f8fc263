"""Finds the index of an MP4, and whether the file is complete. Pure.

Only the headers of the top-level boxes are read (ISO/IEC 14496-12, 4.2): some 16 bytes each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: Reads up to so many bytes from an offset: (start, length).
Read = Callable[[int, int], bytes]

#: Maximum number of boxes read. A plain file has four or five; a fragmented one has two for
#: each fragment, and its index in front.
MAX_BOXES: Final = 24
#: First boxes of an MP4 or a MOV.
_FIRST: Final = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp"}
_HEAD: Final = 8
_LONG_HEAD: Final = 16


@dataclass(frozen=True, slots=True)
class Layout:
    """`index` is "front" or "end", or empty if no moov box was found."""

    index: str
    #: Size in bytes according to the boxes; a smaller file was cut off.
    should_have: int


def layout(read: Read, size: int) -> Layout | None:
    """Returns the layout of a file of that size; None if no MP4. Raises errors of `read`."""
    at, index, media = 0, "", False
    for number in range(MAX_BOXES):
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
            # No valid box: the rest is no MP4.
            break
        if kind == b"moov":
            index = "end" if media else "front"
        media = media or kind == b"mdat"
        at += length
    return Layout(index, at)
