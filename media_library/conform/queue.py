"""Making prepared copies: which comes next, one worker's work at it, and what dead ones leave.

A copy is taken by a conditional update that writes a claim of this try alone. Whoever takes the
claim away, by cancelling or because the worker was silent, stops the work within a second.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from secrets import token_hex
from typing import Final

from django.conf import settings
from django.db import connections
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from media_library import storage
from media_library.conform import conform
from media_library.conform.conform import PrepareError, Stage, TriedInVainError
from media_library.conform.progress import overall
from media_library.conform.workdir import workplace
from media_library.ffmpeg.probe import ProbeError, probe
from media_library.house_format import HouseFormat
from media_library.jobs import enqueue
from media_library.jobs.db_retry import SignsOfLife, insist
from media_library.jobs.shutdown import given_back
from media_library.location import LocalFile
from media_library.models import MediaItem, PreparedCopy, item_status
from media_library.storage import ChangedError, NotInStorageError, StorageError

logger = logging.getLogger(__name__)

Status = PreparedCopy.Status

#: A worker speaks every second; only a look into the original keeps it silent for minutes.
SILENT: Final = timedelta(minutes=6)
#: Tries of a copy whose worker died at it, before it is taken for the copy's fault.
DEATHS: Final = 3
#: Tries at what may pass (a full disk, a storage out of reach): five hours of them.
TRIES: Final = 10
#: The shortest and the longest wait between them; it doubles.
SHORTEST_WAIT: Final = timedelta(minutes=1)
LONGEST_WAIT: Final = timedelta(hours=1)
#: Seconds between two writes of the progress, which also tell whether the copy is still ours.
WRITE_EVERY: Final = 0.7
#: Seconds between two signs of life while the storage takes the copy.
BEAT_EVERY: Final = 20.0
#: Seconds between the tries to store a finished copy: three quarters of an hour in all.
STORE_AGAIN: Final = (15.0, 60.0, 240.0, 600.0, 900.0, 900.0)
#: Bytes of the original fetched at a time.
PIECE: Final = 8 << 20


class ClaimLostError(Exception):
    """It was cancelled, or another worker has the copy now: this one stops."""


class OriginalChangedError(Exception):
    """The file is not the one that was looked into."""


class LogoMissingError(PrepareError):
    """The picture that the house burns in is not in the storage."""


# ---- what comes next -------------------------------------------------------------------------


def waiting() -> QuerySet[PreparedCopy]:
    """Copies that can be made now, the most urgent first.

    What failed for a passing reason waits its time; a new item waits until it is looked into.
    """
    due = Q(queued_at=None) | Q(queued_at__lte=timezone.now())
    unfit = [MediaItem.Status.NEW, MediaItem.Status.FAULT]
    queued = PreparedCopy.objects.filter(due, status=Status.QUEUED)
    return queued.exclude(item__status__in=unfit).order_by(
        F("due_at").asc(nulls_last=True), "queued_at", "pk"
    )


def take_next() -> PreparedCopy | None:
    """The most urgent copy, claimed; None where nothing is waiting."""
    while (pk := waiting().values_list("pk", flat=True).first()) is not None:
        if (copy := take(pk)) is not None:
            return copy
    return None


def take(copy_id: int) -> PreparedCopy | None:
    """That copy, claimed; None where it is not queued any more."""
    claim, now = token_hex(16), timezone.now()
    taken = PreparedCopy.objects.filter(pk=copy_id, status=Status.QUEUED).update(
        status=Status.RUNNING,
        claim=claim,
        claimed_at=now,
        heard_at=now,
        percent=0,
        stage="",
        attempts=F("attempts") + 1,
    )
    if not taken:
        return None
    mine = PreparedCopy.objects.filter(pk=copy_id, claim=claim).select_related("item")
    copy = mine.first()
    if copy is not None:
        item_status.settle(copy.item_id)
    return copy


# ---- one worker's work -----------------------------------------------------------------------


def make(copy: PreparedCopy) -> str:
    """Make a claimed copy; returns what became of it, in words."""
    with given_back(lambda: _give_back(copy)):
        return _work(copy)


def _work(copy: PreparedCopy) -> str:
    try:
        key, made, etag = _made(copy)
    except ClaimLostError:
        return "Stopped: it was cancelled, or another worker has it now."
    except (OriginalChangedError, ChangedError):
        return _look_again(copy)
    except (PrepareError, StorageError, ProbeError) as error:
        return _failed(copy, error)
    except OSError as error:
        # Its folder: no room, no right to it, or swept away because the claim is lost.
        return _failed(
            copy,
            TriedInVainError(
                f"{settings.DATA_DIR / 'work'} can't be used: {error.strerror or error}. Make "
                "room there."
            ),
        )
    ready = insist(
        copy.item.key,
        lambda: _mine(copy).update(
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
    # Before anything is made of `ready`: it may have been written by a try that got no answer.
    insist(copy.item.key, lambda: item_status.settle(copy.item_id))
    if not ready:
        _discard(copy, key)
        return "Stopped: it was cancelled, or another worker has it now."
    return f"Ready: {made.frames} frames."


def _mine(copy: PreparedCopy) -> QuerySet[PreparedCopy]:
    return PreparedCopy.objects.filter(pk=copy.pk, claim=copy.claim, status=Status.RUNNING)


def _made(copy: PreparedCopy) -> tuple[str, conform.Copy, str]:
    """The copy's key, what it is, and the etag of what it was made from."""
    house, item = HouseFormat.of(copy.house), copy.item
    tools = conform.Tools(settings.FFMPEG_PATH, settings.FFPROBE_PATH)
    facts = storage.facts(item.key)
    if facts.etag != item.etag:
        raise OriginalChangedError
    key = key_of(item.key, facts.etag, house)
    at_hand = isinstance(storage.locate(item.key), LocalFile)
    tell = _Heartbeat(copy, fetched=not at_hand)
    with workplace(copy.claim) as folder:
        if (kept := _kept(key, copy, folder, tools, tell)) is not None:
            return key, kept, facts.etag
        source = _fetched(item.key, facts, folder, tell)
        # Not the row: it may have been written by an older version of this program.
        found = probe(source, ffprobe=settings.FFPROBE_PATH, patience=120)
        target = folder / "copy.mp4"
        made = conform.conform(
            source,
            found,
            house,
            target,
            tools=tools,
            logo=_logo(house, folder),
            progress=tell,
        )
        _store(target, key, tell)
    return key, made, facts.etag


