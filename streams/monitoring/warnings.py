"""Detects upcoming problems: faults that will affect the air within the next 36 hours."""

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
from streams.events import ProblemsDetected
from streams.models import Channel, OnAirHours, UpcomingProblem
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
from streamsite.notifications.events import publish

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: One day ahead plus the time until somebody reads the warning.
AHEAD: Final = timedelta(hours=36)
#: Seconds for storage requests about one channel, and about all channels.
CHANNEL_TIMEOUT_S: Final = 120.0
TOTAL_TIMEOUT_S: Final = 600.0
#: Parallel storage requests.
MAX_PARALLEL: Final = 8
#: Rows per query.
CHUNK: Final = 500


def verify(now: datetime) -> str:
    """Check the coming programme of all channels, store the problems and notify."""
    has_hours = Exists(OnAirHours.objects.filter(channel=OuterRef("pk")))
    watched = Channel.objects.filter(Q(desired_state=Channel.DesiredState.ON) | has_hours)
    opened = cleared = 0
    ends = time.monotonic() + TOTAL_TIMEOUT_S
    # Random order: if the time runs out, different channels are skipped each time.
    for channel in watched.select_related("state", "playlist", "filler").order_by("?"):
        try:
            result = check_channel(
                channel, now, min(CHANNEL_TIMEOUT_S, max(0.0, ends - time.monotonic()))
            )
            more, fewer = settle(channel, result, now)
        except Exception:
            # An error in one channel must not prevent the check of the others.
            log.exception("upcoming_problems.failed", channel=channel.slug)
            continue
        opened, cleared = opened + more, cleared + fewer
    idle = _open().exclude(channel__in=watched.values("pk"))
    cleared += idle.update(cleared_at=now)
    notified = notify(now)
    return f"{opened} detected, {cleared} cleared, {notified} notified."


def _open() -> QuerySet[UpcomingProblem]:
    return UpcomingProblem.objects.filter(cleared_at=None)


# ---- checking --------------------------------------------------------------------------------


def check_channel(
    channel: Channel, now: datetime, timeout_s: float = CHANNEL_TIMEOUT_S
) -> Findings:
    """Returns the problems ahead. `timeout_s`: seconds for storage requests."""
    coming = forecast.compute(channel, now, now + AHEAD)
    picks = list(coming.picks())
    return find_problems(
        coming.programme,
        picks,
        _item_facts(channel, picks, timeout_s),
        list(_left_out(channel)) if picks else [],
        _fillers(channel),
    )


def _item_facts(
    channel: Channel, picks: Iterable[Pick], timeout_s: float
) -> dict[int, ItemFacts]:
    """Returns the facts of each item that will be on air, by its id."""
    entries: dict[int, Entry] = {}
    for pick in picks:
        if pick.entry is not None and pick.entry.item.media is not None:
            entries.setdefault(pick.entry.item.media, pick.entry)
    there = in_storage([entry.item.key for entry in entries.values()], timeout_s)
    remade = _remade(entry for entry in entries.values() if there[entry.item.key] is False)
    rows = _rows(channel, list(entries))
    return {
        media: ItemFacts(Copy.COMING, there=True)
        if media in remade
        else _of_item(entry, rows.get(media), there.get(entry.item.key))
        for media, entry in entries.items()
    }


def _remade(entries: Iterable[Entry]) -> set[int]:
    """Returns items whose prepared copy is missing but whose original exists.

    It enqueues a new copy of each.
    """
    keys = [entry.item.key for entry in entries if entry.item.mode is Mode.PREPARED]
    copies: list[PreparedCopy] = []
    for start in range(0, len(keys), CHUNK):
        some = PreparedCopy.objects.filter(key__in=keys[start : start + CHUNK])
        copies += some.select_related("item")
    there = in_storage([copy.item.key for copy in copies])
    again = [copy for copy in copies if there[copy.item.key] and actions.remake(copy)]
    for copy in again:
        log.warning("upcoming_problems.copy_missing", item=copy.item_id, key=copy.key)
    return {copy.item_id for copy in again}


#: Whether an item was inspected, and its copy in the channel's house format.
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
            # A copy of other content does not count: a new one will be requested.
            current = copy if copy is not None and copy.source_etag == etag else None
            rows[pk] = (status != MediaItem.Status.NEW, current)
    return rows


def _of_item(entry: Entry, row: _Row | None, there: bool | None) -> ItemFacts:  # noqa: FBT001 - None is a third value
    if row is None:
        # The item was deleted after the playlists were read: the next check will differ.
        return ItemFacts(there=None)
    inspected, copy = row
    if entry.item.mode is Mode.PREPARED:
        return ItemFacts(there=there)
    left = {PreparedCopy.Status.FAULT, PreparedCopy.Status.CANCELLED}
    if copy is not None and copy.status in left:
        return ItemFacts(Copy.LEFT, copy.fault, inspected=inspected, there=there)
    return ItemFacts(Copy.COMING, inspected=inspected, there=there)


