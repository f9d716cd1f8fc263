"""Prepared copies: the queue, one worker's work at a copy, and recovery of dead workers.

A copy is claimed by a conditional update that writes a claim for this try alone. Removing the
claim, by cancelling or because the worker was silent, stops the work within a second.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import timedelta
from pathlib import Path
from secrets import token_hex
from typing import Final

from django.conf import settings
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from media_library import storage
from media_library.conform import conform
from media_library.conform.conform import PrepareError, Stage, TransientError
from media_library.conform.progress import overall
from media_library.conform.workdir import work_folder
from media_library.ffmpeg.probe import ProbeError, probe
from media_library.house_format import HouseFormat
from media_library.jobs import enqueue
from media_library.jobs.shutdown import requeued_on_stop
from media_library.location import LocalFile
from media_library.models import MediaItem, PreparedCopy, item_status
from media_library.storage import ChangedError, NotInStorageError, StorageError
from streamsite.processes import claims
from streamsite.processes.claims import (
    Background,
    ClaimLostError,
    Claims,
    Heartbeat,
    given_up_sentence,
    retry_sentence,
    retry_write,
)

logger = logging.getLogger(__name__)

Status = PreparedCopy.Status
_CLAIMS: Final = Claims(PreparedCopy, "claim", related=("item",))

#: A worker writes every second; only the inspection of the original takes minutes in silence.
HEARTBEAT_TIMEOUT: Final = timedelta(minutes=6)
#: Deaths of a copy's workers after which the copy itself is at fault.
MAX_DEATHS: Final = 3
#: Tries after temporary errors (a full disk, an unreachable storage): five hours of them.
MAX_TRIES: Final = 10
#: The minimum and maximum delay between them; it doubles.
MIN_RETRY_DELAY: Final = timedelta(minutes=1)
MAX_RETRY_DELAY: Final = timedelta(hours=1)
#: Seconds between two writes of the progress, which also check the claim.
PROGRESS_INTERVAL_S: Final = 0.7
#: Seconds between two heartbeats while the copy is uploaded.
HEARTBEAT_INTERVAL_S: Final = 20.0
#: Seconds between the tries to store a finished copy: three quarters of an hour in total.
STORE_RETRIES_S: Final = (15.0, 60.0, 240.0, 600.0, 900.0, 900.0)
#: Bytes of the original per request.
PIECE_BYTES: Final = 8 << 20


class OriginalChangedError(Exception):
    """The file differs from the inspected one."""


class LogoMissingError(PrepareError):
    """The house format's logo is not in the storage."""


# ---- the queue -------------------------------------------------------------------------------


def waiting() -> QuerySet[PreparedCopy]:
    """Returns copies that can be made now, the most urgent first.

    After a temporary error a copy waits; a copy of a new item waits for the inspection.
    """
    due = Q(queued_at=None) | Q(queued_at__lte=timezone.now())
    unfit = [MediaItem.Status.NEW, MediaItem.Status.FAULT]
    queued = PreparedCopy.objects.filter(due, status=Status.QUEUED)
    return queued.exclude(item__status__in=unfit).order_by(
        F("due_at").asc(nulls_last=True), "queued_at", "pk"
    )


def take_next() -> PreparedCopy | None:
    """Claims the most urgent copy; None if none is waiting."""
    return claims.take_next(waiting, take)


def take(copy_id: int) -> PreparedCopy | None:
    """Claims that copy; None if it is not queued any more."""
    now = timezone.now()
    copy = _CLAIMS.take(
        copy_id,
        token_hex(16),
        Q(status=Status.QUEUED),
        status=Status.RUNNING,
        claimed_at=now,
        heartbeat_at=now,
        percent=0,
        stage="",
        attempts=F("attempts") + 1,
    )
    if copy is not None:
        item_status.settle(copy.item_id)
    return copy


# ---- one worker's work -----------------------------------------------------------------------


def make(copy: PreparedCopy) -> str:
    """Makes a claimed copy; returns the result as a sentence."""
    with requeued_on_stop(lambda: _requeue(copy)):
        return _work(copy)


