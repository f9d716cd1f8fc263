"""The pool that looks into new items: whatever becomes of its workers, none is forgotten."""

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
from media_library.analysis.inspection import inspect as look_into
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


def test_all_new_items_are_looked_into_and_others_left_alone(folder: Path) -> None:
    make(folder / "a.mp4", *lavfi("testsrc2=s=96x64:d=1"), "-c:v", "mpeg4")
    for name in ("a.mp4", "gone.mp4"):
        item(name)
    item("ready.mp4", status=Status.READY)
    assert tasks.probe_new() == "2 looked into."
    assert statuses() == {"a.mp4": "probed", "gone.mp4": "fault", "ready.mp4": "ready"}
    assert tasks.probe_new() == "0 looked into."


def test_items_of_playlists_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        item(name)
    Playlist.objects.create(name="P").entries.create(item=MediaItem.objects.get(key="c"))
    seen: list[str] = []

    def look_at(one: MediaItem, **_: object) -> None:
        seen.append(one.key)
        probing.fault(one, "Seen.")

    monkeypatch.setattr(probing, "inspect_item", look_at)
    tasks.probe_new()
    assert seen == ["c", "a", "b"]


def test_two_workers_share_the_work_and_a_third_goes_home(settings: Settings) -> None:
    settings.PROBE_JOBS = 2
    item("a")
    item("b")
    with slots.slot("probe", 2):
        tasks.probe_new()
        # It rang for help.
        assert [message.func() for message in OrmQ.objects.all()] == [
            "media_library.tasks.probe_new"
        ]
        with slots.slot("probe", 2):
            assert tasks.probe_new() == "Enough are at it."


def test_what_a_dead_worker_had_is_taken_up_again_but_not_for_ever() -> None:
    now = timezone.now()
    stale = now - probing.STALE_CLAIM_AGE - timedelta(seconds=1)
    item("busy", probe_claimed_at=now, probe_attempts=1)
    item("left", probe_claimed_at=stale, probe_attempts=1)
    item("deadly", probe_claimed_at=stale, probe_attempts=probing.MAX_ATTEMPTS)
    assert tasks.probe_new() == "1 looked into."
    assert statuses() == {"busy": "new", "left": "fault", "deadly": "fault"}
    assert "fell silent 3 times" in MediaItem.objects.get(key="deadly").fault
    assert "is not in the media folder" in MediaItem.objects.get(key="left").fault


def test_a_storage_out_of_reach_stops_the_pool_and_costs_no_attempt(
    bucket: None, settings: Settings
) -> None:
    settings.STORAGE_ENDPOINT_URL = "http://127.0.0.1:9"
    settings.STORAGES = dict(settings.STORAGES)
    for name in ("a", "b", "c"):
        item(name)
    assert tasks.probe_new() == "1 looked into."
    rows = set(MediaItem.objects.values_list("status", "probe_attempts", "probe_claimed_at"))
    assert rows == {("new", 0, None)}


def test_a_file_that_can_not_be_read_is_tried_three_times_then_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_at(one: MediaItem, **_: object) -> None:
        raise NotReadableError("ffprobe was stopped: it took more than 30 s.")

    monkeypatch.setattr(probing, "inspect_item", look_at)
    item("tar pit")
    for attempt in range(1, probing.MAX_ATTEMPTS + 1):
        assert statuses() == {"tar pit": "new"}
        assert tasks.probe_new() == "1 looked into."
        # At once it is not tried again, only when its claim is stale.
        assert tasks.probe_new() == "0 looked into."
        assert (
            attempt == probing.MAX_ATTEMPTS or MediaItem.objects.get().probe_attempts == attempt
        )
        MediaItem.objects.update(probe_claimed_at=timezone.now() - timedelta(days=1))
    assert statuses() == {"tar pit": "fault"}
    assert "took more than 30 s" in MediaItem.objects.get().fault


def test_a_turn_ends_and_another_worker_is_rung_for(monkeypatch: pytest.MonkeyPatch) -> None:
    item("a")
    monkeypatch.setattr(probing, "TURN_S", -1)
    assert tasks.probe_new() == "0 looked into."
    assert OrmQ.objects.count() == 1
    assert statuses() == {"a": "new"}


