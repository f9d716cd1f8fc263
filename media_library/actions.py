"""What people and other apps ask of the library, each verb once."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Final

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.text import slugify

from media_library import storage
from media_library.analysis import queue as probing
from media_library.conform import queue
from media_library.ffmpeg.probe import ProbeError
from media_library.house_format import HouseFormat
from media_library.jobs import enqueue
from media_library.models import MediaItem, PreparedCopy, item_status
from media_library.storage import StorageError
from media_library.uploads import service

logger = logging.getLogger(__name__)


def add_file(path: Path, *, title: str) -> MediaItem:
    """Copy a file of this machine into the storage and look into it.

    The item that comes back says in `fault` what is wrong with it, if anything is.
    Raises `StorageError` when the file could not be stored; then there is no item.
    """
    key = service.reserve(_names(path))
    try:
        storage.upload(path, key)
        now = timezone.now()
        # Taken up from the first: the pool leaves it alone.
        item = MediaItem.objects.create(key=key, title=title[:255], probe_claimed_at=now)
    finally:
        service.release(key)
    look_into(item, now=now)
    return item


def _names(path: Path) -> Iterator[str]:
    """Keys that read like the file's name."""
    stem, suffix = slugify(path.stem)[:200] or "item", path.suffix.lower()
    yield f"{stem}{suffix}"
    for number in count(2):
        yield f"{stem}-{number}{suffix}"


def look_into(item: MediaItem, *, now: datetime) -> None:
    """Read from the file what it is, and write it into the item's row, a fault too.

    What may pass (a storage out of reach) is left as it was: the row keeps what was known.
    """
    try:
        probing.look_at(item, now=now)
    except (ProbeError, StorageError) as error:
        logger.warning("%s was not looked into: %s", item.key, error)
        if item.probed_at is None:
            probing.fault(item, str(error))
    item.refresh_from_db()


def look_again(ids: Sequence[int]) -> None:
    """Have these items' files looked into as if they were new, by as many as may at once.

    What is known of them holds until then; their copies stay.
    """
    with transaction.atomic():
        MediaItem.objects.filter(pk__in=ids).update(
            status=MediaItem.Status.NEW, fault="", probe_claimed_at=None, probe_attempts=0
        )
        transaction.on_commit(enqueue.probe)


class FaultyItemError(Exception):
    """The item can't be prepared: it is faulty itself. `str()` says why and what to do."""


def request_prepare(
    item: MediaItem, house: HouseFormat, *, again: bool = False, due_at: datetime | None = None
) -> PreparedCopy:
    """See to it that the item has a copy in this house; ask as often as you like.

    A copy of other content than the item's present one is made again; one that failed or was
    cancelled only if a person asks for it (`again`), for it would fail at every round of the
    playlist. The soonest `due_at` is made first. A new item's copy waits until the item has
    been looked into. Raises `FaultyItemError`.
    """
    if item.status == MediaItem.Status.FAULT:
        raise FaultyItemError(f"{item} can't be prepared: {item.fault}")
    with transaction.atomic():
        # The row's, not the caller's: theirs may have been read before a sync.
        etag = MediaItem.objects.values_list("etag", flat=True).get(pk=item.pk)
        copy, made = PreparedCopy.objects.get_or_create(
            item=item,
            house=house.signature,
            defaults={
                "source_etag": etag,
                "queued_at": timezone.now(),
                "due_at": due_at,
            },
        )
        if not made:
            # A changed item is inspected first: its content may be the same.
            wanted = ~Q(source_etag=F("item__etag")) & ~Q(item__status=MediaItem.Status.NEW)
            if again:
                wanted |= Q(status__in=_GIVEN_UP)
            queued = _queued(etag) | {"due_at": due_at}
            if not PreparedCopy.objects.filter(wanted, pk=copy.pk).update(**queued):
                return copy
            copy.refresh_from_db()
        item_status.settle(item.pk)
        _ring_for(copy)
    return copy


_GIVEN_UP: Final = (PreparedCopy.Status.FAULT, PreparedCopy.Status.CANCELLED)


def _ring_for(*copies: PreparedCopy) -> None:
    """Where others wait already, a worker is on its way: each rings for the next."""
    others = queue.waiting().exclude(pk__in=[copy.pk for copy in copies])
    if copies and not others.exists():
        transaction.on_commit(enqueue.prepare)


def cancel_prepare(copy: PreparedCopy) -> bool:
    """Stop what is queued or being made; False where it was neither any more.

    Its worker notices within a second, ends its FFmpeg and throws away what it had.
    """
    active = (PreparedCopy.Status.QUEUED, PreparedCopy.Status.RUNNING)
    cancelled = PreparedCopy.objects.filter(pk=copy.pk, status__in=active).update(
        status=PreparedCopy.Status.CANCELLED, claim="", stage="", percent=0, fault=""
    )
    item_status.settle(copy.item_id)
    copy.refresh_from_db()
    return bool(cancelled)


def retry(item: MediaItem) -> None:
    """Try again what went wrong with an item: look into it, make its copies.

    Copies of an item that can't be read wait until it could be.
    """
    with transaction.atomic():
        renewed = MediaItem.objects.filter(pk=item.pk, status=MediaItem.Status.FAULT).update(
            status=MediaItem.Status.NEW, fault="", probe_claimed_at=None, probe_attempts=0
        )
        if renewed:
            transaction.on_commit(enqueue.probe)
        copies = list(item.copies.filter(status__in=_GIVEN_UP))
        item.copies.filter(pk__in=[copy.pk for copy in copies]).update(**_queued(item.etag))
        item_status.settle(item.pk)
        _ring_for(*copies)
    item.refresh_from_db()


def remake(copy: PreparedCopy) -> bool:
    """Have a copy made again whose file is gone; False where it is no finished one any more.

    Until then the original plays.
    """
    with transaction.atomic():
        finished = PreparedCopy.objects.filter(pk=copy.pk, status=PreparedCopy.Status.READY)
        if not finished.update(**_queued(copy.item.etag)):
            return False
        item_status.settle(copy.item_id)
        _ring_for(copy)
    return True


def _queued(etag: str) -> dict[str, object]:
    """What a row looks like before its first try."""
    return {
        "source_etag": etag,
        "status": PreparedCopy.Status.QUEUED,
        "queued_at": timezone.now(),
        "claim": "",
        "percent": 0,
        "stage": "",
        "attempts": 0,
        "deaths": 0,
        "fault": "",
    }