def _work(copy: PreparedCopy) -> str:
    try:
        key, made, etag = _made(copy)
    except ClaimLostError:
        return "Stopped: it was cancelled, or another worker has it now."
    except (OriginalChangedError, ChangedError):
        return _requeue_for_inspection(copy)
    except (PrepareError, StorageError, ProbeError) as error:
        return _failed(copy, error)
    except OSError as error:
        # Its folder: no space, no permission, or removed because the claim is lost.
        return _failed(
            copy,
            TransientError(
                f"{settings.DATA_DIR / 'work'} can't be used: {error.strerror or error}. Free "
                "some space there."
            ),
        )
    ready = retry_write(
        copy.item.key,
        lambda: _CLAIMS.mine(copy).update(
            status=Status.READY,
            key=key,
            frames=made.frames,
            loudness_lufs=made.loudness,
            source_etag=etag,
            percent=100,
            stage="",
            fault="",
            claim="",
            made_at=timezone.now(),
        ),
    )
    # Before `ready` is used: the write may have succeeded in a try that got no answer.
    retry_write(copy.item.key, lambda: item_status.settle(copy.item_id))
    if not ready:
        _discard(copy, key)
        return "Stopped: it was cancelled, or another worker has it now."
    return f"Ready: {made.frames} frames."


def _made(copy: PreparedCopy) -> tuple[str, conform.Copy, str]:
    """Returns the copy's key, its properties, and the etag of its original."""
    house_format, item = HouseFormat.of(copy.house_format), copy.item
    tools = conform.Tools(settings.FFMPEG_PATH, settings.FFPROBE_PATH)
    facts = storage.facts(item.key)
    if facts.etag != item.etag:
        raise OriginalChangedError
    key = key_of(item.key, facts.etag, house_format)
    at_hand = isinstance(storage.locate(item.key), LocalFile)
    progress = _Progress(copy, fetched=not at_hand)
    with work_folder(copy.claim) as folder:
        if (kept := _kept(key, copy, folder, tools, progress)) is not None:
            return key, kept, facts.etag
        source = _fetched(item.key, facts, folder, progress)
        # Not the row: an older version of this program may have written it.
        probed = probe(source, ffprobe=settings.FFPROBE_PATH, timeout_s=120)
        target = folder / "copy.mp4"
        made = conform.conform(
            source,
            probed,
            house_format,
            target,
            tools=tools,
            logo=_logo(house_format, folder),
            progress=progress,
        )
        _store(target, key, progress)
    return key, made, facts.etag


def _kept(
    key: str, copy: PreparedCopy, folder: Path, tools: conform.Tools, progress: _Progress
) -> conform.Copy | None:
    """Returns the copy that the storage already has, from another or an earlier database.

    None if there is none, or if it is not as it should be.
    """
    if (probed := copy.item.probe) is None:
        return None
    try:
        facts = storage.facts(key)
    except NotInStorageError:
        return None
    at_hand = _fetched(key, facts, folder, progress)
    inspected = conform.inspect(
        at_hand, probed, HouseFormat.of(copy.house_format), tools=tools, progress=progress
    )
    logger.info("%s %s", key, "is made again." if inspected is None else "exists already.")
    return inspected


def key_of(source: str, etag: str, house_format: HouseFormat) -> str:
    """Returns the key of the copy of that content in that house format."""
    content = hashlib.sha256(f"{source}\n{etag}".encode()).hexdigest()[:32]
    return f"prepared/{house_format.signature}/{content}.mp4"


