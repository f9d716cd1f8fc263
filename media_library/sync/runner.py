"""Compares the storage with the library and updates the library.

States of a run: RUNNING (created, claimed by a worker, listed, its absences settled), then
DONE, STOPPED or FAILED. The worker writes its cursor with every batch, so the next start of a
sync resumes a run whose worker died. Nothing is ever deleted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

import structlog
from django.conf import settings
from django.db import (
    DatabaseError,
    IntegrityError,
    InterfaceError,
    connection,
    transaction,
)
from django.db.models import Q
from django.utils import timezone

from media_library import storage
from media_library.jobs.shutdown import requeued_on_stop
from media_library.models import SyncRun
from media_library.storage import StorageError
from media_library.storage.keys import LEFT_OUT, is_media
from media_library.storage.list_objects import Listed
from media_library.sync import rows as sync_rows
from media_library.sync.diff import Row, Verdict, compare, deletion_guard
from media_library.sync.rows import CLAIMS, MAX_BATCH_ROWS, Batch
from streamsite.processes.claims import (
    DATABASE_ERRORS,
    ClaimLostError,
    lives,
    this_process,
)
from streamsite.processes.task_queue import enqueue

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: A worker without a heartbeat for so long counts as dead.
HEARTBEAT_TIMEOUT: Final = timedelta(minutes=2)
#: An older run is not resumed: its listing is out of date.
RESUME_WINDOW: Final = timedelta(hours=6)
#: Rows compared before the cursor is written, if there is little else to write.
MAX_COMPARED_ROWS: Final = 20_000
#: Seconds between two heartbeats, and objects between two checks of the clock.
HEARTBEAT_INTERVAL_S: Final = 1.0
CLOCK_CHECK_OBJECTS: Final = 256
#: Differences kept for display, and how many of them may be skipped objects.
MAX_DIFFERENCES: Final = 100
MAX_LEFT_OUT_SHOWN: Final = 10
#: Delay of the next sync after one that saw growing files.
RESYNC_DELAY: Final = timedelta(seconds=45)

Lister = Callable[[str], Iterator[Listed]]


class SyncError(Exception):
    """A sync is running already. `str()` is a sentence for the operator."""


# ---- starting --------------------------------------------------------------------------------


def start(*, by: str = "", dry: bool = False, accept_gone: bool = False) -> SyncRun:
    """Creates a run, or resumes an abandoned one, and enqueues it in the jobs cluster.

    Raises `SyncError`.
    """
    run = prepare(by=by, dry=dry, accept_gone=accept_gone)
    # timeout=-1: no limit. A bucket of millions is listed at 7,000 objects a second.
    transaction.on_commit(lambda: enqueue("media_library.sync.runner.work", run.pk, timeout=-1))
    return run


def prepare(*, by: str = "", dry: bool = False, accept_gone: bool = False) -> SyncRun:
    """Returns the run for the next worker: a new one, or the abandoned one."""
    for left in SyncRun.objects.filter(status=SyncRun.Status.RUNNING):
        if not _is_abandoned(left):
            raise SyncError(
                f"A sync has been running since {timezone.localtime(left.started_at):%H:%M}: "
                "wait until it ends."
            )
        if left.dry == dry and left.heartbeat_at > timezone.now() - RESUME_WINDOW:
            return _take_up(left, accept_gone=accept_gone)
        _end(left, SyncRun.Status.FAILED, "It was abandoned: a new one was started.")
    try:
        with transaction.atomic():
            return SyncRun.objects.create(
                started_by=by,
                dry=dry,
                accept_gone=accept_gone,
                items_before=sync_rows.count_present(),
            )
    except IntegrityError:
        raise SyncError("A sync was started a moment ago: wait until it ends.") from None


def _take_up(left: SyncRun, *, accept_gone: bool) -> SyncRun:
    """Releases the abandoned run with a fresh heartbeat, so that a second caller waits."""
    released = CLAIMS.take(
        left.pk,
        "",
        _as_it_was(left),
        heartbeat_at=timezone.now(),
        accept_gone=left.accept_gone or accept_gone,
    )
    if released is None:
        raise SyncError("Another worker resumed the sync a moment ago: wait until it ends.")
    return released


def work(run_id: int) -> str:
    """Runs as the task of the jobs cluster."""
    try:
        done = run(run_id)
    except SyncError as error:
        return str(error)
    return done.fault or f"{done.added} added, {done.changed} changed, {done.gone} gone."


def sync_on_schedule() -> str:
    """Starts a sync when SYNC_MINUTES have passed, or one was abandoned. Runs each minute."""
    last = SyncRun.objects.order_by("-started_at").first()
    settled = last is not None and _has_settled(last)
    if not settings.SYNC_MINUTES and not settled and not _has_resumable():
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


def _has_resumable() -> bool:
    """Returns whether a requested sync was abandoned. An old abandoned one is ended."""
    run = SyncRun.objects.filter(status=SyncRun.Status.RUNNING).first()
    if run is None or not _is_abandoned(run):
        return False
    if run.heartbeat_at > timezone.now() - RESUME_WINDOW:
        return True
    _end(run, SyncRun.Status.FAILED, "It was abandoned: start another.")
    return False


def _has_settled(run: SyncRun) -> bool:
    """Returns whether the files that grew during the run have to be checked again."""
    if not run.growing or run.ended_at is None or run.dry:
        return False
    # A recording may grow for hours, and a large library takes minutes.
    pause = max(RESYNC_DELAY, 10 * (run.ended_at - run.started_at))
    return run.ended_at < timezone.now() - pause


def _is_open_and_dry(run: SyncRun) -> bool:
    return run.status == SyncRun.Status.RUNNING and run.dry


# ---- the claim -------------------------------------------------------------------------------


def _is_abandoned(run: SyncRun) -> bool:
    """Returns whether its worker is silent, or was a process of this machine that ended."""
    silent = run.heartbeat_at < timezone.now() - HEARTBEAT_TIMEOUT
    return silent or lives(run.claim) is False


def _as_it_was(run: SyncRun) -> Q:
    return Q(claim=run.claim, heartbeat_at=run.heartbeat_at, status=SyncRun.Status.RUNNING)


def _claimed(run_id: int) -> SyncRun:
    """Claims the run for this process. Raises `SyncError`."""
    run = SyncRun.objects.get(pk=run_id)
    if run.status != SyncRun.Status.RUNNING or (run.claim and not _is_abandoned(run)):
        raise SyncError("The sync is over, or another worker has it.")
    mine = CLAIMS.take(run_id, this_process(), _as_it_was(run), heartbeat_at=timezone.now())
    if mine is None:
        raise SyncError("Another worker took the sync.")
    return mine


def _end(run: SyncRun, status: SyncRun.Status, fault: str = "") -> None:
    now = timezone.now()
    CLAIMS.mine(run).filter(status=SyncRun.Status.RUNNING).update(
        status=status, fault=fault, ended_at=now, heartbeat_at=now
    )
    sync_rows.forget_absences()
    run.refresh_from_db()


# ---- the work --------------------------------------------------------------------------------


def run(run_id: int, *, progress: Callable[[SyncRun], None] | None = None) -> SyncRun:
    """Does the work of the run, or the rest of it. The row holds the result.

    An unlistable storage is such a result too (FAILED). Raises `SyncError`, and unexpected
    errors: then the run has FAILED too, or is released and can be resumed.
    """
    worker = Worker(run_id, storage.listing, progress)
    try:
        with requeued_on_stop(lambda: _release(worker.run)), sync_rows.many_writes():
            worker.work()
    except ClaimLostError:
        log.warning("sync.claim_lost", run=run_id)
    except StorageError as error:
        _end(worker.run, SyncRun.Status.FAILED, str(error))
    except DATABASE_ERRORS:
        # The database is unavailable or busy, which is temporary: the run is resumed later.
        log.exception("sync.released", run=run_id)
        _release(worker.run)
        raise
    except Exception as error:
        log.exception("sync.failed", run=run_id)
        fault = f"It was stopped by an error ({type(error).__name__}): check the jobs' log."
        _end(worker.run, SyncRun.Status.FAILED, fault)
        raise
    worker.finish()
    return worker.run


def _release(run: SyncRun) -> None:
    """Releases the claim, so that the next start resumes at once and not after two minutes."""
    try:
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
        CLAIMS.mine(run).update(claim="", heartbeat_at=timezone.now() - HEARTBEAT_TIMEOUT)
    except (DatabaseError, InterfaceError) as error:
        # Then it is silent until it counts as dead.
        log.warning("sync.not_released", run=run.pk, error=str(error))


class Worker:
    """One worker's merge of the listing and the rows, with constant memory."""

    def __init__(
        self, run_id: int, lister: Lister, progress: Callable[[SyncRun], None] | None = None
    ) -> None:
        self.run = _claimed(run_id)
        #: Seconds of the longest transaction.
        self.longest_write = 0.0
        self._lister = lister
        self._progress = progress or (lambda _: None)
        self._extensions = frozenset(settings.MEDIA_EXTENSIONS)
        self._batch = Batch()
        self._writes = 0

    def work(self) -> None:
        """Runs to the end, or raises `StorageError` or `ClaimLostError`."""
        self._compare()
        self._settle()

    def finish(self) -> None:
        """Enqueues the inspection of new items, whatever the result, and logs the result."""
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
        pending, reported_at = 0, time.monotonic()
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
            if len(batch.added) >= MAX_BATCH_ROWS or pending % CLOCK_CHECK_OBJECTS == 0:
                now = time.monotonic()
                if (
                    now - reported_at >= HEARTBEAT_INTERVAL_S
                    or pending >= MAX_COMPARED_ROWS
                    or len(batch) > MAX_BATCH_ROWS - CLOCK_CHECK_OBJECTS
                ):
                    self._flush(key)
                    batch, pending, reported_at = self._batch, 0, now
        if pending:
            self._flush(key)

    def _media(self, listing: Iterator[Listed]) -> Iterator[Listed]:
        """Yields the listing without skipped objects, which are counted."""
        for listed in listing:
            if listed.state != LEFT_OUT:
                yield listed
                continue
            self.run.left_out += 1
            if (
                self.run.left_out <= MAX_LEFT_OUT_SHOWN
                and len(self.run.differences) < MAX_DIFFERENCES
            ):
                self.run.differences.append([LEFT_OUT, listed.key])

    def _take(self, verdict: Verdict, listed: Listed | None, row: Row | None) -> str:
        """Adds it to the batch and returns its key. A dry run only counts."""
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
                # A second miss marks it, if the deletion guard permits.
                run.gone += run.dry and (run.accept_gone or row.misses > 0)
            case _, _, Row(key=key):
                return key
            case _:
                raise AssertionError(verdict)
        if len(run.differences) < MAX_DIFFERENCES:
            run.differences.append([verdict.name.lower(), key])
        return key

    def _flush(self, key: str) -> None:
        run = self.run
        run.after = key
        if run.dry:
            sync_rows.touch(run)
        else:
            self.longest_write = max(self.longest_write, sync_rows.write(run, self._batch))
            self._writes += bool(len(self._batch))
            if self._writes >= sync_rows.CHECKPOINT_EVERY:
                sync_rows.checkpoint()
                self._writes = 0
        self._batch = Batch()
        self._progress(run)

    def _settle(self) -> None:
        """Applies absences: only now is the listing complete."""
        run = self.run
        changed = run.changed if run.dry else sync_rows.noted_changes(run)
        fault = deletion_guard(
            seen=run.seen, items_before=run.items_before, absent=run.absent, changed=changed
        )
        if fault and not run.accept_gone:
            run.gone = 0
            sync_rows.touch(run)
            _end(run, SyncRun.Status.STOPPED, fault)
            return
        while not run.dry and (seconds := sync_rows.settle_absences(run)):
            self.longest_write = max(self.longest_write, seconds)
            self._progress(run)
        _end(run, SyncRun.Status.DONE)
