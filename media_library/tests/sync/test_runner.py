"""Syncs with a real S3 server and a real folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as site
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ
from moto.server import ThreadedMotoServer
from pytest_django import Settings

from media_library import storage
from media_library.models import Absence, MediaItem, PreparedCopy, SyncRun
from media_library.storage import list_objects
from media_library.storage.list_objects import Listed
from media_library.sync import runner
from media_library.sync.runner import SyncError
from media_library.tests.storage.test_list_objects import ODD, put
from streamsite.processes.claims import ClaimLostError
from streamsite.tests.database import database_url

pytestmark = [pytest.mark.django_db, pytest.mark.database]

Status = MediaItem.Status


def synced(**options: Any) -> SyncRun:
    return runner.run(runner.prepare(**options).pk)


def counts(run: SyncRun) -> tuple[int, int, int, int]:
    """Returns added, changed, gone and unchanged of a completed sync."""
    assert run.status == SyncRun.Status.DONE, run.fault
    return run.added, run.changed, run.gone, run.unchanged


def item(key: str) -> MediaItem:
    return MediaItem.objects.get(key=key)


def video_keys(count: int) -> list[str]:
    return [f"films/{place:04}.mp4" for place in range(count)]


def test_objects_are_added_changed_and_marked_after_two_misses(either: str) -> None:
    keys = video_keys(10)
    put(*keys, "notes.txt", "prepared/x.mp4")
    assert counts(synced()) == (10, 0, 0, 0)
    assert set(MediaItem.objects.values_list("key", flat=True)) == set(keys)
    assert item(keys[0]).title == "0000"
    assert (item(keys[0]).etag, item(keys[0]).size_bytes) == (storage.facts(keys[0]).etag, 4)
    assert counts(synced()) == (0, 0, 0, 10)

    MediaItem.objects.update(status=Status.PROBED, probed_at=timezone.now())
    put(keys[1], content=b"another film")
    assert counts(synced()) == (0, 1, 0, 9)
    assert (item(keys[1]).status, item(keys[1]).probed_at) == (Status.NEW, None)
    assert item(keys[1]).size_bytes == 12

    storage.delete(keys[2])
    assert counts(synced()) == (0, 0, 0, 9)
    assert (item(keys[2]).status, item(keys[2]).misses) == (Status.PROBED, 1)
    assert counts(synced()) == (0, 0, 1, 9)
    missing = item(keys[2])
    assert missing.status == Status.FAULT
    assert "put it back" in missing.fault
    assert missing.missing_since is not None
    assert counts(synced()) == (0, 0, 0, 9)
    assert MediaItem.objects.count() == 10
    assert not Absence.objects.exists()


def test_a_restored_object_keeps_its_status(bucket: None) -> None:
    keys = video_keys(20)
    put(*keys)
    synced()
    now = timezone.now()
    MediaItem.objects.exclude(key=keys[3]).update(status=Status.PROBED, probed_at=now)
    PreparedCopy.objects.create(
        item=item(keys[1]),
        house_format="h",
        status=PreparedCopy.Status.READY,
        key="p",
        frames=1,
    )
    for key in keys[:4]:
        storage.delete(key)
    synced()
    put(keys[0])
    assert counts(synced()) == (0, 0, 3, 17)
    assert item(keys[0]).misses == 0
    put(keys[1], keys[3])
    put(keys[2], content=b"another")
    assert counts(synced()) == (0, 3, 0, 17)
    assert [item(key).status for key in keys[:4]] == [
        Status.PROBED,
        Status.READY,
        Status.NEW,
        Status.NEW,
    ]
    assert not MediaItem.objects.exclude(fault="", misses=0, missing_since=None).exists()


def test_an_unchanged_row_is_not_written(bucket: None) -> None:
    put(*video_keys(5))
    synced()
    before = list(MediaItem.objects.order_by("pk").values())
    connection.queries_log.clear()
    connection.force_debug_cursor = True
    try:
        synced()
    finally:
        connection.force_debug_cursor = False
    statements = [query["sql"] for query in connection.queries]
    assert not [sql for sql in statements if "mediaitem" in sql and "SELECT" not in sql]
    assert list(MediaItem.objects.order_by("pk").values()) == before


def test_new_items_are_enqueued_for_inspection(folder: Path) -> None:
    synced()
    assert not OrmQ.objects.exists()
    put("a.mp4")
    synced()
    assert [message.task["func"] for message in OrmQ.objects.all()] == [
        "media_library.tasks.probe_new"
    ]


# ---- the deletion guard ----------------------------------------------------------------------


def test_an_empty_listing_marks_nothing(either: str) -> None:
    put(*video_keys(3))
    synced()
    for key in video_keys(3):
        storage.delete(key)
    for _ in range(3):
        run = synced()
        assert run.status == SyncRun.Status.STOPPED
        assert "lists no object" in run.fault
    assert set(MediaItem.objects.values_list("misses", "status")) == {(0, Status.NEW)}
    assert not Absence.objects.exists()
    assert counts(synced(accept_gone=True)) == (0, 0, 3, 0)
    # They are marked now: nothing is left to guard.
    assert counts(synced()) == (0, 0, 0, 0)


def test_more_than_a_fifth_missing_marks_nothing_but_new_items_are_added(bucket: None) -> None:
    keys = video_keys(20)
    put(*keys)
    synced()
    for key in keys[:5]:
        storage.delete(key)
    put("new.mp4")
    run = synced()
    assert (run.status, run.added, run.absent, run.gone) == (SyncRun.Status.STOPPED, 1, 5, 0)
    assert "5 of 20 items" in run.fault
    assert not MediaItem.objects.filter(misses__gt=0).exists()
    assert counts(synced(accept_gone=True)) == (0, 0, 5, 16)
    assert MediaItem.objects.filter(status=Status.FAULT).count() == 5


def test_a_fifth_may_be_missing(bucket: None) -> None:
    put(*video_keys(10))
    synced()
    for key in video_keys(2):
        storage.delete(key)
    synced()
    assert counts(synced()) == (0, 0, 2, 8)


# ---- dry -------------------------------------------------------------------------------------


def test_a_dry_run_shows_the_differences_and_writes_nothing(bucket: None) -> None:
    put(*video_keys(10))
    synced()
    storage.delete(video_keys(1)[0])
    synced()
    put(video_keys(2)[1], content=b"another")
    put("new.mp4")
    before = list(MediaItem.objects.order_by("pk").values())
    run = synced(dry=True)
    assert counts(run) == (1, 1, 1, 8)
    assert run.differences == [
        ["absent", "films/0000.mp4"],
        ["changed", "films/0001.mp4"],
        ["added", "new.mp4"],
    ]
    assert list(MediaItem.objects.order_by("pk").values()) == before
    assert not Absence.objects.exists()
    assert counts(synced()) == (1, 1, 1, 8)


# ---- size, and odd names ---------------------------------------------------------------------


@pytest.mark.slow
def test_pages_of_a_thousand(bucket: None) -> None:
    keys = video_keys(1010)
    put(*keys)
    assert counts(synced()) == (1010, 0, 0, 0)
    assert counts(synced()) == (0, 0, 0, 1010)
    assert MediaItem.objects.count() == 1010


def test_odd_names_are_added_unchanged(either: str) -> None:
    put(*ODD)
    assert counts(synced())[0] == len(ODD)
    assert set(MediaItem.objects.values_list("key", flat=True)) == set(ODD)
    assert counts(synced()) == (0, 0, 0, len(ODD))


# ---- one at a time ---------------------------------------------------------------------------


def test_a_second_sync_is_refused_while_one_is_waiting_or_at_work(folder: Path) -> None:
    run = runner.prepare()
    with pytest.raises(SyncError, match="wait until it ends"):
        runner.prepare()
    worker = runner.Worker(run.pk, storage.listing)
    with pytest.raises(SyncError, match="another worker"):
        runner.run(run.pk)
    with pytest.raises(SyncError, match="wait until it ends"):
        runner.prepare()
    worker.work()
    assert synced().status == SyncRun.Status.DONE


def test_a_silent_worker_loses_its_sync_and_stops_writing(folder: Path) -> None:
    put(*video_keys(3))
    slow = runner.Worker(runner.prepare().pk, storage.listing)
    long_ago = timezone.now() - timedelta(minutes=3)
    # From another machine: its process can't be checked from here.
    slow.run.claim = "elsewhere"
    SyncRun.objects.update(claim="elsewhere", heartbeat_at=long_ago)
    taken = runner.prepare()
    assert taken.pk == slow.run.pk
    assert counts(runner.run(taken.pk)) == (3, 0, 0, 0)
    with pytest.raises(ClaimLostError):
        slow.work()
    assert MediaItem.objects.count() == 3
    assert SyncRun.objects.get().added == 3


def test_an_abandoned_sync_is_resumed_once(folder: Path) -> None:
    runner.prepare()
    SyncRun.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=3))
    taken = runner.prepare()
    with pytest.raises(SyncError, match="wait until it ends"):
        runner.prepare()
    assert counts(runner.run(taken.pk)) == (0, 0, 0, 0)


def test_an_unexpected_error_ends_the_sync_with_a_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(after: str) -> Iterator[Listed]:
        raise IndexError(after)

    monkeypatch.setattr(storage, "listing", broken)
    with pytest.raises(IndexError):
        synced()
    run = SyncRun.objects.get()
    assert run.status == SyncRun.Status.FAILED
    assert "(IndexError): check the jobs' log" in run.fault


def test_a_sync_abandoned_for_a_day_is_not_resumed(folder: Path) -> None:
    old = runner.prepare()
    SyncRun.objects.update(heartbeat_at=timezone.now() - timedelta(days=1))
    assert runner.prepare().pk != old.pk
    old.refresh_from_db()
    assert old.status == SyncRun.Status.FAILED


def test_a_dry_run_is_not_resumed_as_a_real_one(folder: Path) -> None:
    dry = runner.prepare(dry=True)
    SyncRun.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=3))
    real = runner.prepare()
    assert real.pk != dry.pk
    assert not real.dry


def test_the_schedule(folder: Path, settings: Settings) -> None:
    settings.SYNC_MINUTES = 0
    assert "SYNC_MINUTES is 0" in runner.sync_on_schedule()
    settings.SYNC_MINUTES = 60
    assert runner.sync_on_schedule() == "Started."
    run = SyncRun.objects.get()
    assert runner.work(run.pk) == "0 added, 0 changed, 0 gone."
    assert runner.sync_on_schedule() == "Not yet."
    SyncRun.objects.update(started_at=timezone.now() - timedelta(minutes=61))
    assert runner.sync_on_schedule() == "Started."
    assert "wait until it ends" in runner.sync_on_schedule()


# ---- bad days --------------------------------------------------------------------------------


def test_a_row_changed_meanwhile_is_kept(folder: Path) -> None:
    put(*video_keys(2))
    synced()
    put(video_keys(1)[0], content=b"another")

    def meanwhile(after: str) -> Iterator[Listed]:
        for listed in storage.listing(after):
            yield listed
            # The page of rows has been read by now.
            MediaItem.objects.filter(key=listed.key).update(etag="newer", status=Status.PROBED)

    worker = runner.Worker(runner.prepare().pk, meanwhile)
    worker.work()
    assert counts(worker.run) == (0, 0, 0, 1)
    assert (item(video_keys(1)[0]).etag, item(video_keys(1)[0]).status) == (
        "newer",
        Status.PROBED,
    )


def test_a_missing_bucket_is_a_result_with_a_sentence(bucket: None, settings: Settings) -> None:
    settings.STORAGE_BUCKET = "flims"
    run = synced()
    assert run.status == SyncRun.Status.FAILED
    assert "check STORAGE_BUCKET" in run.fault


@pytest.mark.slow
def test_a_server_lost_in_mid_listing_marks_nothing(
    bucket: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(*video_keys(30))
    synced()
    put("films/0000a.mp4")
    # Another server with the same objects except one, which ends after the first pages.
    other = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    other.start()
    host, port = other.get_host_and_port()
    settings.STORAGE_ENDPOINT_URL = f"http://{host}:{port}"
    storage.delete(video_keys(1)[0])
    monkeypatch.setattr(list_objects, "PAGE", 5)
    monkeypatch.setattr(runner, "CLOCK_CHECK_OBJECTS", 1)
    monkeypatch.setattr(runner, "HEARTBEAT_INTERVAL_S", 0.0)

    living = storage.listing

    def dying(after: str) -> Iterator[Listed]:
        for place, listed in enumerate(living(after)):
            if place == 12:
                other.stop()
            yield listed

    run = runner.prepare()
    monkeypatch.setattr(storage, "listing", dying)
    done = runner.run(run.pk)
    assert done.status == SyncRun.Status.FAILED
    assert "can't be reached" in done.fault
    assert 10 <= done.seen < 30
    assert not MediaItem.objects.filter(misses__gt=0).exists()


RUNNER = """
import sys, django
django.setup()
from media_library.sync import runner
from media_library.storage import list_objects
from streamsite.tests.database import database_url
list_objects.PAGE, runner.HEARTBEAT_INTERVAL_S, runner.CLOCK_CHECK_OBJECTS = 50, 0.0, 25
run = runner.prepare(by="test")
done = runner.run(run.pk, progress=lambda run: print(run.seen, flush=True))
print(done.status, flush=True)
"""


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_killed_sync_is_resumed(bucket: None, s3_server: str) -> None:
    keys = video_keys(1500)
    put(*keys[:1200])
    synced()
    for key in keys[100:1200:10]:
        storage.delete(key)
    for key in keys[5:1200:10]:
        put(key, content=b"another film")
    put(*keys[1200:])
    lines: list[str] = []
    for line_count in (1, 4, 9, 17):
        with started(s3_server) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline().strip() for _ in range(line_count)]
            process.kill()
            assert process.wait() == -9
        assert SyncRun.objects.filter(status=SyncRun.Status.RUNNING).count() == 1
        assert lines[-1].isdigit()
    with started(s3_server) as process:
        output, _ = process.communicate(timeout=120)
        assert output.split()[-1] == "done"
        assert int(output.split()[0]) > int(lines[0])
    # As an undisturbed run would have counted.
    run = SyncRun.objects.first()
    assert run is not None
    assert SyncRun.objects.count() == 2
    assert (run.seen, run.added, run.changed) == (1390, 300, 120)
    assert (run.unchanged, run.absent, run.gone) == (970, 110, 0)
    assert sorted(MediaItem.objects.values_list("key", flat=True)) == keys
    assert MediaItem.objects.filter(misses=1).count() == 110
    assert not MediaItem.objects.filter(misses__gt=1).exists()
    assert not Absence.objects.exists()


def started(s3_server: str) -> subprocess.Popen[str]:
    """Starts a sync in its own process, on this test's bucket and database."""
    return subprocess.Popen(
        [sys.executable, "-c", RUNNER],
        cwd=site.BASE_DIR,
        env=os.environ
        | {
            "DJANGO_SETTINGS_MODULE": "streamsite.tests.settings",
            "DATABASE_URL": database_url(),
            "STORAGE_PROVIDER": "cloudflare",
            "STORAGE_ENDPOINT_URL": s3_server,
            "STORAGE_BUCKET": "films",
            "STORAGE_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "STORAGE_SECRET_ACCESS_KEY": "s3cr3t",
        },
        stdout=subprocess.PIPE,
        text=True,
    )