def _fetched(key: str, facts: storage.Facts, folder: Path, progress: _Progress) -> LocalFile:
    """Downloads the original, because it is read completely, twice."""
    location = storage.locate(key)
    if isinstance(location, LocalFile):
        return location
    target = folder / f"original{Path(key).suffix[:16]}"
    try:
        with target.open("wb") as file:
            while (at := file.tell()) < facts.size_bytes:
                progress(Stage.FETCHING, 100 * at // facts.size_bytes)
                piece = storage.read(key, at, PIECE_BYTES, etag=facts.etag)
                if not piece:
                    raise TransientError(f"The storage returned only {at:,} bytes of {key}.")
                file.write(piece)
    except OSError as error:
        raise TransientError(
            f"The original can't be downloaded: {error.strerror}. Free some space."
        ) from None
    return LocalFile(target)


def _logo(house_format: HouseFormat, folder: Path) -> Path | None:
    if house_format.logo is None:
        return None
    target = folder / "logo.png"
    try:
        storage.download(house_format.logo.key, target)
    except NotInStorageError:
        raise LogoMissingError(
            "The channel's logo is not in the storage: upload it again in the channel's form."
        ) from None
    return target


def _store(copy: Path, key: str, progress: _Progress) -> None:
    """Stores the finished copy and checks its size."""
    progress(Stage.STORING, 0)
    size = copy.stat().st_size
    with Background(lambda: progress(Stage.STORING, 50), HEARTBEAT_INTERVAL_S) as background:
        for wait in (*STORE_RETRIES_S, None):
            try:
                # Called by the transfer's threads: an exception ends the transfer.
                storage.upload(
                    copy, key, consume=True, progress=lambda _bytes: background.check()
                )
                break
            except StorageError as error:
                if error.permanent or wait is None:
                    raise
                # Hours of encoding may be in it: a short outage must not discard them.
                logger.warning("%s waits for the storage: %s", key, error)
                background.wait(wait)
    kept = storage.facts(key).size_bytes
    if kept != size:
        storage.delete(key)
        raise TransientError(f"The storage kept {kept:,} of the copy's {size:,} bytes.")


class _Progress:
    """Writes the progress, not too often; stops the work when the claim is lost."""

    def __init__(self, copy: PreparedCopy, *, fetched: bool) -> None:
        self._heartbeat = Heartbeat(_CLAIMS.mine(copy), copy.item.key, PROGRESS_INTERVAL_S)
        self._fetched = fetched
        self._percent = 0

    def __call__(self, stage: Stage, percent: int) -> None:
        # A second trial of the audio goes back a stage; the displayed percentage does not.
        self._percent = max(self._percent, overall(stage, percent, fetched=self._fetched))
        self._heartbeat.columns = {"percent": self._percent, "stage": stage.value}
        self._heartbeat.send()


def _failed(copy: PreparedCopy, error: Exception) -> str:
    passing = isinstance(error, TransientError) or (
        isinstance(error, StorageError) and not error.permanent
    )
    again = passing and copy.attempts < MAX_TRIES
    wait = min(MIN_RETRY_DELAY * 2 ** (copy.attempts - 1), MAX_RETRY_DELAY)
    due_at = timezone.now() + wait
    fault = str(error)
    if again:
        fault = f"{error} {retry_sentence(due_at)}"
    elif passing:
        fault = f"{error} {given_up_sentence(copy.attempts)}"
    _CLAIMS.mine(copy).update(
        status=Status.QUEUED if again else Status.FAULT,
        queued_at=due_at,
        claim="",
        stage="",
        fault=fault,
    )
    # The item may still play: copied or transcoded by the player.
    item_status.settle(copy.item_id)
    logger.warning("%s was not prepared: %s", copy.item.key, error)
    return fault


def _requeue(copy: PreparedCopy) -> None:
    """Requeues the copy: the aborted try does not count, and it keeps its place."""
    _CLAIMS.mine(copy).update(
        status=Status.QUEUED, claim="", stage="", attempts=F("attempts") - 1
    )


def _requeue_for_inspection(copy: PreparedCopy) -> str:
    """Requeues the copy behind a new inspection, because the original has changed."""
    _CLAIMS.mine(copy).update(
        status=Status.QUEUED,
        queued_at=timezone.now(),
        claim="",
        stage="",
        attempts=0,
        deaths=0,
    )
    changed = MediaItem.objects.filter(pk=copy.item_id, etag=copy.item.etag)
    changed.exclude(status=MediaItem.Status.FAULT).update(
        status=MediaItem.Status.NEW, probed_at=None, probe_claimed_at=None, probe_attempts=0
    )
    enqueue.probe()
    return "The original was changed: it is inspected first."


def _discard(copy: PreparedCopy, key: str) -> None:
    """Removes a copy from the storage that was cancelled when it was nearly finished."""
    status = PreparedCopy.objects.filter(pk=copy.pk).values_list("status", flat=True).first()
    # If another worker has it, that one writes the same key.
    if status in {None, Status.CANCELLED}:
        try:
            storage.delete(key)
        except StorageError as error:
            logger.warning("%s was cancelled, but is in the storage: %s", key, error)


# ---- recovery of dead workers ----------------------------------------------------------------


def recover() -> tuple[int, int]:
    """Requeues the copies of silent workers; returns how many got a fault and how many wait."""
    now = timezone.now()
    gone = left = 0
    silent = PreparedCopy.objects.filter(
        status=Status.RUNNING, heartbeat_at__lt=now - HEARTBEAT_TIMEOUT
    )
    for copy in silent.only("item_id", "claim", "deaths"):
        last = copy.deaths + 1 >= MAX_DEATHS
        fault = (
            f"Its worker ended or stopped responding {MAX_DEATHS} times: check the jobs' log, "
            "then try again."
        )
        changed = silent.filter(pk=copy.pk, claim=copy.claim).update(
            status=Status.FAULT if last else Status.QUEUED,
            claim="",
            stage="",
            queued_at=now,
            deaths=F("deaths") + 1,
            **({"fault": fault} if last else {}),
        )
        item_status.settle(copy.item_id)
        gone += changed * last
        left += changed * (not last)
    return gone, left
