"""What people and other apps ask of the library, each verb once."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.text import slugify
from django_q.tasks import async_task

from media_library import storage
from media_library.house import House
from media_library.models import MediaItem, PreparedCopy
from media_library.probe import NotReadableError, ProbeError, probe
from media_library.storage import StorageError

logger = logging.getLogger(__name__)


def add_file(path: Path, *, title: str) -> MediaItem:
    """Copy a file of this machine into the storage and look into it.

    The item that comes back says in `fault` what is wrong with it, if anything is.
    Raises `StorageError` when the file could not be stored; then there is no item.
    """
    key = _free_key(path)
    storage.upload(path, key)
    item = MediaItem.objects.create(key=key, title=title[:255])
    look_into(item, now=timezone.now())
    return item


def _free_key(path: Path) -> str:
    """A key that reads like the file's name and is nobody's yet."""
    stem = slugify(path.stem) or "item"
    number = 1
    key = f"{stem[:200]}{path.suffix.lower()}"
    while MediaItem.objects.filter(key=key).exists() or storage.exists(key):
        number += 1
        key = f"{stem[:200]}-{number}{path.suffix.lower()}"
    return key


def look_into(item: MediaItem, *, now: datetime) -> None:
    """Read from the file what it is, and write it into the item's row, a fault too.

    What may pass (a storage out of reach) is left as it was: the row keeps what was known.
    """
    try:
        facts = storage.facts(item.key)
        found = probe(storage.locate(item.key), ffprobe=settings.FFPROBE_PATH)
    except (ProbeError, StorageError) as error:
        if isinstance(error, NotReadableError) or (
            isinstance(error, StorageError) and not error.permanent
        ):
            logger.warning("%s was not looked into: %s", item.key, error)
            if item.probed_at is not None:
                return
        changes: dict[str, object] = {"status": MediaItem.Status.FAULT, "fault": str(error)}
    else:
        changes = {
            "status": MediaItem.Status.PROBED,
            "fault": "",
            "size_bytes": facts.size_bytes,
            "etag": facts.etag,
            "duration_seconds": None if found.seconds is None else float(found.seconds),
            "width": found.width,
            "height": found.height,
            "fps": "" if found.fps is None else str(found.fps),
            "video_codec": found.video_codec,
            "pixel_format": found.pixel_format,
            "audio_codec": found.audio_codec,
            "sample_rate": found.sample_rate or None,
            "channels": found.channels or None,
            "reorder": found.reorder,
            "probed_at": now,
        }
    MediaItem.objects.filter(pk=item.pk).update(**changes)
    item.refresh_from_db()


def request_prepare(item: MediaItem, house: House, *, again: bool = False) -> PreparedCopy:
    """See to it that the item has a copy in this house; ask as often as you like.

    A copy of other content than the item's present one is made again; one that failed only if
    a person asks for it (`again`), for it would fail at every round of the playlist.
    """
    with transaction.atomic():
        copy, made = PreparedCopy.objects.get_or_create(
            item=item,
            house=house.signature,
            defaults={"source_etag": item.etag, "queued_at": timezone.now()},
        )
        if not made:
            wanted = ~Q(source_etag=item.etag)
            if again:
                wanted |= Q(status=PreparedCopy.Status.FAULT)
            if not PreparedCopy.objects.filter(wanted, pk=copy.pk).update(**_queued(item.etag)):
                return copy
            copy.refresh_from_db()
        transaction.on_commit(lambda: enqueue(copy.pk))
    return copy


def _queued(etag: str) -> dict[str, object]:
    """What a row looks like before its first try."""
    return {
        "source_etag": etag,
        "status": PreparedCopy.Status.QUEUED,
        "queued_at": timezone.now(),
        "claim": "",
        "percent": 0,
        "attempts": 0,
        "fault": "",
    }


def enqueue(copy_id: int) -> None:
    """Hand a copy to the jobs cluster. Twice does no harm: the second finds it claimed."""
    # A long film takes longer than a task may; the work is bounded by itself (-1: no end).
    async_task("media_library.tasks.prepare_item", copy_id, timeout=-1)