# ---- what happens meanwhile ------------------------------------------------------------------


def looked_while(monkeypatch: pytest.MonkeyPatch, folder: Path, meanwhile: Meanwhile) -> None:
    """The file `a.mp4` is a film, and something happens while it is looked into."""
    make(folder / "a.mp4", *lavfi("testsrc2=s=96x64:d=1"), "-c:v", "mpeg4")

    def slow(*args: Any, **options: Any) -> Inspection:
        seen = look_into(*args, **options)
        meanwhile()
        return seen

    monkeypatch.setattr(probing, "look", slow)


@pytest.mark.parametrize("status", [Status.NEW, Status.READY, Status.FAULT])
def test_what_a_sync_finds_gone_meanwhile_stays_gone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    one = item("a.mp4", status=status, fault="Odd." if status == Status.FAULT else "")
    gone = {"status": Status.FAULT, "fault": "Gone.", "missing_since": timezone.now()}
    looked_while(monkeypatch, folder, lambda: MediaItem.objects.update(**gone))
    actions.inspect(one, now=timezone.now())
    assert (one.status, one.fault, one.probed_at) == (Status.FAULT, "Gone.", None)
    assert one.missing_since is not None


def test_what_a_sync_finds_changed_meanwhile_is_looked_into_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = item("a.mp4", status=Status.PROBED, etag="old", probed_at=timezone.now())
    newer = {"status": Status.NEW, "etag": "newer", "probed_at": None}
    looked_while(monkeypatch, folder, lambda: MediaItem.objects.update(**newer))
    actions.inspect(one, now=timezone.now())
    assert (one.status, one.etag) == (Status.NEW, "newer")
    assert [message.func() for message in OrmQ.objects.all()] == [
        "media_library.tasks.probe_new"
    ]
    monkeypatch.undo()
    assert tasks.probe_new() == "1 looked into."
    assert statuses() == {"a.mp4": "probed"}


def test_a_fault_of_what_was_there_before_is_not_told_of_what_is_there_now() -> None:
    one = item("gone.mp4", etag="old")
    MediaItem.objects.update(etag="newer")
    actions.inspect(one, now=timezone.now())
    assert (one.status, one.fault) == (Status.NEW, "")


def test_a_copy_that_is_ready_meanwhile_does_not_undo_the_look(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = item("a.mp4", status=Status.PREPARING)
    looked_while(monkeypatch, folder, lambda: MediaItem.objects.update(status=Status.READY))
    actions.inspect(one, now=timezone.now())
    assert one.probed_at is not None


def test_a_missing_file_that_was_read_is_not_missing(folder: Path) -> None:
    make(folder / "a.mp4", *lavfi("testsrc2=s=96x64:d=1"), "-c:v", "mpeg4")
    one = item("a.mp4", status=Status.FAULT, fault="Gone.", missing_since=timezone.now())
    actions.inspect(one, now=timezone.now())
    assert (one.status, one.misses, one.missing_since) == (Status.PROBED, 0, None)


# ---- what each minute costs ------------------------------------------------------------------


def test_each_minutes_questions_are_asked_of_indexes_of_what_is_at_hand() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("It reads SQLite's plans.")
    with CaptureQueriesContext(connection) as queries:
        tasks.sweep_library()
        queue.take_next()
        probing._give_up()
    marks = "preparedcopy", "probe_claimed_at"
    asked = [each["sql"] for each in queries if any(mark in each["sql"] for mark in marks)]
    steps = []
    for sql in asked:
        steps += connection.cursor().execute("EXPLAIN QUERY PLAN " + sql).fetchall()
    used = {step[-1].partition("USING INDEX ")[2].split(" ")[0] for step in steps}
    # The items of those copies are met by their ids ("INTEGER PRIMARY KEY").
    assert used == {"copy_queued", "copy_running", "item_looked_into", ""}, steps
    assert not [step for step in steps if "SCAN" in step[-1] and "INDEX" not in step[-1]]
