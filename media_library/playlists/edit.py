"""What people do to playlists: reorder, append. Each counts the playlist's version up."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from django.db import transaction
from django.db.models import F, Max

from media_library.models import MediaItem, Playlist, PlaylistEntry

#: Entries of one playlist: the engine reads them all, and a page shows them all.
LONGEST: Final = 10_000
_BATCH: Final = 2000


class PlaylistError(Exception):
    """The change can't be made. `str()` of it is a sentence for the operator."""


class ChangedMeanwhileError(PlaylistError):
    """Somebody else's change came first."""


class TooLongError(PlaylistError):
    """More entries than a playlist may have."""


class NothingFoundError(PlaylistError):
    """An import would leave nothing of a playlist."""


class UnknownItemError(PlaylistError):
    """An item that the library does not have, any more or at all."""


class Place(NamedTuple):
    """One place of the new order: an entry that stays, or None for a new one, and its item."""

    entry: int | None
    item: int


def reorder(playlist: Playlist, version: int, places: Sequence[Place]) -> list[int]:
    """Make the playlist these places, in this order; the ids of the entries it has then.

    An entry that stays keeps its id: the channel on air goes on behind the one it played last.
    Raises `ChangedMeanwhileError` unless `version` is the playlist's, `TooLongError`,
    `UnknownItemError`; then nothing is changed.
    """
    _bounded(len(places))
    with transaction.atomic():
        _count_up(playlist, version)
        there = dict(playlist.entries.values_list("pk", "item"))
        staying = {place.entry for place in places if place.entry is not None}
        if len(staying) != sum(place.entry is not None for place in places) or any(
            place.entry is not None and there.get(place.entry) != place.item for place in places
        ):
            raise ChangedMeanwhileError(
                "An entry of the playlist is not there any more: reload the page."
            )
        _known({place.item for place in places} - set(there.values()))
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
    """Make these items the whole playlist; an item that stood there keeps its entry.

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
    """Put items at the end, in this order. Raises `TooLongError`, `UnknownItemError`."""
    with transaction.atomic():
        # The playlist's row is the lock: who counts first appends first.
        _count_up(playlist)
        _bounded(playlist.entries.count() + len(items))
        _known(set(items))
        last = playlist.entries.aggregate(last=Max("position"))["last"] or 0
        PlaylistEntry.objects.bulk_create(
            (
                PlaylistEntry(playlist=playlist, item_id=item, position=n)
                for n, item in enumerate(items, last + 1)
            ),
            batch_size=_BATCH,
        )


def _bounded(count: int) -> None:
    if count > LONGEST:
        raise TooLongError(
            f"A playlist has at most {LONGEST:,} entries, and this one would have {count:,}: "
            "make a second one."
        )


def _count_up(playlist: Playlist, version: int | None = None) -> None:
    mine = Playlist.objects.filter(pk=playlist.pk)
    if version is not None:
        mine = mine.filter(version=version)
    if not mine.update(version=F("version") + 1):
        raise ChangedMeanwhileError(
            "Somebody else changed the playlist meanwhile: reload it, then change it again."
        )
    playlist.refresh_from_db(fields=["version"])


def _known(items: Iterable[int]) -> None:
    wanted = list(items)
    found = 0
    for start in range(0, len(wanted), _BATCH):
        found += MediaItem.objects.filter(pk__in=wanted[start : start + _BATCH]).count()
    if found < len(wanted):
        raise UnknownItemError(
            f"{len(wanted) - found} of the items are not in the library any more: reload the "
            "page."
        )
