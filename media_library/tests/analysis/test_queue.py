"""The pool that inspects new items: whatever happens to its workers, no item is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django import Settings

from media_library import actions, tasks
from media_library.analysis import queue as probing
from media_library.analysis.inspection import Inspection
from media_library.analysis.inspection import inspect as inspect_file
from media_library.conform import queue
from media_library.ffmpeg.probe import NotReadableError
from media_library.jobs import slots
from media_library.models import MediaItem, Playlist
from media_library.tests.clips import lavfi, make

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.usefixtures("ffmpeg")]
Status = MediaItem.Status
Meanwhile = Callable[[], object]


@pytest.fixture(autouse=True)
def machine(settings: Settings, tmp_path: Path, folder: Path) -> None:
    settings.RUN_DIR = tmp_path / "run"


def item(name: str, **fields: object) -> MediaItem:
    return MediaItem.objects.create(key=name, title=name, **fields)


def statuses() -> dict[str, str]:
    return dict(MediaItem.objects.values_list("key", "status"))


def test_new_items_are_inspected_and_others_are_not(folder: Path) -> None:
    make(folder / "a.mp4", *lavfi("testsrc2=s=96x64:d=1"), "-c:v", "mpeg4")
    for name in ("a.mp4", "gone.mp4"):
        item(name)
    item("ready.mp4", status=Status.READY)
    assert tasks.probe_new() == "2 inspected."
    assert statuses() == {"a.mp4": "probed", "gone.mp4": "fault", "ready.mp4": "ready"}
    assert tasks.probe_new() == "0 inspected."


def test_items_of_playlists_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        item(name)
    Playlist.objects.create(name="P").entries.create(item=MediaItem.objects.get(key="c"))
    seen: list[str] = []

    def inspect_item(one: MediaItem, **_: object) -> None:
        seen.append(one.key)
        probing.fault(one, "Seen.")

    monkeypatch.setattr(probing, "inspect_item", inspect_item)
    tasks.probe_new()
    assert seen == ["c", "a", "b"]


def test_two_workers_share_the_work_and_a_third_ends(settings: Settings) -> None:
    settings.PROBE_JOBS = 2
    item("a")
    item("b")
    with slots.slot("probe", 2):
        tasks.probe_new()
        # It enqueued a task for help.
        assert [message.func() for message in OrmQ.objects.all()] == [
            "media_library.tasks.probe_new"
        ]
        with slots.slot("probe", 2):
            assert tasks.probe_new() == "Enough workers are running."


def test_a_dead_workers_item_is_claimed_again_but_not_for_ever() -> None:
    now = timezone.now()
    stale = now - probing.STALE_CLAIM_AGE - timedelta(seconds=1)
    item("busy", probe_claimed_at=now, probe_attempts=1)
    item("left", probe_claimed_at=stale, probe_attempts=1)
    item("deadly", probe_claimed_at=stale, probe_attempts=probing.MAX_ATTEMPTS)
    assert tasks.probe_new() == "1 inspected."
    assert statuses() == {"busy": "new", "left": "fault", "deadly": "fault"}
    assert "stopped responding 3 times" in MediaItem.objects.get(key="deadly").fault
    assert "is not in the media folder" in MediaItem.objects.get(key="left").fault


def test_a_storage_out_of_reach_stops_the_pool_and_costs_no_attempt(
    bucket: None, settings: Settings
) -> None:
    settings.STORAGE_ENDPOINT_URL = "http://127.0.0.1:9"
    settings.STORAGES = dict(settings.STORAGES)
    for name in ("a", "b", "c"):
        item(name)
    assert tasks.probe_new() == "1 inspected."
    rows = set(MediaItem.objects.values_list("status", "probe_attempts", "probe_claimed_at"))
    assert rows == {("new", 0, None)}


def test_an_unreadable_file_is_tried_three_times_and_gets_a_fault(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inspect_item(one: MediaItem, **_: object) -> None:
        raise NotReadableError("ffprobe was stopped: it took more than 30 s.")

    monkeypatch.setattr(probing, "inspect_item", inspect_item)
    item("tar pit")
    for attempt in range(1, probing.MAX_ATTEMPTS + 1):
        assert statuses() == {"tar pit": "new"}
        assert tasks.probe_new() == "1 inspected."
        # It is not retried at once, only when its claim is stale.
        assert tasks.probe_new() == "0 inspected."
        assert (
            attempt == probing.MAX_ATTEMPTS or MediaItem.objects.get().probe_attempts == attempt
        )
        MediaItem.objects.update(probe_claimed_at=timezone.now() - timedelta(days=1))
    assert statuses() == {"tar pit": "fault"}
    assert "took more than 30 s" in MediaItem.objects.get().fault


def test_a_turn_ends_and_another_worker_is_enqueued(monkeypatch: pytest.MonkeyPatch) -> None:
    item("a")
    monkeypatch.setattr(probing, "TURN_S", -1)
    assert tasks.probe_new() == "0 inspected."
    assert OrmQ.objects.count() == 1
    assert statuses() == {"a": "new"}


# ---- what happens meanwhile ------------------------------------------------------------------


def inspected_while(
    monkeypatch: pytest.MonkeyPatch, folder: Path, meanwhile: Meanwhile
) -> None:
    """Inspects the video `a.mp4` while something else happens."""
    make(folder / "a.mp4", *lavfi("testsrc2=s=96x64:d=1"), "-c:v", "mpeg4")

    def slow(*args: Any, **options: Any) -> Inspection:
        inspection = inspect_file(*args, **options)
        meanwhile()
        return inspection

    monkeypatch.setattr(probing, "inspect", slow)


@pytest.mark.parametrize("status", [Status.NEW, Status.READY, Status.FAULT])
def test_an_item_that_a_sync_marked_missing_meanwhile_stays_missing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    one = item("a.mp4", status=status, fault="Odd." if status == Status.FAULT else "")
    gone = {"status": Status.FAULT, "fault": "Gone.", "missing_since": timezone.now()}
    inspected_while(monkeypatch, folder, lambda: MediaItem.objects.update(**gone))
    actions.inspect(one, now=timezone.now())
    assert (one.status, one.fault, one.probed_at) == (Status.FAULT, "Gone.", None)
    assert one.missing_since is not None


def test_an_item_that_a_sync_changed_meanwhile_is_inspected_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = item("a.mp4", status=Status.PROBED, etag="old", probed_at=timezone.now())
    newer = {"status": Status.NEW, "etag": "newer", "probed_at": None}
    inspected_while(monkeypatch, folder, lambda: MediaItem.objects.update(**newer))
    actions.inspect(one, now=timezone.now())
    assert (one.status, one.etag) == (Status.NEW, "newer")
    assert [message.func() for message in OrmQ.objects.all()] == [
        "media_library.tasks.probe_new"
    ]
    monkeypatch.undo()
    assert tasks.probe_new() == "1 inspected."
    assert statuses() == {"a.mp4": "probed"}


def test_a_fault_of_the_old_content_is_not_written_for_the_new_content() -> None:
    one = item("gone.mp4", etag="old")
    MediaItem.objects.update(etag="newer")
    actions.inspect(one, now=timezone.now())
    assert (one.status, one.fault) == (Status.NEW, "")


def test_a_copy_that_becomes_ready_meanwhile_does_not_undo_the_inspection(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = item("a.mp4", status=Status.PREPARING)
    inspected_while(monkeypatch, folder, lambda: MediaItem.objects.update(status=Status.READY))
    actions.inspect(one, now=timezone.now())
    assert one.probed_at is not None


def test_a_missing_file_that_was_read_is_not_missing(folder: Path) -> None:
    make(folder / "a.mp4", *lavfi("testsrc2=s=96x64:d=1"), "-c:v", "mpeg4")
    one = item("a.mp4", status=Status.FAULT, fault="Gone.", missing_since=timezone.now())
    actions.inspect(one, now=timezone.now())
    assert (one.status, one.misses, one.missing_since) == (Status.PROBED, 0, None)


# ---- what each minute costs ------------------------------------------------------------------


def test_queries_of_every_minute_use_partial_indexes() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("It reads SQLite's plans.")
    with CaptureQueriesContext(connection) as queries:
        tasks.sweep_library()
        queue.take_next()
        probing.give_up()
    marks = "preparedcopy", "probe_claimed_at"
    statements = [
        query["sql"] for query in queries if any(mark in query["sql"] for mark in marks)
    ]
    steps = []
    for sql in statements:
        steps += connection.cursor().execute("EXPLAIN QUERY PLAN " + sql).fetchall()
    used = {step[-1].partition("USING INDEX ")[2].split(" ")[0] for step in steps}
    # The items of those copies are read by their ids ("INTEGER PRIMARY KEY").
    assert used == {"copy_queued", "copy_running", "item_looked_into", ""}, steps
    assert not [step for step in steps if "SCAN" in step[-1] and "INDEX" not in step[-1]]