def in_storage(
    keys: Sequence[str], timeout_s: float = CHANNEL_TIMEOUT_S
) -> dict[str, bool | None]:
    """Returns whether each object exists; None: the storage did not answer in time.

    Objects are checked in the given order.
    """
    exists: dict[str, bool | None] = dict.fromkeys(keys)
    ends = time.monotonic() + timeout_s
    left = iter(list(exists))
    with ThreadPoolExecutor(MAX_PARALLEL) as pool:
        while (some := list(islice(left, MAX_PARALLEL))) and time.monotonic() < ends:
            answers = list(pool.map(_exists, some))
            exists.update(zip(some, answers, strict=True))
            if None in answers:
                # The remaining requests would most likely time out as well.
                break
    # On an unmounted disk or in a missing bucket every object seems to be missing.
    if False in exists.values() and (fault := storage.unreachable() or emptied()):
        log.warning("upcoming_problems.storage_unreachable", fault=fault)
        return dict.fromkeys(exists)
    return exists


def _exists(key: str) -> bool | None:
    try:
        storage.facts(key, brisk=True)
    except (storage.NotInStorageError, storage.WrongKeyError):
        return False
    except storage.StorageError:
        return None
    return True


def _left_out(channel: Channel) -> Iterator[LeftOut]:
    """Yields the faulty items of the channel's playlists."""
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
        items = [
            (pk, media, title, fault if status == MediaItem.Status.FAULT else "")
            for pk, media, title, status, fault in rows
        ]
        yield from left_out_entries(items, rule)


def _fillers(channel: Channel) -> Fillers | None:
    if channel.filler is None:
        return None
    return Fillers(channel.filler.name, channel.filler.entries.count())


# ---- writing ---------------------------------------------------------------------------------


def settle(channel: Channel, result: Findings, now: datetime) -> tuple[int, int]:
    """Store the problems of a channel. Returns how many were opened and cleared.

    Problems that depend on the storage stay unchanged if it could not be reached.
    """
    with transaction.atomic():
        rows = {row.subject: row for row in _open().filter(channel=channel)}
        kept = {
            row.item_id
            for row in rows.values()
            if row.item_id in result.unsure and _depends_on_storage(row)
        }
        faults = {
            fault.subject: fault
            for fault in result.faults
            if fault.media is None or fault.media not in kept
        }
        gone = [
            row.pk
            for subject, row in rows.items()
            if subject not in faults and not (row.item_id in kept and _depends_on_storage(row))
        ]
        _open().filter(pk__in=gone).update(cleared_at=now)
        _changed(rows, faults)
        new = [fault for subject, fault in faults.items() if subject not in rows]
        about = {fault.media for fault in new if fault.media is not None}
        # Items deleted since the check need no warning.
        there = set(MediaItem.objects.filter(pk__in=about).values_list("pk", flat=True))
        new = [fault for fault in new if fault.media is None or fault.media in there]
        # A concurrent check may have stored the same problem.
        UpcomingProblem.objects.bulk_create(
            [_row(channel, fault, now) for fault in new], ignore_conflicts=True
        )
    for fault in new:
        if not fault.soft:
            log.warning("upcoming_problem", channel=channel.slug, sentence=fault.sentence)
    return len(new), len(gone)


def _depends_on_storage(row: UpcomingProblem) -> bool:
    """Returns whether the problem was detected by a storage request."""
    return row.subject.startswith("missing-")


def _changed(rows: Mapping[str, UpcomingProblem], faults: Mapping[str, Fault]) -> None:
    for subject, row in rows.items():
        fault = faults.get(subject)
        if fault is not None and (fault.airs_at, fault.sentence) != (row.airs_at, row.sentence):
            _open().filter(pk=row.pk).update(airs_at=fault.airs_at, sentence=fault.sentence)


def _row(channel: Channel, fault: Fault, now: datetime) -> UpcomingProblem:
    return UpcomingProblem(
        channel=channel,
        item_id=fault.media,
        subject=fault.subject,
        soft=fault.soft,
        sentence=fault.sentence,
        airs_at=fault.airs_at,
        detected_at=now,
    )


# ---- notifying -------------------------------------------------------------------------------


def notify(now: datetime) -> int:
    """Send all new problems in one message. Returns their number.

    A failed message is sent again the next time. Soft problems are shown on the channel's page
    only.
    """
    new = list(_open().filter(notified_at=None, soft=False).select_related("channel"))
    if not new or not publish(ProblemsDetected(lines=[_line(row) for row in new]), now):
        return 0
    rows = UpcomingProblem.objects.filter(pk__in=[row.pk for row in new], notified_at=None)
    return rows.update(notified_at=now)


def _line(row: UpcomingProblem) -> str:
    at = row.airs_at.astimezone(row.channel.zone)
    return f"{row.channel.name}, {at:%a %d %b %H:%M %Z}: {row.sentence}"
