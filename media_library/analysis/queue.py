"""Inspects the library's items: one at a time, and a pool that takes all new ones.

An item is claimed by a conditional update of its own row, so there is no queue to lose. An item
that kills its worker every time gets a fault.
"""

from __future__ import annotations

import hashlib
import logging
import time
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from media_library import events, storage
from media_library.analysis.fingerprint import fingerprint
from media_library.analysis.inspection import Inspection, inspect
from media_library.conform.conform import Tools
from media_library.ffmpeg.probe import NotReadableError, ProbeError
from media_library.jobs import enqueue
from media_library.models import MediaItem, PlaylistEntry, PreparedCopy, item_status
from media_library.storage import StorageError
from streamsite.processes.claims import Claims

logger = logging.getLogger(__name__)

#: Seconds that one task works; then another takes over.
TURN_S: Final = 240.0
#: Age after which a claim's worker counts as dead: an inspection is limited to about five
#: minutes.
STALE_CLAIM_AGE: Final = timedelta(minutes=10)
#: Number of claims before an item gets a fault.
MAX_ATTEMPTS: Final = 3
#: Items read per query.
BATCH_SIZE: Final = 50

Status = MediaItem.Status
_CLAIMS: Final = Claims(MediaItem, "probe_claimed_at")
#: Not inspected successfully since the item was added, changed or got a fault.
_UNINSPECTED: Final = (Status.NEW, Status.FAULT)


def inspect_item(item: MediaItem, *, now: datetime) -> None:
    """Inspects the file and writes the result into the item's row; also a permanent fault.

    An item that was changed meanwhile is not written: by a sync that found it missing or newer,
    or by another inspection. If it became new again, the pool inspects it. Raises
    `NotReadableError`, `StorageError` for temporary errors; then nothing is written.
    """
    try:
        facts = storage.facts(item.key)

        def read(start: int, length: int) -> bytes:
            return storage.read(item.key, start, length, etag=facts.etag)

        content = fingerprint(facts.size_bytes, read) if facts.size_bytes else ""
        if _is_inspected(item, facts, content):
            _adopt_etag(item, facts, now)
            return
        inspection = inspect(
            storage.locate(item.key),
            read,
            facts.size_bytes,
            tools=Tools(settings.FFMPEG_PATH, settings.FFPROBE_PATH),
            name=item.key,
        )
    except (ProbeError, StorageError) as error:
        if may_pass(error):
            raise
        fault(item, str(error))
        return
    probed = inspection.probe
    if not _unchanged(item).update(
        status=Status.PROBED,
        fault="",
        size_bytes=facts.size_bytes,
        etag=facts.etag,
        fingerprint=content,
        fingerprint_etag=facts.etag,
        duration_seconds=None if probed.seconds is None else float(probed.seconds),
        width=probed.width,
        height=probed.height,
        fps="" if probed.fps is None else str(probed.fps)[:24],
        video_codec=probed.video_codec[:32],
        pixel_format=probed.pixel_format[:32],
        audio_codec=probed.audio_codec[:32],
        sample_rate=probed.sample_rate or None,
        channels=probed.channels or None,
        reorder=probed.reorder,
        turned=probed.turned,
        trimmed=probed.trimmed,
        colour=probed.colour[:32],
        loudness_lufs=inspection.loudness,
        keyframe_seconds=inspection.keyframe_seconds,
        index=inspection.index,
        thumbnails=_store_strip(item.key, facts.etag, inspection),
        probed_at=now,
        probe_claimed_at=None,
        probe_attempts=0,
        # The file exists: it was read.
        misses=0,
        missing_since=None,
    ):
        logger.info("%s was changed during its inspection.", item.key)
        enqueue.probe()
        return
    item_status.settle(item.pk)
    if item.copies.filter(status=PreparedCopy.Status.QUEUED).exists():
        # They waited for the inspection.
        enqueue.prepare()


def _is_inspected(item: MediaItem, facts: storage.Facts, content: str) -> bool:
    """Returns whether the content was inspected before, under another etag."""
    inspected = item.duration_seconds is not None and item.video_codec
    renamed = item.fingerprint_etag != facts.etag
    return bool(inspected and renamed and content and item.fingerprint == content)


def _adopt_etag(item: MediaItem, facts: storage.Facts, now: datetime) -> None:
    """Takes over the results and copies of the same content for its new etag."""
    with transaction.atomic():
        kept = _unchanged(item).update(
            status=Status.PROBED,
            fault="",
            size_bytes=facts.size_bytes,
            etag=facts.etag,
            fingerprint_etag=facts.etag,
            probed_at=now,
            probe_claimed_at=None,
            probe_attempts=0,
            misses=0,
            missing_since=None,
        )
        if kept:
            copies = PreparedCopy.objects.filter(item=item, source_etag=item.fingerprint_etag)
            copies.update(source_etag=facts.etag)
    if kept:
        item_status.settle(item.pk)
    else:
        enqueue.probe()


