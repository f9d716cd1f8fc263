"""The difference between what the storage lists and what the library has. Pure.

Both sides come in the order of their keys' UTF-8 bytes, which is the order of Python's strings,
so one walk along both tells it, however long they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Final, NamedTuple

#: Characters of a title.
LONGEST_TITLE: Final = 255
#: Of the items that were there, what may vanish at once before the brake is pulled.
MOST_GONE: Final = 0.2
_SPACES: Final = str.maketrans("_.-", "   ")


class Listed(NamedTuple):
    """An object of the storage."""

    key: str
    size_bytes: int
    etag: str


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
            yield Verdict.ADDED, listed, None
            continue
        if row[1] != listed[2] or row[2] != listed[1]:
            yield Verdict.CHANGED, listed, row
        elif row[4] or row[5]:
            yield Verdict.BACK, listed, row
        else:
            yield Verdict.SAME, listed, row
        row = next(others, None)
    while row is not None:
        yield Verdict.MISSING if row[5] or row[6] else Verdict.ABSENT, None, row
        row = next(others, None)


def brake(*, seen: int, known: int, absent: int) -> str:
    """Why nothing may be marked as gone after this listing; empty: it may.

    `known` items were there before, `absent` of them are not in the listing of `seen` objects.
    """
    if not known or not absent:
        return ""
    way_out = (
        "Nothing was marked. If they were deleted on purpose, accept it (sync_media "
        "--accept-gone, or the button); otherwise look at the bucket's name, the folder, or "
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


def title_of(key: str) -> str:
    """A title to begin with, from the file's name: shows/a_fine-day.mp4 is "a fine day"."""
    name = key.rsplit("/", 1)[-1]
    stem = name.rsplit(".", 1)[0] or name
    return (" ".join(stem.translate(_SPACES).split()) or name)[:LONGEST_TITLE]


def is_media(key: str, extensions: frozenset[str]) -> bool:
    """Whether the name ends as one of the extensions (lower case, without the dot)."""
    return key.rpartition(".")[2].lower() in extensions and "." in key
