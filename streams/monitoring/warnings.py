"""What will go wrong on air, looked for before its time and written down as forewarnings."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from media_library import actions, storage
from media_library.models import MediaItem, PlaylistEntry, PreparedCopy
from media_library.sync.empty_guard import emptied
from streams.models import Channel, Forewarning, OnAirHours
from streams.planning import forecast
from streams.programme.item import Mode
from streams.programme.model import BASE, Entry, Pick
from streams.programme.problems import (
    Copy,
    Fault,
    Fillers,
    Findings,
    ItemFacts,
    LeftOut,
    find_problems,
    left_out_entries,
)
from streamsite.notifications import channels

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: A day ahead, whenever in it somebody reads of it.
AHEAD: Final = timedelta(hours=36)
#: Seconds the storage may be asked about one channel, and about all of them.
PATIENCE: Final = 120.0
LONGEST: Final = 600.0
#: Questions at once.
AT_ONCE: Final = 8
#: Rows in one query.
CHUNK: Final = 500


def verify(now: datetime) -> str:
    """Look at what all channels play next, write down what is wrong, and tell of it."""
    has_hours = Exists(OnAirHours.objects.filter(channel=OuterRef("pk")))
    watched = Channel.objects.filter(Q(order=Channel.Order.ON) | has_hours)
    opened = cleared = 0
    ends = time.monotonic() + LONGEST
    # Where there is no time for all, it is not always the same that are left out.
    for channel in watched.select_related("state", "playlist", "filler").order_by("?"):
        try:
            found = look_ahead(channel, now, min(PATIENCE, max(0.0, ends - time.monotonic())))
            more, fewer = settle(channel, found, now)
        except Exception:
            # One channel's trouble must not keep the others from being looked at.
            log.exception("forewarn.failed", channel=channel.slug)
            continue
        opened, cleared = opened + more, cleared + fewer
    idle = _open().exclude(channel__in=watched.values("pk"))
    cleared += idle.update(cleared_at=now)
    told = tell(now)
    return f"{opened} found, {cleared} cleared, {told} told."


def _open() -> QuerySet[Forewarning]:
    return Forewarning.objects.filter(cleared_at=None)


# ---- looking ---------------------------------------------------------------------------------


def look_ahead(channel: Channel, now: datetime, patience: float = PATIENCE) -> Findings:
    """What is wrong ahead. `patience`: seconds in which the storage may be asked."""
    coming = forecast.compute(channel, now, now + AHEAD)
    picks = list(coming.picks())
    return find_problems(
        coming.programme,
        picks,
        _known(channel, picks, patience),
        list(_left_out(channel)) if picks else [],
        _fillers(channel),
    )


def _known(channel: Channel, picks: Iterable[Pick], patience: float) -> dict[int, ItemFacts]:
    """What is known of each item that will be on air."""
    entries: dict[int, Entry] = {}
    for pick in picks:
        if pick.entry is not None and pick.entry.item.media is not None:
            entries.setdefault(pick.entry.item.media, pick.entry)
    there = in_storage([entry.item.key for entry in entries.values()], patience)
    remade = _remade(entry for entry in entries.values() if there[entry.item.key] is False)
    rows = _rows(channel, list(entries))
    return {
        media: ItemFacts(Copy.COMING, there=True)
        if media in remade
        else _of_item(entry, rows.get(media), there.get(entry.item.key))
        for media, entry in entries.items()
    }


def _remade(entries: Iterable[Entry]) -> set[int]:
    """Items whose prepared copy is gone, but not the original: it is being made again."""
    keys = [entry.item.key for entry in entries if entry.item.mode is Mode.PREPARED]
    copies: list[PreparedCopy] = []
    for start in range(0, len(keys), CHUNK):
        some = PreparedCopy.objects.filter(key__in=keys[start : start + CHUNK])
        copies += some.select_related("item")
    there = in_storage([copy.item.key for copy in copies])
    again = [copy for copy in copies if there[copy.item.key] and actions.remake(copy)]
    for copy in again:
        log.warning("forewarn.copy_is_gone", item=copy.item_id, key=copy.key)
    return {copy.item_id for copy in again}


#: Of an item: whether it was looked into, and its copy in the channel's house format.
_Row = tuple[bool, PreparedCopy | None]


def _rows(channel: Channel, media: Sequence[int]) -> dict[int, _Row]:
    rows: dict[int, _Row] = {}
    for start in range(0, len(media), CHUNK):
        some = media[start : start + CHUNK]
        made = PreparedCopy.objects.filter(
            house_format=channel.house_format.signature, item__in=some
        )
        copies = {copy.item_id: copy for copy in made}
        for pk, etag, status in MediaItem.objects.filter(pk__in=some).values_list(
            "pk", "etag", "status"
        ):
            copy = copies.get(pk)
            # Of other content: a new one will be asked for.
            current = copy if copy is not None and copy.source_etag == etag else None
            rows[pk] = (status != MediaItem.Status.NEW, current)
    return rows


def _of_item(entry: Entry, row: _Row | None, there: bool | None) -> ItemFacts:  # noqa: FBT001
    if row is None:
        # Deleted since the lists were read: the next look has other lists.
        return ItemFacts(there=None)
    looked_into, copy = row
    if entry.item.mode is Mode.PREPARED:
        return ItemFacts(there=there)
    left = {PreparedCopy.Status.FAULT, PreparedCopy.Status.CANCELLED}
    if copy is not None and copy.status in left:
        return ItemFacts(Copy.LEFT, copy.fault, inspected=looked_into, there=there)
    return ItemFacts(Copy.COMING, inspected=looked_into, there=there)


def in_storage(keys: Sequence[str], patience: float = PATIENCE) -> dict[str, bool | None]:
    """Whether each object exists; None where the storage can't say, or not in time.

    The first ones are asked for first.
    """
    found: dict[str, bool | None] = dict.fromkeys(keys)
    ends = time.monotonic() + patience
    left = iter(list(found))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while (some := list(islice(left, AT_ONCE))) and time.monotonic() < ends:
            answers = list(pool.map(_exists, some))
            found.update(zip(some, answers, strict=True))
            if None in answers:
                # The others would wait as long, for as little.
                break
    # A disk that is not mounted, and a bucket that is gone, have none of them.
    if False in found.values() and (fault := storage.unreachable() or emptied()):
        log.warning("forewarn.storage_unreachable", fault=fault)
        return dict.fromkeys(found)
    return found


def _exists(key: str) -> bool | None:
    try:
        storage.facts(key, brisk=True)
    except (storage.NotInStorageError, storage.WrongKeyError):
        return False
    except storage.StorageError:
        return None
    return True


def _left_out(channel: Channel) -> Iterator[LeftOut]:
    """Faulty items of the channel's lists."""
    lists = [(BASE, channel.playlist_id)]
    lists += [
        (f"block-{pk}", playlist)
        for pk, playlist in channel.blocks.filter(enabled=True).values_list("pk", "playlist")
    ]
    faulty = Q(item__status=MediaItem.Status.FAULT)
    for rule, playlist in lists:
        entries = PlaylistEntry.objects.filter(playlist=playlist)
        if playlist is None or not entries.filter(faulty).exists():
            continue
        rows = entries.values_list("pk", "item", "item__title", "item__status", "item__fault")
        told = [
            (pk, media, title, fault if status == MediaItem.Status.FAULT else "")
            for pk, media, title, status, fault in rows
        ]
        yield from left_out_entries(told, rule)


