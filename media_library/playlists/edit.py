"""Changes of playlists: reorder, append. Each one increments the playlist's version."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from django.db import transaction
from django.db.models import F, Max

from media_library.models import MediaItem, Playlist, PlaylistEntry

#: Maximum entries of a playlist: the engine reads them all, and a page shows them all.
MAX_ENTRIES: Final = 10_000
_BATCH: Final = 2000


class PlaylistError(Exception):
    """The change can't be made. `str()` is a sentence for the operator."""


class ChangedMeanwhileError(PlaylistError):
    """Another change came first."""


class TooLongError(PlaylistError):
    """More entries than a playlist may have."""


class EmptyImportError(PlaylistError):
    """An import would empty a playlist."""


class UnknownItemError(PlaylistError):
    """An item that is not in the library, or no longer."""


class Place(NamedTuple):
    """One entry of the new order: an existing entry, or None for a new one, and its item."""

    entry: int | None
    item: int


def reorder(playlist: Playlist, version: int, places: Sequence[Place]) -> list[int]:
    """Sets the playlist's entries, in this order; returns their ids.

    An existing entry keeps its id: a channel on air continues after the entry it played last.
    Raises `ChangedMeanwhileError` unless `version` is current, `TooLongError`,
    `UnknownItemError`; then nothing is changed.
    """
    _require_length(len(places))
    with transaction.atomic():
        _count_up(playlist, version)
        there = dict(playlist.entries.values_list("pk", "item"))
        staying = {place.entry for place in places if place.entry is not None}
        if len(staying) != sum(place.entry is not None for place in places) or any(
            place.entry is not None and there.get(place.entry) != place.item for place in places
        ):
            raise ChangedMeanwhileError(
                "An entry of the playlist no longer exists: reload the page."
            )
        _require_items({place.item for place in places} - set(there.values()))
        gone = list(there.keys() - staying)
        for start in range(0, len(gone), _BATCH):
            playlist.entries.filter(pk__in=gone[start : start + _BATCH]).delete()
        entries = [
            PlaylistEntry(pk=place.entry, playlist=playlist, item_id=place.item, position=n)
            for n, place in enumerate(places, 1)
        ]
        both = list(zip(places, entries, strict=True))
        PlaylistEntry.objects.bulk_create(
            [entry for place, entry in both if place.entry is not None],
            batch_size=_BATCH,
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=["position"],
        )
        PlaylistEntry.objects.bulk_create(
            [entry for place, entry in both if place.entry is None], batch_size=_BATCH
        )
    return [entry.pk for entry in entries]


def replace(playlist: Playlist, items: Sequence[int]) -> None:
    """Replaces the playlist's items; an item that stays keeps its entry.

    Raises `TooLongError`, `UnknownItemError`.
    """
    with transaction.atomic():
        playlist.refresh_from_db(fields=["version"])
        there: dict[int, deque[int]] = defaultdict(deque)
        for entry, item in playlist.entries.values_list("pk", "item"):
            there[item].append(entry)
        places = [Place(there[item].popleft() if there[item] else None, item) for item in items]
        reorder(playlist, playlist.version, places)


def append(playlist: Playlist, items: Sequence[int]) -> None:
    """Appends items in this order. Raises `TooLongError`, `UnknownItemError`."""
    with transaction.atomic():
        # The update of the playlist's row is the lock: the first to increment appends first.
        _count_up(playlist)
        _require_length(playlist.entries.count() + len(items))
        _require_items(set(items))
        last = playlist.entries.aggregate(last=Max("position"))["last"] or 0
        PlaylistEntry.objects.bulk_create(
            (
                PlaylistEntry(playlist=playlist, item_id=item, position=n)
                for n, item in enumerate(items, last + 1)
            ),
            batch_size=_BATCH,
        )


def _require_length(count: int) -> None:
    if count > MAX_ENTRIES:
        raise TooLongError(
            f"A playlist has at most {MAX_ENTRIES:,} entries, this one would have {count:,}: "
            "create a second one."
        )


def _count_up(playlist: Playlist, version: int | None = None) -> None:
    mine = Playlist.objects.filter(pk=playlist.pk)
    if version is not None:
        mine = mine.filter(version=version)
    if not mine.update(version=F("version") + 1):
        raise ChangedMeanwhileError(
            "The playlist was changed meanwhile: reload it, then repeat your change."
        )
    playlist.refresh_from_db(fields=["version"])


def _require_items(items: Iterable[int]) -> None:
    ids = list(items)
    count = 0
    for start in range(0, len(ids), _BATCH):
        count += MediaItem.objects.filter(pk__in=ids[start : start + _BATCH]).count()
    if count < len(ids):
        raise UnknownItemError(
            f"{len(ids) - count} of the items are not in the library any more: reload the page."
        )
