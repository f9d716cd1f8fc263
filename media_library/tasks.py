"""The library's jobs on django-q2. The truth is in the rows: a lost message costs a minute."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from secrets import token_hex
from typing import Final

from django.conf import settings
from django.db.models import F
from django.utils import timezone

from media_library import actions, prepare, storage
from media_library.house import House
from media_library.location import LocalFile
from media_library.models import MediaItem, PreparedCopy
from media_library.prepare import PrepareError, TriedInVainError
from media_library.probe import ProbeError, probe
from media_library.storage import StorageError

logger = logging.getLogger(__name__)

#: A worker speaks at least every second while FFmpeg encodes; checking, up- and downloads are
#: silent for longer.
SILENT: Final = timedelta(minutes=15)
#: A copy that nobody took for so long: its message was lost, or the workers are busy.
UNTAKEN: Final = timedelta(minutes=1)
#: Messages one sweep sends again, so that a long queue is not doubled every minute.
RESENT: Final = 3
#: Tries of a copy whose worker died at it, before it is taken for the copy's fault.
DEATHS: Final = 3
#: Tries at what may pass (a full disk, a storage out of reach): five hours of them.
TRIES: Final = 10
#: The longest wait between them; it doubles from one minute.
LONGEST_WAIT: Final = timedelta(hours=1)
#: Seconds between two writes of the progress.
WRITE_EVERY: Final = 1.0


class ClaimLostError(Exception):
    """Another worker has the copy now, or it was deleted: this one stops."""


def probe_item(item_id: int) -> str:
    """Look into a file of the library."""
    item = MediaItem.objects.filter(pk=item_id).first()
    if item is None:
        return "The item is gone."
    actions.look_into(item, now=timezone.now())
    return item.fault or "Probed."


def prepare_item(copy_id: int) -> str:
    """Make a prepared copy, unless another worker is at it."""
    copies, claim = PreparedCopy.objects.filter(pk=copy_id), token_hex(16)
    now = timezone.now()
    if not copies.filter(status=PreparedCopy.Status.QUEUED).update(
        status=PreparedCopy.Status.RUNNING,
        claim=claim,
        claimed_at=now,
        heard_at=now,
        percent=0,
        attempts=F("attempts") + 1,
    ):
        return "Nothing to do: it is being made, is made, or is gone."
    copy = copies.select_related("item").get()
    MediaItem.objects.filter(pk=copy.item_id, status=MediaItem.Status.PROBED).update(
        status=MediaItem.Status.PREPARING
    )
    try:
        key, frames, etag = _make(copy, claim)
    except ClaimLostError:
        return "Another worker has it now."
    except (PrepareError, StorageError, ProbeError) as error:
        return _failed(copy, claim, error)
    mine = copies.filter(claim=claim, status=PreparedCopy.Status.RUNNING)
    if not mine.update(
        status=PreparedCopy.Status.READY,
        key=key,
        frames=frames,
        source_etag=etag,
        percent=100,
        fault="",
        claim="",
        made_at=timezone.now(),
    ):
        return "Another worker has it now."
    _settle(copy.item_id)
    return f"Ready: {frames} frames."


def _make(copy: PreparedCopy, claim: str) -> tuple[str, int, str]:
    """The copy's key, frames and the etag of what it was made from."""
    house = House.of(copy.house)
    tools = prepare.Tools(settings.FFMPEG_PATH, settings.FFPROBE_PATH)
    facts = storage.facts(copy.item.key)
    key = key_of(copy.item.key, facts.etag, house)
    with _workplace(claim) as folder:
        source = _at_hand(copy.item.key, folder)
        # Not the row: the file may be another one since it was looked into.
        found = probe(source, ffprobe=settings.FFPROBE_PATH, patience=120)
        target = folder / "copy.mp4"
        tell = _Heartbeat(copy.pk, claim)
        frames = prepare.conform(
            source, found, house, target, tools=tools, progress=lambda _stage, done: tell(done)
        ).frames
        storage.upload(target, key, consume=True)
    return key, frames, facts.etag


