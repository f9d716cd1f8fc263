"""The difference between what the storage lists and what the library has. Pure.

Both sides come in the order of their keys' UTF-8 bytes, which is the order of Python's strings,
so one walk along both tells it, however long they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Final, NamedTuple

from media_library.storage.list_objects import Listed

#: Of the items that were there, what may vanish at once before the brake is pulled.
MOST_GONE: Final = 0.2
#: And what may change at once, unless it is only a few.
MOST_CHANGED: Final = 0.2
FEW: Final = 20


class Row(NamedTuple):
    """What the library has noted of an item."""

    key: str
    etag: str
    size_bytes: int | None
    pk: int
    #: Complete listings in a row that were without it.
    misses: int
    #: It is marked as missing.
    missing: bool
    #: It was added after the sync began: the listing may have been past its place by then.
    late: bool = False


class Verdict(IntEnum):
    SAME = 0
    ADDED = 1
    CHANGED = 2
    #: The same as before, but some listing was without it.
    BACK = 3
    ABSENT = 4
    #: Absent still: that is known. Or too new to be in the listing: that says nothing.
    MISSING = 5
    #: New or changed, and still growing: the next sync sees.
    WAITING = 6


def compare(
    listing: Iterable[Listed], rows: Iterable[Row]
) -> Iterator[tuple[Verdict, Listed | None, Row | None]]:
    """The verdict on each key that is on either side, in the order of the keys.

    The object is None where only the library has the key, the row where only the storage has.
    """
    others = iter(rows)
    row = next(others, None)
    for listed in listing:
        key = listed[0]
        while row is not None and row[0] < key:
            yield Verdict.MISSING if row[5] or row[6] else Verdict.ABSENT, None, row
            row = next(others, None)
        if row is None or row[0] != key:
            yield Verdict.WAITING if listed[3] else Verdict.ADDED, listed, None
            continue
        if row[1] != listed[2] or row[2] != listed[1]:
            yield Verdict.WAITING if listed[3] else Verdict.CHANGED, listed, row
        elif row[4] or row[5]:
            yield Verdict.BACK, listed, row
        else:
            yield Verdict.SAME, listed, row
        row = next(others, None)
    while row is not None:
        yield Verdict.MISSING if row[5] or row[6] else Verdict.ABSENT, None, row
        row = next(others, None)


def brake(*, seen: int, known: int, absent: int, changed: int = 0) -> str:
    """Why nothing may be written of this listing but what is new; empty: it may.

    `known` items were there before; `absent` of them are not in the listing of `seen` objects,
    `changed` have another version there.
    """
    if known and changed >= FEW and changed > known * MOST_CHANGED:
        return (
            f"{changed} of {known} items have another version in the storage, which is more "
            f"than {MOST_CHANGED:.0%}. Nothing was written: the library goes on with what it "
            "has. If the files were replaced, or copied to another storage, accept it "
            "(sync_media --accept, or the button): each is read again, and prepared again only "
            "if its content differs."
        )
    if not known or not absent:
        return ""
    way_out = (
        "Nothing was marked. If they were deleted on purpose, accept it (sync_media "
        "--accept, or the button); otherwise look at the bucket's name, the folder, or "
        "what emptied it."
    )
    if not seen:
        return f"The storage lists nothing at all, but the library has {known} items. {way_out}"
    if absent > known * MOST_GONE:
        return (
            f"{absent} of {known} items are not in the storage any more, which is more than "
            f"{MOST_GONE:.0%}. {way_out}"
        )
    return ""
