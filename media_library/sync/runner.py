"""The storage compared with the library, and the library brought up to it.

A run's life: RUNNING (made, claimed by a worker, listed, its absences settled), then DONE,
BRAKED or FAILED. The worker writes its cursor with every batch, so a run whose worker died goes
on where it was, by whoever starts the next one. Nothing is ever deleted.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import psutil
import structlog
from django.conf import settings
from django.db import (
    DatabaseError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    connection,
    transaction,
)
from django.utils import timezone

from media_library import storage
from media_library.models import SyncRun
from media_library.storage import StorageError
from media_library.storage.keys import LEFT_OUT, is_media
from media_library.storage.list_objects import Listed
from media_library.sync import rows as sync_rows
from media_library.sync.diff import Row, Verdict, brake, compare
from media_library.sync.rows import MOST_WRITES, Batch, ClaimLostError
from streamsite.processes.task_queue import enqueue

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: A worker that gave no sign of life for so long is taken for dead.
SILENT: Final = timedelta(minutes=2)
#: A run that was left for longer is not resumed: what it listed says little of today.
RESUMABLE: Final = timedelta(hours=6)
#: Rows compared before the cursor is written, when there is little else to write.
MOST_COMPARED: Final = 20_000
#: Seconds between two signs of life, and looks at the clock in objects.
TELL_EVERY: Final = 1.0
LOOK_EVERY: Final = 256
#: Differences kept to be shown, and of these what is no media at all.
SHOWN: Final = 100
SHOWN_LEFT_OUT: Final = 10
#: After a sync that saw files grow, the next one.
GROWN_AFTER: Final = timedelta(seconds=45)
#: Runs older than this are removed.
KEPT: Final = timedelta(days=90)

Lister = Callable[[str], Iterator[Listed]]


class SyncError(Exception):
    """One runs already. `str()` of it is a sentence for the operator."""


# ---- starting --------------------------------------------------------------------------------


def start(*, by: str = "", dry: bool = False, accept_gone: bool = False) -> SyncRun:
    """Make the run, or take up one that was left, and hand it to the jobs cluster.

    Raises `SyncError`.
    """
    run = prepare(by=by, dry=dry, accept_gone=accept_gone)
    # timeout=-1: no end. A bucket of millions is listed at 7,000 objects a second.
    transaction.on_commit(lambda: enqueue("media_library.sync.runner.work", run.pk, timeout=-1))
    return run


def prepare(*, by: str = "", dry: bool = False, accept_gone: bool = False) -> SyncRun:
    """The run that the next worker takes: a new one, or the one that was left unfinished."""
    for left in SyncRun.objects.filter(status=SyncRun.Status.RUNNING):
        if not _is_left(left):
            raise SyncError(
                f"A sync has been running since {timezone.localtime(left.started_at):%H:%M}: "
                "wait for its end."
            )
        if left.dry == dry and left.heard_at > timezone.now() - RESUMABLE:
            return _take_up(left, accept_gone=accept_gone)
        _end(left, SyncRun.Status.FAILED, "It was left unfinished: a new one was begun.")
    try:
        with transaction.atomic():
            return SyncRun.objects.create(
                started_by=by, dry=dry, accept_gone=accept_gone, known=sync_rows.known()
            )
    except IntegrityError:
        raise SyncError("A sync was started a moment ago: wait for its end.") from None


def _take_up(left: SyncRun, *, accept_gone: bool) -> SyncRun:
    """Nobody's, and heard of just now: whoever asks next waits for who asked first."""
    as_it_was = SyncRun.objects.filter(
        pk=left.pk, claim=left.claim, heard_at=left.heard_at, status=SyncRun.Status.RUNNING
    )
    if not as_it_was.update(
        claim="", heard_at=timezone.now(), accept_gone=left.accept_gone or accept_gone
    ):
        raise SyncError("Another worker took the sync up a moment ago: wait for its end.")
    left.refresh_from_db()
    return left


def work(run_id: int) -> str:
    """The task of the jobs cluster."""
    try:
        done = run(run_id)
    except SyncError as error:
        return str(error)
    return done.fault or f"{done.added} added, {done.changed} changed, {done.gone} gone."


def sync_on_schedule() -> str:
    """Start one when SYNC_MINUTES have passed since the last, or one was left. Each minute."""
    last = SyncRun.objects.order_by("-started_at").first()
    settled = last is not None and _has_settled(last)
    if not settings.SYNC_MINUTES and not settled and not _is_to_be_gone_on_with():
        return "Not by schedule: SYNC_MINUTES is 0."
    every = timedelta(minutes=settings.SYNC_MINUTES)
    if (
        last is not None
        and last.status != SyncRun.Status.RUNNING
        and last.started_at > timezone.now() - every
        and not settled
    ):
        return "Not yet."
    try:
        start(by="schedule", dry=last is not None and _is_open_and_dry(last))
    except SyncError as error:
        return str(error)
    return "Started."