def key_of(source: str, etag: str, house: House) -> str:
    """Where the copy of that content in that house is kept."""
    content = hashlib.sha256(f"{source}\n{etag}".encode()).hexdigest()[:32]
    return f"prepared/{house.signature}/{content}.mp4"


@contextmanager
def _workplace(claim: str) -> Iterator[Path]:
    """A folder of this try alone. What a killed worker leaves behind, the sweep removes."""
    folder = settings.DATA_DIR / "work" / claim
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink(missing_ok=True)
    folder.rmdir()


def _at_hand(key: str, folder: Path) -> LocalFile:
    """The original on this machine: read once from end to end, it is best fetched whole."""
    location = storage.locate(key)
    if isinstance(location, LocalFile):
        return location
    target = folder / f"original{Path(key).suffix}"
    storage.download(key, target)
    return LocalFile(target)


class _Heartbeat:
    """Writes the progress, not too often; stops the work when the claim is another's."""

    def __init__(self, copy_id: int, claim: str) -> None:
        self._mine = PreparedCopy.objects.filter(
            pk=copy_id, claim=claim, status=PreparedCopy.Status.RUNNING
        )
        self._next = 0.0

    def __call__(self, percent: int) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + WRITE_EVERY
        if not self._mine.update(percent=percent, heard_at=timezone.now()):
            raise ClaimLostError


def _failed(copy: PreparedCopy, claim: str, error: Exception) -> str:
    passing = isinstance(error, TriedInVainError) or (
        isinstance(error, StorageError) and not error.permanent
    )
    again = passing and copy.attempts < TRIES
    PreparedCopy.objects.filter(pk=copy.pk, claim=claim).update(
        status=PreparedCopy.Status.QUEUED if again else PreparedCopy.Status.FAULT,
        queued_at=timezone.now() + min(UNTAKEN * 2**copy.attempts, LONGEST_WAIT) - UNTAKEN,
        claim="",
        fault=str(error),
    )
    # The item itself may still play: copied or transcoded on the way.
    _settle(copy.item_id)
    logger.warning("%s was not prepared: %s", copy.item.key, error)
    return str(error)


def _settle(item_id: int) -> None:
    """The item's status follows its copies."""
    copies = PreparedCopy.objects.filter(item=item_id)
    if copies.filter(status=PreparedCopy.Status.RUNNING).exists():
        return
    ready = copies.filter(status=PreparedCopy.Status.READY).exists()
    MediaItem.objects.filter(pk=item_id).exclude(status=MediaItem.Status.FAULT).update(
        status=MediaItem.Status.READY if ready else MediaItem.Status.PROBED
    )


def sweep_library() -> str:
    """Queue again what a worker left behind or a lost message never reached. Every minute."""
    now = timezone.now()
    running = PreparedCopy.objects.filter(status=PreparedCopy.Status.RUNNING)
    silent = running.filter(heard_at__lt=now - SILENT)
    gone = silent.filter(attempts__gte=DEATHS).update(
        status=PreparedCopy.Status.FAULT,
        claim="",
        fault=f"Its worker died {DEATHS} times at it: look at the jobs' log, then ask again.",
    )
    left = silent.update(status=PreparedCopy.Status.QUEUED, claim="", queued_at=now - UNTAKEN)
    untaken = PreparedCopy.objects.filter(
        status=PreparedCopy.Status.QUEUED, queued_at__lte=now - UNTAKEN
    ).order_by("queued_at", "pk")
    resent = list(untaken.values_list("pk", flat=True)[:RESENT])
    PreparedCopy.objects.filter(pk__in=resent).update(queued_at=now)
    for copy_id in resent:
        actions.enqueue(copy_id)
    _tidy()
    return f"{gone} given up, {left} left behind, {len(resent)} queued again."


def _tidy() -> None:
    """Remove the workplaces of tries that are over."""
    work = settings.DATA_DIR / "work"
    if not work.is_dir():
        return
    at_work = set(
        PreparedCopy.objects.filter(status=PreparedCopy.Status.RUNNING).values_list(
            "claim", flat=True
        )
    )
    for folder in work.iterdir():
        if folder.is_dir() and folder.name not in at_work:
            _remove(folder)