def may_pass(error: ProbeError | StorageError) -> bool:
    """Returns whether the access to the file failed, not the file itself."""
    if isinstance(error, StorageError):
        return not error.permanent
    return isinstance(error, NotReadableError)


def fault(item: MediaItem, words: str) -> None:
    """Writes a fault, unless the item was changed since it was read."""
    with transaction.atomic():
        if _unchanged(item).update(
            status=Status.FAULT,
            fault=words,
            # It is inspected anew, whatever name it returns with.
            fingerprint="",
            probe_claimed_at=None,
            probe_attempts=0,
        ):
            events.faults([item.pk], words)


def _unchanged(item: MediaItem) -> QuerySet[MediaItem]:
    """Returns the item's row, if its file is unchanged since the row was read."""
    same = _CLAIMS.mine(item).filter(etag=item.etag, missing_since=item.missing_since)
    if item.status in _UNINSPECTED:
        return same.filter(status=item.status)
    # Its other statuses depend on its copies.
    return same.exclude(status__in=_UNINSPECTED)


def strip_key(source: str, etag: str) -> str:
    """Returns the key of the thumbnails of that content."""
    return f"thumbnails/{hashlib.sha256(f'{source}{etag}'.encode()).hexdigest()[:32]}.jpg"


def _store_strip(source: str, etag: str, inspection: Inspection) -> str:
    """Stores the thumbnails and returns their key; empty without thumbnails."""
    if not inspection.strip:
        return ""
    key = strip_key(source, etag)
    with TemporaryDirectory(prefix="streamsite-look-") as folder:
        path = Path(folder) / "strip.jpg"
        path.write_bytes(inspection.strip)
        try:
            storage.upload(path, key)
        except StorageError as error:
            logger.warning("%s has no thumbnails: %s", source, error)
            return ""
    return key


# ---- the pool --------------------------------------------------------------------------------


def work() -> int:
    """Inspects new items for one turn, or until none is left; returns how many."""
    end = time.monotonic() + TURN_S
    inspected = 0
    give_up()
    while batch := _batch():
        if len(batch) > 1:
            # More workers, as far as there are slots.
            enqueue.probe()
        for pk in batch:
            if time.monotonic() > end:
                enqueue.probe()
                return inspected
            now = timezone.now()
            item = _CLAIMS.take(pk, now, _free(now), probe_attempts=F("probe_attempts") + 1)
            if item is None:
                continue
            inspected += 1
            if not _inspect_claimed(item):
                return inspected
    return inspected


def _free(now: datetime) -> Q:
    """An old claim counts as none: its worker is dead."""
    free = Q(probe_claimed_at=None) | Q(probe_claimed_at__lt=now - STALE_CLAIM_AGE)
    return free & Q(status=Status.NEW)


def _batch() -> list[int]:
    """Returns some items to inspect: those of playlists first."""
    waiting = MediaItem.objects.filter(_free(timezone.now()), probe_attempts__lt=MAX_ATTEMPTS)
    listed = waiting.filter(pk__in=PlaylistEntry.objects.values("item"))
    ids = listed.order_by("pk").values_list("pk", flat=True)[:BATCH_SIZE]
    return list(ids) or list(waiting.order_by("pk").values_list("pk", flat=True)[:BATCH_SIZE])


def _inspect_claimed(item: MediaItem) -> bool:
    """Inspects a claimed item. False: the storage can't be reached, so no other item can."""
    try:
        inspect_item(item, now=timezone.now())
    except (NotReadableError, StorageError) as error:
        # One unreadable file must not block the others.
        away = storage.unreachable()
        if away:
            logger.warning("The inspection of new items waits: %s", away)
            _CLAIMS.mine(item).update(
                probe_claimed_at=None, probe_attempts=F("probe_attempts") - 1
            )
            return False
        logger.warning("%s was not inspected: %s", item.key, error)
        if item.probe_attempts >= MAX_ATTEMPTS:
            fault(item, str(error))
        # Otherwise it is claimed again when its claim is stale, not in a loop now.
    return True


def give_up() -> None:
    """Gives a fault to items whose workers died too often."""
    limit = timezone.now() - STALE_CLAIM_AGE
    # A claim exists as long as attempts are counted, and has an index: millions may be new.
    stale_claims = MediaItem.objects.filter(status=Status.NEW, probe_claimed_at__lt=limit)
    words = (
        f"The worker that inspected it ended or stopped responding {MAX_ATTEMPTS} times: check "
        "the jobs' log; if the file is the cause, convert it to MP4 and upload it again."
    )
    with transaction.atomic():
        given_up = stale_claims.filter(probe_attempts__gte=MAX_ATTEMPTS)
        lost = list(given_up.values_list("pk", flat=True))
        given_up.filter(pk__in=lost).update(
            status=Status.FAULT, fault=words, probe_claimed_at=None, probe_attempts=0
        )
        events.faults(lost, words)
