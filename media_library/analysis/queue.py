"""Looking into the library's items: one at once, and a pool that takes up all new ones.

An item is taken up by a conditional update of its own row, so there is no queue to lose. One
that ends its worker every time is given up, in words.
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
from media_library.analysis.inspection import Seen, look
from media_library.conform.conform import Tools
from media_library.ffmpeg.probe import NotReadableError, ProbeError
from media_library.jobs import enqueue
from media_library.models import MediaItem, PlaylistEntry, PreparedCopy, item_status
from media_library.storage import StorageError

logger = logging.getLogger(__name__)

#: Seconds one task works; then another takes its turn.
TURN: Final = 240.0
#: A worker that has not come back from an item for so long is dead: a look is bounded by some
#: five minutes.
STALE: Final = timedelta(minutes=10)
#: Times an item is taken up before it is given up.
ATTEMPTS: Final = 3
#: Items found at a time.
BATCH: Final = 50

Status = MediaItem.Status
#: What nobody has looked into with success since it was added, changed or given up.
_UNSEEN: Final = (Status.NEW, Status.FAULT)


def look_at(item: MediaItem, *, now: datetime) -> None:
    """Read from the file what it is, and write it into the item's row, a lasting fault too.

    An item that was changed meanwhile is left as it is: by a sync that found it gone or newer,
    by another who looked. Where that made it new again, the pool looks.
    Raises `NotReadableError`, `StorageError` for what may pass; then nothing is written.
    """
    try:
        facts = storage.facts(item.key)

        def read(start: int, length: int) -> bytes:
            return storage.read(item.key, start, length, etag=facts.etag)

        content = fingerprint(facts.size_bytes, read) if facts.size_bytes else ""
        if _is_known(item, facts, content):
            _keep_known(item, facts, now)
            return
        seen = look(
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
    found = seen.probe
    if not _as_it_was(item).update(
        status=Status.PROBED,
        fault="",
        size_bytes=facts.size_bytes,
        etag=facts.etag,
        fingerprint=content,
        fingerprint_etag=facts.etag,
        duration_seconds=None if found.seconds is None else float(found.seconds),
        width=found.width,
        height=found.height,
        fps="" if found.fps is None else str(found.fps)[:24],
        video_codec=found.video_codec[:32],
        pixel_format=found.pixel_format[:32],
        audio_codec=found.audio_codec[:32],
        sample_rate=found.sample_rate or None,
        channels=found.channels or None,
        reorder=found.reorder,
        turned=found.turned,
        trimmed=found.trimmed,
        colour=found.colour[:32],
        loudness_lufs=seen.loudness,
        keyframe_seconds=seen.keyframe_seconds,
        index=seen.index,
        thumbnails=_stored(item.key, facts.etag, seen),
        probed_at=now,
        probe_claimed_at=None,
        probe_attempts=0,
        # It is there: it was read.
        misses=0,
        missing_since=None,
    ):
        logger.info("%s was changed while it was looked into.", item.key)
        enqueue.probe()
        return
    item_status.settle(item.pk)
    if item.copies.filter(status=PreparedCopy.Status.QUEUED).exists():
        # They waited for this.
        enqueue.prepare()


def _is_known(item: MediaItem, facts: storage.Facts, content: str) -> bool:
    """Whether the content was inspected before, under another etag."""
    inspected = item.duration_seconds is not None and item.video_codec
    renamed = item.fingerprint_etag != facts.etag
    return bool(inspected and renamed and content and item.fingerprint == content)


def _keep_known(item: MediaItem, facts: storage.Facts, now: datetime) -> None:
    """What was inspected and prepared of the content holds for its new etag too."""
    with transaction.atomic():
        kept = _as_it_was(item).update(
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
    """Whether it is the way to the file that failed, not the file."""
    if isinstance(error, StorageError):
        return not error.permanent
    return isinstance(error, NotReadableError)


def fault(item: MediaItem, words: str) -> None:
    """The item can't be played, and why, unless it was changed since it was read."""
    with transaction.atomic():
        if _as_it_was(item).update(
            status=Status.FAULT,
            fault=words,
            # Under whatever name it comes again, it is inspected anew.
            fingerprint="",
            probe_claimed_at=None,
            probe_attempts=0,
        ):
            events.faults([item.pk], words)