def _fillers(channel: Channel) -> Fillers | None:
    if channel.filler is None:
        return None
    return Fillers(channel.filler.name, channel.filler.entries.count())


# ---- writing ---------------------------------------------------------------------------------


def settle(channel: Channel, found: Findings, now: datetime) -> tuple[int, int]:
    """Let the channel's open forewarnings be what was found; how many came, and went.

    Where the storage could not be asked, what it said before stands.
    """
    with transaction.atomic():
        rows = {row.subject: row for row in _open().filter(channel=channel)}
        kept = {
            row.item_id for row in rows.values() if row.item_id in found.unsure and _asked(row)
        }
        faults = {
            fault.subject: fault
            for fault in found.faults
            if fault.media is None or fault.media not in kept
        }
        gone = [
            row.pk
            for subject, row in rows.items()
            if subject not in faults and not (row.item_id in kept and _asked(row))
        ]
        _open().filter(pk__in=gone).update(cleared_at=now)
        _changed(rows, faults)
        new = [fault for subject, fault in faults.items() if subject not in rows]
        about = {fault.media for fault in new if fault.media is not None}
        # What was deleted since it was looked at needs no warning.
        there = set(MediaItem.objects.filter(pk__in=about).values_list("pk", flat=True))
        new = [fault for fault in new if fault.media is None or fault.media in there]
        # Another look may have found the same in this moment.
        Forewarning.objects.bulk_create(
            [_row(channel, fault, now) for fault in new], ignore_conflicts=True
        )
    for fault in new:
        if not fault.soft:
            log.warning("forewarning", channel=channel.slug, told=fault.sentence)
    return len(new), len(gone)


def _asked(row: Forewarning) -> bool:
    """Whether it rests on what the storage said."""
    return row.subject.startswith("missing-")


def _changed(rows: Mapping[str, Forewarning], faults: Mapping[str, Fault]) -> None:
    for subject, row in rows.items():
        fault = faults.get(subject)
        if fault is not None and (fault.airs_at, fault.sentence) != (row.airs_at, row.sentence):
            _open().filter(pk=row.pk).update(airs_at=fault.airs_at, sentence=fault.sentence)


def _row(channel: Channel, fault: Fault, now: datetime) -> Forewarning:
    return Forewarning(
        channel=channel,
        item_id=fault.media,
        subject=fault.subject,
        soft=fault.soft,
        sentence=fault.sentence,
        airs_at=fault.airs_at,
        found_at=now,
    )


# ---- telling ---------------------------------------------------------------------------------


def tell(now: datetime) -> int:
    """Send what nobody was told of yet, in one message; how many that were.

    What could not be sent is sent the next time. What will be on air all the same is on the
    channel's page alone.
    """
    if not channels.configured():
        return 0
    new = list(_open().filter(told_at=None, soft=False).select_related("channel"))
    if not new:
        return 0
    number = "A warning" if len(new) == 1 else f"{len(new)} warnings"
    if not channels.send(f"{number} of what is on air next", [_line(row) for row in new]):
        return 0
    rows = Forewarning.objects.filter(pk__in=[row.pk for row in new], told_at=None)
    return rows.update(told_at=now)


def _line(row: Forewarning) -> str:
    at = row.airs_at.astimezone(row.channel.zone)
    return f"{row.channel.name}, {at:%a %d %b %H:%M %Z}: {row.sentence}"