def _is_to_be_gone_on_with() -> bool:
    """Whether one that people asked for was left by its worker. One left for long is ended."""
    run = SyncRun.objects.filter(status=SyncRun.Status.RUNNING).first()
    if run is None or not _is_left(run):
        return False
    if run.heard_at > timezone.now() - RESUMABLE:
        return True
    _end(run, SyncRun.Status.FAILED, "It was left unfinished: start another.")
    return False


def _has_settled(run: SyncRun) -> bool:
    """Whether files that grew when it saw them are to be looked for again."""
    if not run.growing or run.ended_at is None or run.dry:
        return False
    # A recording may grow for hours, and a large library take minutes.
    pause = max(GROWN_AFTER, 10 * (run.ended_at - run.started_at))
    return run.ended_at < timezone.now() - pause


def _is_open_and_dry(run: SyncRun) -> bool:
    return run.status == SyncRun.Status.RUNNING and run.dry


def tidy() -> str:
    """Remove old runs, and give up uploads that nobody ended. Hourly."""
    old, _ = SyncRun.objects.filter(started_at__lt=timezone.now() - KEPT).delete()
    try:
        stale = storage.abort_stale_uploads()
    except StorageError as error:
        return str(error)
    return f"{old} old syncs removed, {stale} uploads given up."


# ---- whose it is -----------------------------------------------------------------------------


