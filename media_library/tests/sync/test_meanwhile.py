"""Changes by people, and errors, during a sync."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import DatabaseError, OperationalError
from django.utils import timezone
from pytest_django import Settings

from media_library import storage
from media_library.models import Absence, MediaItem, SyncRun
from media_library.storage import StorageError
from media_library.storage.list_objects import Listed
from media_library.sync import rows, runner
from media_library.tests.storage.test_list_objects import put

pytestmark = [pytest.mark.django_db, pytest.mark.database]

KEYS = [f"films/{place}.mp4" for place in range(10)]


def synced_while(
    monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object], *, accept_gone: bool
) -> SyncRun:
    """Runs a sync; `meanwhile` is called when it has listed all but the last object."""
    run = runner.prepare(accept_gone=accept_gone)
    listing = storage.listing

    def slow(after: str = "") -> Iterator[Listed]:
        *others, last = listing(after)
        yield from others
        meanwhile()
        yield last

    with monkeypatch.context() as patch:
        patch.setattr(storage, "listing", slow)
        return runner.run(run.pk)


def statuses() -> set[str]:
    return set(SyncRun.objects.values_list("status", flat=True))


@pytest.mark.parametrize("accept_gone", [True, False])
def test_a_file_that_is_uploaded_meanwhile_is_not_gone(
    either: str, *, monkeypatch: pytest.MonkeyPatch, accept_gone: bool
) -> None:
    put(*KEYS)
    runner.run(runner.prepare().pk)

    def upload() -> None:
        put("films/9b.mp4")
        facts = storage.facts("films/9b.mp4")
        MediaItem.objects.create(
            key="films/9b.mp4", title="9b", etag=facts.etag, size_bytes=facts.size_bytes
        )

    # So that the last page of rows is read after the upload.
    monkeypatch.setattr(rows, "PAGE", 2)
    run = synced_while(monkeypatch, upload, accept_gone=accept_gone)
    assert (run.status, run.absent, run.gone) == (SyncRun.Status.DONE, 0, 0)
    new = MediaItem.objects.get(key="films/9b.mp4")
    assert (new.status, new.misses) == (MediaItem.Status.NEW, 0)
    # The next sync counts it.
    assert runner.run(runner.prepare().pk).unchanged == 11


@pytest.mark.django_db(transaction=True)
def test_an_item_deleted_meanwhile_is_skipped(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(*KEYS)
    runner.run(runner.prepare().pk)
    storage.delete(KEYS[4])
    storage.delete(KEYS[5])
    run = synced_while(
        monkeypatch,
        lambda: MediaItem.objects.filter(key=KEYS[5]).delete(),
        accept_gone=False,
    )
    assert (run.status, run.absent) == (SyncRun.Status.DONE, 1)
    assert MediaItem.objects.get(key=KEYS[4]).misses == 1


@pytest.mark.django_db(transaction=True)
def test_a_database_error_ends_the_sync_with_a_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> float:
        raise DatabaseError("constraint")

    put(*KEYS)
    monkeypatch.setattr(rows, "write", broken)
    with pytest.raises(DatabaseError, match="constraint"):
        runner.run(runner.prepare().pk)
    run = SyncRun.objects.get()
    assert run.status == SyncRun.Status.FAILED
    assert "(DatabaseError): check the jobs' log" in run.fault


@pytest.mark.django_db(transaction=True)
def test_a_busy_database_releases_the_sync_and_the_next_resumes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> float:
        raise OperationalError("database is locked")

    put(*KEYS)
    run = runner.prepare()
    with monkeypatch.context() as patch:
        patch.setattr(rows, "write", busy)
        with pytest.raises(OperationalError):
            runner.run(run.pk)
    assert runner.prepare().pk == run.pk
    assert runner.run(run.pk).added == 10


def test_a_dead_workers_sync_is_resumed_without_a_schedule(
    folder: Path, settings: Settings
) -> None:
    settings.SYNC_MINUTES = 0
    run = runner.prepare(dry=True)
    assert "SYNC_MINUTES is 0" in runner.sync_on_schedule()
    now = timezone.now()
    SyncRun.objects.update(claim="dead-1-1", heartbeat_at=now - timedelta(hours=1))
    assert runner.sync_on_schedule() == "Started."
    assert runner.work(run.pk) == "0 added, 0 changed, 0 gone."
    assert "SYNC_MINUTES is 0" in runner.sync_on_schedule()
    SyncRun.objects.update(status=SyncRun.Status.RUNNING, heartbeat_at=now - timedelta(days=1))
    # Nobody requested another.
    assert "SYNC_MINUTES is 0" in runner.sync_on_schedule()
    assert statuses() == {SyncRun.Status.FAILED}


def test_a_sync_that_fails_leaves_no_notes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(after: str) -> Iterator[Listed]:
        yield Listed("films/9.mp4", 4, "e")
        assert Absence.objects.exists()
        raise StorageError("It can't be reached.")

    put(*KEYS)
    runner.run(runner.prepare().pk)
    monkeypatch.setattr(runner, "CLOCK_CHECK_OBJECTS", 1)
    monkeypatch.setattr(runner, "HEARTBEAT_INTERVAL_S", 0.0)
    monkeypatch.setattr(storage, "listing", ends)
    assert runner.run(runner.prepare().pk).status == SyncRun.Status.FAILED
    assert not Absence.objects.exists()


def test_an_old_abandoned_sync_leaves_no_notes(folder: Path) -> None:
    put(KEYS[0])
    runner.run(runner.prepare().pk)
    left = runner.prepare()
    Absence.objects.create(run=left, item=MediaItem.objects.get())
    SyncRun.objects.filter(pk=left.pk).update(heartbeat_at=timezone.now() - timedelta(days=1))
    runner.prepare()
    assert not Absence.objects.exists()