def _kept(
    key: str, copy: PreparedCopy, folder: Path, tools: conform.Tools, tell: _Heartbeat
) -> conform.Copy | None:
    """The copy that the storage has already, of another database or an earlier life of this.

    None where there is none, or one that is not as it should be.
    """
    if (known := copy.item.probe) is None:
        return None
    try:
        facts = storage.facts(key)
    except NotInStorageError:
        return None
    at_hand = _fetched(key, facts, folder, tell)
    found = conform.inspect(
        at_hand, known, HouseFormat.of(copy.house), tools=tools, progress=tell
    )
    logger.info("%s %s", key, "is made again." if found is None else "was there already.")
    return found


def key_of(source: str, etag: str, house: HouseFormat) -> str:
    """Where the copy of that content in that house is kept."""
    content = hashlib.sha256(f"{source}\n{etag}".encode()).hexdigest()[:32]
    return f"prepared/{house.signature}/{content}.mp4"


def _fetched(key: str, facts: storage.Facts, folder: Path, tell: _Heartbeat) -> LocalFile:
    """The original on this machine: read from end to end twice, it is fetched whole."""
    location = storage.locate(key)
    if isinstance(location, LocalFile):
        return location
    target = folder / f"original{Path(key).suffix[:16]}"
    try:
        with target.open("wb") as file:
            while (at := file.tell()) < facts.size_bytes:
                tell(Stage.FETCHING, 100 * at // facts.size_bytes)
                piece = storage.read(key, at, PIECE, etag=facts.etag)
                if not piece:
                    raise TriedInVainError(f"The storage gave {at:,} bytes of {key}, no more.")
                file.write(piece)
    except OSError as error:
        raise TriedInVainError(
            f"The original can't be fetched: {error.strerror}. Make room."
        ) from None
    return LocalFile(target)


def _logo(house: HouseFormat, folder: Path) -> Path | None:
    if house.logo is None:
        return None
    target = folder / "logo.png"
    try:
        storage.download(house.logo.key, target)
    except NotInStorageError:
        raise LogoMissingError(
            "The channel's logo is not in the storage: upload it again in the channel's form."
        ) from None
    return target


def _store(copy: Path, key: str, tell: _Heartbeat) -> None:
    """Store the finished copy and see that all of it is there."""
    tell(Stage.STORING, 0)
    size = copy.stat().st_size
    with _beating(tell) as stopped:

        def piece(_bytes: int) -> None:
            # Called by the transfer's threads: what is raised ends the transfer.
            if stopped.is_set():
                raise ClaimLostError

        for wait in (*STORE_AGAIN, None):
            try:
                storage.upload(copy, key, consume=True, progress=piece)
                break
            except StorageError as error:
                if error.permanent or wait is None:
                    raise
                # Hours of encoding may lie in it: they are not thrown away for a bad minute.
                logger.warning("%s waits for the storage: %s", key, error)
                if stopped.wait(wait):
                    raise ClaimLostError from None
    kept = storage.facts(key).size_bytes
    if kept != size:
        storage.delete(key)
        raise TriedInVainError(f"The storage kept {kept:,} of the copy's {size:,} bytes.")


@contextmanager
def _beating(tell: _Heartbeat) -> Iterator[threading.Event]:
    """Signs of life from a thread while this one waits; the event says that all is in vain."""
    done, stopped = threading.Event(), threading.Event()

    def beat() -> None:
        try:
            while not done.wait(BEAT_EVERY):
                tell(Stage.STORING, 50)
        except ClaimLostError:
            stopped.set()
        finally:
            connections.close_all()

    thread = threading.Thread(target=beat, name="heartbeat")
    thread.start()
    try:
        yield stopped
    finally:
        done.set()
        thread.join()


class _Heartbeat:
    """Writes the progress, not too often; stops the work when the claim is lost."""

    def __init__(self, copy: PreparedCopy, *, fetched: bool) -> None:
        self._mine = _mine(copy)
        self._signs = SignsOfLife(copy.item.key)
        self._fetched = fetched
        self._next = 0.0
        self._percent = 0

    def __call__(self, stage: Stage, percent: int) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + WRITE_EVERY
        # A second try at the sound goes back a stage; what people see does not.
        self._percent = max(self._percent, overall(stage, percent, fetched=self._fetched))
        self._signs.give(lambda: self._write(stage))

    def _write(self, stage: Stage) -> None:
        if not self._mine.update(
            percent=self._percent, stage=stage.value, heard_at=timezone.now()
        ):
            raise ClaimLostError


def _failed(copy: PreparedCopy, error: Exception) -> str:
    passing = isinstance(error, TriedInVainError) or (
        isinstance(error, StorageError) and not error.permanent
    )
    again = passing and copy.attempts < TRIES
    wait = min(SHORTEST_WAIT * 2 ** (copy.attempts - 1), LONGEST_WAIT)
    due_at = timezone.now() + wait
    fault = str(error)
    if again:
        fault = f"{error} It is tried again at {timezone.localtime(due_at):%H:%M}."
    elif passing:
        fault = f"{error} It was tried {copy.attempts} times and is not tried again by itself."
    _mine(copy).update(
        status=Status.QUEUED if again else Status.FAULT,
        queued_at=due_at,
        claim="",
        stage="",
        fault=fault,
    )
    # The item itself may still play: copied or transcoded on the way.
    item_status.settle(copy.item_id)
    logger.warning("%s was not prepared: %s", copy.item.key, error)
    return fault


def _give_back(copy: PreparedCopy) -> None:
    """It was begun in vain, which is no try; it keeps its place among those that wait."""
    _mine(copy).update(status=Status.QUEUED, claim="", stage="", attempts=F("attempts") - 1)


def _look_again(copy: PreparedCopy) -> str:
    """The storage has another file there than the one that was looked into."""
    _mine(copy).update(
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
    return "The original was changed: it is looked into first."


def _discard(copy: PreparedCopy, key: str) -> None:
    """Remove from the storage what was cancelled when it was nearly done."""
    status = PreparedCopy.objects.filter(pk=copy.pk).values_list("status", flat=True).first()
    # Where another worker is at it, it will write the same key.
    if status in {None, Status.CANCELLED}:
        try:
            storage.delete(key)
        except StorageError as error:
            logger.warning("%s was cancelled, but is in the storage: %s", key, error)


# ---- what dead workers leave -----------------------------------------------------------------


def recover() -> tuple[int, int]:
    """Queue again what silent workers had; returns how many were given up, and queued again."""
    now = timezone.now()
    gone = left = 0
    silent = PreparedCopy.objects.filter(status=Status.RUNNING, heard_at__lt=now - SILENT)
    for copy in silent.only("item_id", "claim", "deaths"):
        last = copy.deaths + 1 >= DEATHS
        fault = (
            f"Its worker ended or fell silent {DEATHS} times at it: look at the jobs' log, "
            "then ask again."
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