def _machine() -> str:
    """Eight digits of this machine since it started, and of what sees its processes."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    # Two containers of one machine and name see each other's processes as gone.
    room = Path("/proc/self/ns/pid").readlink()
    parts = f"{settings.NODE_NAME}\n{boot}\n{room}"
    return hashlib.sha256(parts.encode()).hexdigest()[:8]


def _token(process: psutil.Process) -> str:
    return f"{_machine()}-{process.pid:x}-{int(process.create_time() * 100):x}"


def _is_left(run: SyncRun) -> bool:
    """Its worker is silent, or was a process of this machine that is no more."""
    if run.heard_at < timezone.now() - SILENT:
        return True
    machine, _, rest = run.claim.partition("-")
    if machine != _machine():
        return False
    try:
        return _token(psutil.Process(int(rest.partition("-")[0], 16))) != run.claim
    except psutil.NoSuchProcess:
        return True


def _claim(run_id: int) -> str:
    """Take the run for this process. Raises `SyncError`."""
    run = SyncRun.objects.get(pk=run_id)
    if run.status != SyncRun.Status.RUNNING or (run.claim and not _is_left(run)):
        raise SyncError("The sync is over, or another worker is at it.")
    claim = _token(psutil.Process())
    mine = SyncRun.objects.filter(
        pk=run_id, claim=run.claim, heard_at=run.heard_at, status=SyncRun.Status.RUNNING
    )
    if not mine.update(claim=claim, heard_at=timezone.now()):
        raise SyncError("Another worker took the sync.")
    return claim


def _end(run: SyncRun, status: SyncRun.Status, fault: str = "") -> None:
    now = timezone.now()
    SyncRun.objects.filter(pk=run.pk, claim=run.claim, status=SyncRun.Status.RUNNING).update(
        status=status, fault=fault, ended_at=now, heard_at=now
    )
    sync_rows.forget_absences()
    run.refresh_from_db()


# ---- the work --------------------------------------------------------------------------------


def run(run_id: int, *, progress: Callable[[SyncRun], None] | None = None) -> SyncRun:
    """Do the run's work, or what is left of it. What came of it stands in the row.

    A storage that can't be listed is such a result too (FAILED). Raises `SyncError`, and what
    nobody thought of: then the run has FAILED too, or is free to be gone on with.
    """
    worker = Worker(run_id, storage.listing, progress)
    try:
        with sync_rows.many_writes():
            worker.work()
    except ClaimLostError:
        log.warning("sync.claim_lost", run=run_id)
    except StorageError as error:
        _end(worker.run, SyncRun.Status.FAILED, str(error))
    except (OperationalError, InterfaceError):
        # The database is gone or busy, which passes: it is gone on with where it was.
        log.exception("sync.let_go", run=run_id)
        _let_go(run_id, worker.claim)
        raise
    except Exception as error:
        log.exception("sync.failed", run=run_id)
        fault = f"It was stopped by an error ({type(error).__name__}): look at the jobs' log."
        _end(worker.run, SyncRun.Status.FAILED, fault)
        raise
    except (KeyboardInterrupt, SystemExit):
        _let_go(run_id, worker.claim)
        raise
    worker.after_all()
    return worker.run


def _let_go(run_id: int, claim: str) -> None:
    """Not silent for two minutes first: whoever starts the next goes on at once."""
    try:
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
        SyncRun.objects.filter(pk=run_id, claim=claim).update(
            claim="", heard_at=timezone.now() - SILENT
        )
    except (DatabaseError, InterfaceError) as error:
        # Then it is silent until it is taken for dead.
        log.warning("sync.not_let_go", run=run_id, error=str(error))


class Worker:
    """One worker's pass over the listing and the rows, side by side, with flat memory."""

    def __init__(
        self, run_id: int, lister: Lister, progress: Callable[[SyncRun], None] | None = None
    ) -> None:
        self.claim = _claim(run_id)
        self.run = SyncRun.objects.get(pk=run_id)
        #: Seconds of the longest transaction.
        self.longest_write = 0.0
        self._lister = lister
        self._progress = progress or (lambda _: None)
        self._extensions = frozenset(settings.MEDIA_EXTENSIONS)
        self._batch = Batch()
        self._writes = 0

    def work(self) -> None:
        """To the end, or a `StorageError` or `ClaimLostError`."""
        self._compare()
        self._settle()

    def after_all(self) -> None:
        """Have the new ones looked into, whatever came of the rest."""
        self.run.refresh_from_db()
        if not self.run.dry and (self.run.added or self.run.changed):
            enqueue("media_library.tasks.probe_new")
        log.info(
            "sync.ended",
            status=self.run.status,
            seen=self.run.seen,
            added=self.run.added,
            changed=self.run.changed,
            absent=self.run.absent,
            gone=self.run.gone,
            longest_write=round(self.longest_write, 3),
        )

    def _compare(self) -> None:
        run, batch = self.run, self._batch
        listing = self._media(self._lister(run.after))
        rows = sync_rows.rows(run.after, run.started_at)
        pending, told = 0, time.monotonic()
        for verdict, listed, row in compare(listing, rows):
            pending += 1
            run.seen += listed is not None
            if verdict is Verdict.SAME and row is not None:
                run.unchanged += 1
                key = row[0]
            elif verdict is Verdict.WAITING and listed is not None:
                run.growing += row is not None or is_media(listed.key, self._extensions)
                key = listed.key
            else:
                key = self._take(verdict, listed, row)
            if len(batch.added) >= MOST_WRITES or pending % LOOK_EVERY == 0:
                now = time.monotonic()
                if (
                    now - told >= TELL_EVERY
                    or pending >= MOST_COMPARED
                    or len(batch) > MOST_WRITES - LOOK_EVERY
                ):
                    self._flush(key)
                    batch, pending, told = self._batch, 0, now
        if pending:
            self._flush(key)

    def _media(self, listing: Iterator[Listed]) -> Iterator[Listed]:
        """Without what is hidden, in a trash or the like, which is counted."""
        for listed in listing:
            if listed.state != LEFT_OUT:
                yield listed
                continue
            self.run.left_out += 1
            if self.run.left_out <= SHOWN_LEFT_OUT and len(self.run.differences) < SHOWN:
                self.run.differences.append([LEFT_OUT, listed.key])

    def _take(self, verdict: Verdict, listed: Listed | None, row: Row | None) -> str:
        """Into the batch, and the key of it. A dry run counts only."""
        run, batch = self.run, self._batch
        match verdict, listed, row:
            case Verdict.ADDED, Listed(key=key), _:
                if not is_media(key, self._extensions):
                    return key
                batch.added.append(listed)
                run.added += run.dry
            case Verdict.CHANGED, Listed(key=key), Row():
                batch.changed.append((listed, row))
                run.changed += run.dry
            case Verdict.BACK, Listed(key=key), Row():
                batch.back.append(row.pk)
                if not row.missing:
                    run.unchanged += 1
                    return key
                run.changed += run.dry
            case Verdict.ABSENT, _, Row(key=key):
                batch.absent.append(row.pk)
                run.absent += run.dry
                # What a second listing is without is marked, if the brake lets it.
                run.gone += run.dry and (run.accept_gone or row.misses > 0)
            case _, _, Row(key=key):
                return key
            case _:
                raise AssertionError(verdict)
        if len(run.differences) < SHOWN:
            run.differences.append([verdict.name.lower(), key])
        return key

    def _flush(self, key: str) -> None:
        run = self.run
        run.after = key
        if run.dry:
            sync_rows.touch(run, self.claim)
        else:
            self.longest_write = max(
                self.longest_write, sync_rows.write(run, self._batch, self.claim)
            )
            self._writes += bool(len(self._batch))
            if self._writes >= sync_rows.CHECKPOINT_EVERY:
                sync_rows.checkpoint()
                self._writes = 0
        self._batch = Batch()
        self._progress(run)

    def _settle(self) -> None:
        """The listing is complete: only now is anything said of what was not in it."""
        run = self.run
        changed = run.changed if run.dry else sync_rows.noted_changes(run)
        fault = brake(seen=run.seen, known=run.known, absent=run.absent, changed=changed)
        if fault and not run.accept_gone:
            run.gone = 0
            sync_rows.touch(run, self.claim)
            _end(run, SyncRun.Status.BRAKED, fault)
            return
        while not run.dry and (seconds := sync_rows.settle_absences(run, self.claim)):
            self.longest_write = max(self.longest_write, seconds)
            self._progress(run)
        _end(run, SyncRun.Status.DONE)
