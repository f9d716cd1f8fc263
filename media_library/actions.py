"""Operations of the library, for its pages, its API and other apps."""

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
    """Copies a file of this machine into the storage and inspects it.

    The returned item has its fault, if any, in `fault`. Raises `StorageError` if the file could
    not be stored; then there is no item.
    """
    key = service.reserve(_names(path))
    try:
        storage.upload(path, key)
        now = timezone.now()
        # Claimed from the start: the pool skips it.
        item = MediaItem.objects.create(key=key, title=title[:255], probe_claimed_at=now)
    finally:
        service.release(key)
    inspect(item, now=now)
    return item


def _names(path: Path) -> Iterator[str]:
    """Yields keys that resemble the file's name."""
    stem, suffix = slugify(path.stem)[:200] or "item", path.suffix.lower()
    yield f"{stem}{suffix}"
    for number in count(2):
        yield f"{stem}-{number}{suffix}"


def inspect(item: MediaItem, *, now: datetime) -> None:
    """Inspects the file and writes the result, or the fault, into the item's row.

    After a temporary error (an unreachable storage) the row stays unchanged.
    """
    try:
        probing.inspect_item(item, now=now)
    except (ProbeError, StorageError) as error:
        logger.warning("%s was not inspected: %s", item.key, error)
        if item.probed_at is None:
            probing.fault(item, str(error))
    item.refresh_from_db()


def inspect_again(ids: Sequence[int]) -> None:
    """Enqueues a new inspection of these items' files.

    Earlier results and copies stay valid until then.
    """
    with transaction.atomic():
        MediaItem.objects.filter(pk__in=ids).update(
            status=MediaItem.Status.NEW, fault="", probe_claimed_at=None, probe_attempts=0
        )
        transaction.on_commit(enqueue.probe)


class FaultyItemError(Exception):
    """The item has a fault and can't be prepared. `str()` says why and what to do."""


def request_prepare(
    item: MediaItem,
    house_format: HouseFormat,
    *,
    again: bool = False,
    due_at: datetime | None = None,
) -> PreparedCopy:
    """Makes sure that the item has a copy in this house format; repeated calls are cheap.

    A copy of other content than the item's present one is made again; one that failed or was
    cancelled only if a person asks for it (`again`), because it would fail at every round of
    the playlist. The soonest `due_at` is made first. A new item's copy waits for the
    inspection. Raises `FaultyItemError`.
    """
    if item.status == MediaItem.Status.FAULT:
        raise FaultyItemError(f"{item} can't be prepared: {item.fault}")
    with transaction.atomic():
        # The row's etag, not the caller's, which may have been read before a sync.
        etag = MediaItem.objects.values_list("etag", flat=True).get(pk=item.pk)
        copy, made = PreparedCopy.objects.get_or_create(
            item=item,
            house_format=house_format.signature,
            defaults={
                "source_etag": etag,
                "queued_at": timezone.now(),
                "due_at": due_at,
            },
        )
        if not made:
            # A changed item is inspected first: its content may be the same.
            outdated = ~Q(source_etag=F("item__etag")) & ~Q(item__status=MediaItem.Status.NEW)
            if again:
                outdated |= Q(status__in=_GIVEN_UP)
            queued = _queued(etag) | {"due_at": due_at}
            if not PreparedCopy.objects.filter(outdated, pk=copy.pk).update(**queued):
                return copy
            copy.refresh_from_db()
        item_status.settle(item.pk)
        _enqueue_for(copy)
    return copy


_GIVEN_UP: Final = (PreparedCopy.Status.FAULT, PreparedCopy.Status.CANCELLED)


def _enqueue_for(*copies: PreparedCopy) -> None:
    """Enqueues a worker unless other copies wait: their worker enqueues the next one."""
    others = queue.waiting().exclude(pk__in=[copy.pk for copy in copies])
    if copies and not others.exists():
        transaction.on_commit(enqueue.prepare)


def cancel_prepare(copy: PreparedCopy) -> bool:
    """Cancels a queued or running copy; False if it was neither.

    Its worker notices within a second, ends its FFmpeg and discards the result.
    """
    active = (PreparedCopy.Status.QUEUED, PreparedCopy.Status.RUNNING)
    cancelled = PreparedCopy.objects.filter(pk=copy.pk, status__in=active).update(
        status=PreparedCopy.Status.CANCELLED, claim="", stage="", percent=0, fault=""
    )
    item_status.settle(copy.item_id)
    copy.refresh_from_db()
    return bool(cancelled)


def retry(item: MediaItem) -> None:
    """Retries an item's faults: inspects it again, or makes its copies again.

    Copies of an unreadable item wait until it can be read.
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
        _enqueue_for(*copies)
    item.refresh_from_db()


def remake(copy: PreparedCopy) -> bool:
    """Makes a copy again whose file is missing; False if it is not finished any more.

    Until then the original is played.
    """
    with transaction.atomic():
        finished = PreparedCopy.objects.filter(pk=copy.pk, status=PreparedCopy.Status.READY)
        if not finished.update(**_queued(copy.item.etag)):
            return False
        item_status.settle(copy.item_id)
        _enqueue_for(copy)
    return True


def _queued(etag: str) -> dict[str, object]:
    """Returns the column values before the first try."""
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
