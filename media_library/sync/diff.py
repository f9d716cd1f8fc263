"""The difference between the storage's listing and the library's rows. Pure.

Both sides are in the order of their keys' UTF-8 bytes, which is the order of Python's strings,
so a single merge finds it, whatever their length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Final, NamedTuple

from media_library.storage.list_objects import Listed

#: Share of the items that may vanish at once before the deletion guard stops the sync.
MAX_GONE_SHARE: Final = 0.2
#: Share that may change at once, and the number of changes that is always allowed.
MAX_CHANGED_SHARE: Final = 0.2
MIN_CHANGED: Final = 20


class Row(NamedTuple):
    """The library's row of an item."""

    key: str
    etag: str
    size_bytes: int | None
    pk: int
    #: Number of consecutive complete listings without it.
    misses: int
    #: It is marked as missing.
    missing: bool
    #: It was added after the sync began: the listing may have been past its key by then.
    late: bool = False


class Verdict(IntEnum):
    SAME = 0
    ADDED = 1
    CHANGED = 2
    #: The same as before, but an earlier listing was without it.
    BACK = 3
    ABSENT = 4
    #: Still absent and already marked; or too new for the listing.
    MISSING = 5
    #: New or changed, and still growing: the next sync takes it.
    WAITING = 6


def compare(
    listing: Iterable[Listed], rows: Iterable[Row]
) -> Iterator[tuple[Verdict, Listed | None, Row | None]]:
    """Yields the verdict on each key of either side, in the order of the keys.

    The object is None if only the library has the key; the row is None if only the storage has
    it.
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


def deletion_guard(*, seen: int, items_before: int, absent: int, changed: int = 0) -> str:
    """Returns why only additions of this listing may be written; empty if all may.

    `items_before` items existed before; `absent` of them are not in the listing of `seen`
    objects, `changed` have another version there.
    """
    if items_before and changed >= MIN_CHANGED and changed > items_before * MAX_CHANGED_SHARE:
        return (
            f"{changed} of {items_before} items have another version in the storage, which is "
            f"more than {MAX_CHANGED_SHARE:.0%}. Nothing was written: the library stays as "
            "it is. If the files were replaced, or copied to another storage, accept it "
            "(sync_media --accept, or the button): each is read again, and prepared again only "
            "if its content differs."
        )
    if not items_before or not absent:
        return ""
    way_out = (
        "Nothing was marked. If they were deleted on purpose, accept it (sync_media "
        "--accept, or the button); otherwise check the bucket's name, the folder, or "
        "the cause of the deletion."
    )
    if not seen:
        return (
            f"The storage lists no object, but the library has {items_before} items. {way_out}"
        )
    if absent > items_before * MAX_GONE_SHARE:
        return (
            f"{absent} of {items_before} items are not in the storage any more, which is more "
            f"than {MAX_GONE_SHARE:.0%}. {way_out}"
        )
    return ""
