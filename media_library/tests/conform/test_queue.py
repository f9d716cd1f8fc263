"""The order of copies, their concurrency, and how they are stopped."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.db import connections
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from media_library import actions, storage, tasks
from media_library.actions import FaultyItemError
from media_library.conform import conform, queue
from media_library.conform.conform import Stage
from media_library.conform.progress import overall
from media_library.house_format import HouseFormat
from media_library.jobs import slots
from media_library.models import MediaItem, PreparedCopy, item_status
from media_library.storage import StorageError, backends
from media_library.tests.clips import lavfi, make
from streamsite.processes.claims import ClaimLostError
from streamsite.tests.waiting import until

HOUSE_FORMAT = HouseFormat(96, 64, 25, 100_000, 64_000)
VIDEO = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
Status = PreparedCopy.Status
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def machine(settings: Settings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path / "data"
    settings.RUN_DIR = tmp_path / "run"


def queued(title: str, due_at: datetime | None = None, **item: object) -> PreparedCopy:
    fields = {"status": MediaItem.Status.PROBED, "etag": title} | item
    made = MediaItem.objects.create(key=f"{title}.mp4", title=title, **fields)
    return PreparedCopy.objects.create(
        item=made,
        house_format=HOUSE_FORMAT.signature,
        source_etag=made.etag,
        due_at=due_at,
        queued_at=timezone.now(),
    )


# ---- pure ------------------------------------------------------------------------------------


def test_progress_goes_over_all_stages_and_ends_below_ready() -> None:
    assert overall(Stage.FETCHING, 0, fetched=True) == 0
    assert overall(Stage.FETCHING, 50, fetched=True) == 5
    assert overall(Stage.MEASURING, 0, fetched=False) == 0
    assert overall(Stage.ENCODING, 50, fetched=True) == 52
    assert overall(Stage.STORING, 100, fetched=True) == 99
    for fetched in (True, False):
        whole = [overall(stage, p, fetched=fetched) for stage in Stage for p in (0, 50, 99)]
        assert whole == sorted(whole)


def test_slots_are_counted_and_released(settings: Settings) -> None:
    with slots.slot("work", 2) as first, slots.slot("work", 2) as second:
        assert first
        assert second
        with slots.slot("work", 2) as third, slots.slot("other", 1) as another:
            assert not third
            assert another
    with slots.slot("work", 1) as again:
        assert again


# ---- rows ------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_most_urgent_copy_is_taken_first() -> None:
    for title, due_at in (("late", NOON + timedelta(hours=1)), ("never", None), ("soon", NOON)):
        queued(title, due_at)
    queued("never either")
    taken = [queue.take_next() for _ in range(5)]
    assert [copy and copy.item.title for copy in taken] == [
        "soon",
        "late",
        "never",
        "never either",
        None,
    ]
    assert set(PreparedCopy.objects.values_list("status", flat=True)) == {Status.RUNNING}


@pytest.mark.django_db
def test_copies_that_wait_for_a_retry_or_an_inspection_are_not_claimed() -> None:
    queued("new", status=MediaItem.Status.NEW)
    queued("faulty", status=MediaItem.Status.FAULT, fault="It is no video.")
    waits = queued("tried in vain")
    later = timezone.now() + timedelta(minutes=5)
    PreparedCopy.objects.filter(pk=waits.pk).update(queued_at=later)
    assert queue.take_next() is None
    assert tasks.prepare_next() == "Nothing to do."


@pytest.mark.django_db
def test_no_more_copies_are_made_at_once_than_there_are_slots(settings: Settings) -> None:
    settings.PREPARE_JOBS = 1
    queued("a")
    with slots.slot("prepare", 1):
        assert tasks.prepare_next() == "Enough workers are running."
    assert PreparedCopy.objects.get().status == Status.QUEUED


@pytest.mark.django_db
def test_a_worker_enqueues_help_and_the_next_task(folder: Path) -> None:
    for title in ("a", "b", "c"):
        queued(title)
    assert "a.mp4 is not in the media folder" in tasks.prepare_next()
    assert OrmQ.objects.count() == 2
    tasks.prepare_next()
    OrmQ.objects.all().delete()
    tasks.prepare_next()
    assert OrmQ.objects.count() == 0


@pytest.mark.django_db
def test_many_requests_enqueue_one_task(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    items = [
        MediaItem.objects.create(key=name, title=name, status="probed", etag=name)
        for name in "abc"
    ]
    with django_capture_on_commit_callbacks(execute=True):
        for item in items:
            actions.request_prepare(item, HOUSE_FORMAT)
    assert OrmQ.objects.count() == 1


@pytest.mark.django_db
def test_a_faulty_item_is_refused_with_its_fault() -> None:
    bad = MediaItem.objects.create(key="a", title="A", status="fault", fault="It is no video.")
    with pytest.raises(FaultyItemError, match="A can't be prepared: It is no video"):
        actions.request_prepare(bad, HOUSE_FORMAT)


@pytest.mark.django_db
@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING])
def test_a_queued_or_running_copy_can_be_cancelled(status: str) -> None:
    copy = queued("a")
    PreparedCopy.objects.update(status=status, claim="busy")
    assert actions.cancel_prepare(copy)
    assert (copy.status, copy.claim) == (Status.CANCELLED, "")
    copy.item.refresh_from_db()
    assert copy.item.status == MediaItem.Status.PROBED
    assert not actions.cancel_prepare(copy)


@pytest.mark.django_db
def test_a_ready_copy_is_not_cancelled() -> None:
    copy = queued("a")
    PreparedCopy.objects.update(status=Status.READY, key="prepared/a", frames=16)
    assert not actions.cancel_prepare(copy)
    assert copy.status == Status.READY


@pytest.mark.django_db
def test_retry_queues_failed_and_cancelled_copies(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    failed, cancelled, running = queued("a"), queued("b"), queued("c")
    PreparedCopy.objects.filter(pk=failed.pk).update(
        status=Status.FAULT, fault="No.", attempts=3
    )
    PreparedCopy.objects.filter(pk=cancelled.pk).update(status=Status.CANCELLED)
    PreparedCopy.objects.filter(pk=running.pk).update(status=Status.RUNNING, claim="busy")
    for copy in (failed, cancelled, running):
        with django_capture_on_commit_callbacks(execute=True):
            actions.retry(copy.item)
        copy.refresh_from_db()
    assert (failed.status, failed.attempts, failed.fault) == (Status.QUEUED, 0, "")
    assert cancelled.status == Status.QUEUED
    assert (running.status, running.claim) == (Status.RUNNING, "busy")
    assert failed.item.status == MediaItem.Status.PREPARING


@pytest.mark.django_db
def test_retry_of_a_faulty_item_inspects_it_first(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    copy = queued("a", status=MediaItem.Status.FAULT, fault="It is cut off.")
    PreparedCopy.objects.update(status=Status.FAULT, fault="No.")
    with django_capture_on_commit_callbacks(execute=True):
        actions.retry(copy.item)
    assert (copy.item.status, copy.item.fault) == (MediaItem.Status.NEW, "")
    assert [message.func() for message in OrmQ.objects.all()] == [
        "media_library.tasks.probe_new",
        "media_library.tasks.prepare_next",
    ]
    # Its copy waits for the inspection.
    assert queue.take_next() is None


@pytest.mark.django_db
def test_an_item_is_preparing_while_any_copy_is_and_ready_by_its_present_content() -> None:
    def status() -> str:
        item.refresh_from_db()
        return item.status

    ready = queued("a")
    item = ready.item
    PreparedCopy.objects.update(status=Status.READY, key="prepared/a", frames=16)
    other = actions.request_prepare(item, HouseFormat())
    assert status() == MediaItem.Status.PREPARING
    actions.cancel_prepare(other)
    assert status() == MediaItem.Status.READY
    MediaItem.objects.update(etag="another")
    item_status.settle(item.pk)
    assert status() == MediaItem.Status.PROBED


# ---- with real videos ------------------------------------------------------------------------


def make_video(path: Path, seconds: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return make(path, *lavfi(f"testsrc2=s=96x64:r=30:d={seconds}", f"sine=d={seconds}"), *VIDEO)


@pytest.mark.django_db
@pytest.mark.usefixtures("ffmpeg", "bucket")
def test_a_video_of_a_bucket_is_downloaded_prepared_and_stored(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "PIECE_BYTES", 10_000)
    item = actions.add_file(make_video(tmp_path / "a.mp4"), title="A")
    copy = actions.request_prepare(item, HOUSE_FORMAT)
    assert tasks.prepare_next() == "A: Ready: 56 frames."
    copy.refresh_from_db()
    assert storage.exists(copy.key)
    assert copy.loudness_lufs == pytest.approx(-14, abs=1)
    assert (copy.percent, copy.stage) == (100, "")
    assert not list((settings.DATA_DIR / "work").iterdir())


@pytest.mark.django_db
@pytest.mark.usefixtures("ffmpeg", "folder")
def test_a_copy_that_is_in_the_storage_is_not_made_again_unless_it_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the loss of the database: the bucket still has all copies."""
    item = actions.add_file(make_video(tmp_path / "a.mp4"), title="A")
    first = actions.request_prepare(item, HOUSE_FORMAT)
    tasks.prepare_next()
    first.refresh_from_db()
    made = backends.folder_path(first.key)
    content = made.read_bytes()

    def again() -> PreparedCopy:
        PreparedCopy.objects.all().delete()
        copy = actions.request_prepare(item, HOUSE_FORMAT)
        assert tasks.prepare_next() == "A: Ready: 56 frames."
        copy.refresh_from_db()
        return copy

    with monkeypatch.context() as patch:
        patch.delattr(conform, "conform")
        copy = again()
    assert copy.key == first.key
    assert copy.loudness_lufs == pytest.approx(first.loudness_lufs, abs=0.1)
    for damaged in (content[: len(content) // 2], b""):
        made.write_bytes(damaged)
        again()
        assert len(made.read_bytes()) > len(content) // 2


@pytest.mark.django_db
@pytest.mark.usefixtures("ffmpeg", "folder")
@pytest.mark.parametrize(("failures", "status"), [(2, "ready"), (3, "queued")])
def test_a_finished_copy_waits_for_the_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int, status: str
) -> None:
    """A short outage of the bucket does not cost the encoding; a long one requeues it."""
    item = actions.add_file(make_video(tmp_path / "a.mp4"), title="A")
    copy = actions.request_prepare(item, HOUSE_FORMAT)
    upload, tries = storage.upload, count(1)

    def away(*args: Any, **kwargs: Any) -> None:
        if next(tries) <= failures:
            raise StorageError("The storage can't be reached.")
        upload(*args, **kwargs)

    monkeypatch.setattr(queue, "STORE_RETRIES_S", (0.01, 0.01))
    monkeypatch.setattr(storage, "upload", away)
    tasks.prepare_next()
    copy.refresh_from_db()
    assert copy.status == status
    assert next(tries) == 4


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("bucket")
def test_a_transfer_ends_when_the_claim_is_lost(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(20 << 20))

    def stop(_bytes: int) -> None:
        raise ClaimLostError

    with pytest.raises(ClaimLostError):
        storage.upload(large, "prepared/large", progress=stop)
    # boto3 leaves the file to the garbage collector.
    gc.collect()
    assert not storage.exists("prepared/large")


@pytest.mark.django_db
@pytest.mark.usefixtures("ffmpeg")
def test_a_changed_file_is_inspected_first(folder: Path) -> None:
    make_video(folder / "a.mp4")
    item = MediaItem.objects.create(key="a.mp4", title="A")
    tasks.probe_new()
    item.refresh_from_db()
    copy = actions.request_prepare(item, HOUSE_FORMAT)
    make_video(folder / "a.mp4", 3)
    assert "it is inspected first" in tasks.prepare_next()
    item.refresh_from_db()
    assert item.status == MediaItem.Status.NEW
    assert tasks.prepare_next() == "Nothing to do."
    tasks.probe_new()
    assert tasks.prepare_next() == "A: Ready: 80 frames."
    copy.refresh_from_db()
    item.refresh_from_db()
    assert copy.source_etag == item.etag
    assert item.status == MediaItem.Status.READY


@pytest.mark.django_db
@pytest.mark.usefixtures("ffmpeg", "folder")
def test_a_copy_that_was_stored_incompletely_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = actions.request_prepare(
        actions.add_file(make_video(tmp_path / "a.mp4"), title="A"), HOUSE_FORMAT
    )
    upload = storage.upload

    def half(source: Path, key: str, **options: object) -> None:
        with source.open("r+b") as file:
            file.truncate(source.stat().st_size // 2)
        upload(source, key)

    monkeypatch.setattr(storage, "upload", half)
    assert "The next try is at " in tasks.prepare_next()
    copy.refresh_from_db()
    assert copy.status == Status.QUEUED
    assert copy.key == ""


@contextmanager
def in_the_background(copy: PreparedCopy) -> Iterator[list[str]]:
    results: list[str] = []

    def work() -> None:
        try:
            results.append(tasks.prepare_item(copy.pk))
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    yield results
    thread.join(20)
    assert not thread.is_alive()


def encoders(folder: Path) -> list[psutil.Process]:
    """Returns FFmpeg processes that read or write below the folder."""
    processes = []
    for child in psutil.Process().children(recursive=True):
        # It may end between two calls.
        with suppress(psutil.NoSuchProcess):
            if any(str(folder) in word for word in child.cmdline()):
                processes.append(child)
    return processes


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("ffmpeg", "folder")
def test_cancelling_ends_ffmpeg_and_leaves_nothing(tmp_path: Path, settings: Settings) -> None:
    house_format = HouseFormat(1280, 720, 30)
    clip = make(
        tmp_path / "long.mkv", *lavfi("mandelbrot=s=96x64:r=30", "sine"), "-t", "120", *VIDEO
    )
    copy = actions.request_prepare(actions.add_file(clip, title="Long"), house_format)
    with in_the_background(copy) as results:
        until(
            lambda: PreparedCopy.objects.filter(stage="encoding", percent__gt=5).exists(),
            60,
            "it is being encoded",
        )
        assert encoders(tmp_path)
        actions.cancel_prepare(copy)
        # About a second, on a busy machine.
        until(lambda: not encoders(tmp_path), 3, "FFmpeg is gone")
    assert results == ["Stopped: it was cancelled, or another worker has it now."]
    copy.refresh_from_db()
    assert copy.status == Status.CANCELLED
    assert not list((settings.DATA_DIR / "work").iterdir())
    assert not list((tmp_path / "media").glob("prepared/**/*.mp4"))


@pytest.mark.django_db
@pytest.mark.usefixtures("ffmpeg")
def test_a_copy_cancelled_after_its_upload_is_removed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = actions.request_prepare(
        actions.add_file(make_video(tmp_path / "a.mp4"), title="A"), HOUSE_FORMAT
    )
    upload = storage.upload

    def meanwhile(source: Path, key: str, **options: object) -> None:
        upload(source, key)
        actions.cancel_prepare(copy)

    monkeypatch.setattr(storage, "upload", meanwhile)
    assert tasks.prepare_item(copy.pk).startswith("Stopped")
    assert not list(folder.glob("prepared/**/*.mp4"))
    copy.refresh_from_db()
    assert copy.status == Status.CANCELLED


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("ffmpeg", "folder")
def test_a_stop_of_the_service_requeues_the_copy(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, progress: Callable[[Stage, int], None], **__: object) -> None:
        progress(Stage.ENCODING, 50)
        os.kill(os.getpid(), signal.SIGTERM)
        # A second signal does not end the worker before it has requeued the copy, either.
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    copy = actions.request_prepare(
        actions.add_file(make_video(tmp_path / "a.mp4"), title="A"), HOUSE_FORMAT
    )
    with monkeypatch.context() as patch:
        patch.setattr(conform, "conform", stop)
        with pytest.raises(SystemExit):
            tasks.prepare_next()
    # The alarm would end a process that does not end by itself.
    assert signal.alarm(0)
    assert signal.getsignal(signal.SIGTERM) == before
    copy.refresh_from_db()
    assert (copy.status, copy.claim, copy.stage) == (Status.QUEUED, "", "")
    assert (copy.attempts, copy.deaths) == (0, 0)
    assert not list((settings.DATA_DIR / "work").iterdir())
    assert tasks.prepare_next() == "A: Ready: 56 frames."