def _as_it_was(item: MediaItem) -> QuerySet[MediaItem]:
    """The item's row, if it says still of the file what it said when it was read."""
    same = MediaItem.objects.filter(
        pk=item.pk,
        etag=item.etag,
        missing_since=item.missing_since,
        probe_claimed_at=item.probe_claimed_at,
    )
    if item.status in _UNSEEN:
        return same.filter(status=item.status)
    # Which of the others it is follows its copies.
    return same.exclude(status__in=_UNSEEN)


def strip_key(source: str, etag: str) -> str:
    """Where the pictures of that content are kept."""
    return f"thumbnails/{hashlib.sha256(f'{source}{etag}'.encode()).hexdigest()[:32]}.jpg"


def _stored(source: str, etag: str, seen: Seen) -> str:
    """Store the pictures, and return their key; empty where there are none."""
    if not seen.strip:
        return ""
    key = strip_key(source, etag)
    with TemporaryDirectory(prefix="streamsite-look-") as folder:
        path = Path(folder) / "strip.jpg"
        path.write_bytes(seen.strip)
        try:
            storage.upload(path, key)
        except StorageError as error:
            logger.warning("%s has no thumbnails: %s", source, error)
            return ""
    return key


# ---- the pool --------------------------------------------------------------------------------


def work() -> int:
    """Look into new items for a turn, or until none is left; returns how many."""
    end = time.monotonic() + TURN
    looked = 0
    _give_up()
    while batch := _batch():
        if len(batch) > 1:
            # Help, as far as there are places.
            enqueue.probe()
        for pk in batch:
            if time.monotonic() > end:
                enqueue.probe()
                return looked
            item = _claimed(pk)
            if item is None:
                continue
            looked += 1
            if not _looked(item):
                return looked
    return looked


def _waiting() -> QuerySet[MediaItem]:
    """Items nobody is at. One taken up long ago counts: its worker is dead."""
    free = Q(probe_claimed_at=None) | Q(probe_claimed_at__lt=timezone.now() - STALE)
    return MediaItem.objects.filter(free, status=Status.NEW)


def _batch() -> list[int]:
    """Some items to look into: those of playlists first."""
    waiting = _waiting().filter(probe_attempts__lt=ATTEMPTS)
    listed = waiting.filter(pk__in=PlaylistEntry.objects.values("item"))
    found = listed.order_by("pk").values_list("pk", flat=True)[:BATCH]
    return list(found) or list(waiting.order_by("pk").values_list("pk", flat=True)[:BATCH])


def _claimed(pk: int) -> MediaItem | None:
    """The item, taken up; None where another worker was first."""
    now = timezone.now()
    taken = (
        _waiting()
        .filter(pk=pk)
        .update(probe_claimed_at=now, probe_attempts=F("probe_attempts") + 1)
    )
    mine = MediaItem.objects.filter(pk=pk, status=Status.NEW, probe_claimed_at=now)
    return mine.first() if taken else None


def _looked(item: MediaItem) -> bool:
    """Look into a claimed item. False: the storage is out of reach, so all the others are."""
    try:
        look_at(item, now=timezone.now())
    except (NotReadableError, StorageError) as error:
        # One file may be out of reach alone, and must not hold up the others.
        away = storage.unreachable()
        mine = MediaItem.objects.filter(
            pk=item.pk, status=Status.NEW, probe_claimed_at=item.probe_claimed_at
        )
        if away:
            logger.warning("Looking into new items waits: %s", away)
            mine.update(probe_claimed_at=None, probe_attempts=F("probe_attempts") - 1)
            return False
        logger.warning("%s was not looked into: %s", item.key, error)
        if item.probe_attempts >= ATTEMPTS:
            fault(item, str(error))
        # Otherwise it is taken up again when its claim is stale, not over and over now.
    return True


def _give_up() -> None:
    """Items whose workers died, time after time."""
    stale = timezone.now() - STALE
    # A claim stands as long as attempts are counted, and has an index: millions may be new.
    left = MediaItem.objects.filter(status=Status.NEW, probe_claimed_at__lt=stale)
    words = (
        f"The worker that looked into it ended or fell silent {ATTEMPTS} times: look at the "
        "jobs' log; if the file is the cause, convert it to MP4 and upload it again."
    )
    with transaction.atomic():
        given_up = left.filter(probe_attempts__gte=ATTEMPTS)
        lost = list(given_up.values_list("pk", flat=True))
        given_up.filter(pk__in=lost).update(
            status=Status.FAULT, fault=words, probe_claimed_at=None, probe_attempts=0
        )
        events.faults(lost, words)
