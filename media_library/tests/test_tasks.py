"""The library's tasks: rows hold the state whatever happens to workers and messages."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import pytest
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from media_library import actions, storage, tasks
from media_library.conform import queue, workdir
from media_library.house_format import HouseFormat
from media_library.location import LocalFile
from media_library.models import MediaItem, PreparedCopy
from media_library.tests.clips import lavfi, make, read

HOUSE_FORMAT = HouseFormat(96, 64, 25, 100_000, 64_000)
Status = PreparedCopy.Status

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture(autouse=True)
def folders(settings: Settings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path / "data"
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.MEDIA_ROOT.mkdir()
    settings.STORAGES = dict(settings.STORAGES)


@pytest.fixture
def clip(tmp_path: Path, ffmpeg: str) -> Path:
    return make(
        tmp_path / "My Clip.mp4",
        *lavfi("testsrc2=s=96x64:r=30:d=2", "sine=d=2"),
        *("-c:v", "libx264", "-pix_fmt", "yuv420p"),
    )


@pytest.fixture
def item(clip: Path) -> MediaItem:
    return actions.add_file(clip, title="My clip")


@pytest.fixture
def copy(
    item: MediaItem, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> PreparedCopy:
    with django_capture_on_commit_callbacks(execute=True):
        return actions.request_prepare(item, HOUSE_FORMAT)


def test_an_added_file_is_stored_and_inspected(item: MediaItem, clip: Path) -> None:
    assert (item.key, item.status, item.fault) == ("my-clip.mp4", MediaItem.Status.PROBED, "")
    assert item.size_bytes == clip.stat().st_size
    assert item.etag
    assert item.probe is not None
    assert (item.probe.width, item.probe.fps, item.probe.channels) == (96, Fraction(30), 1)
    assert clip.exists()


def test_a_second_file_of_the_same_name_gets_a_key_of_its_own(
    item: MediaItem, clip: Path
) -> None:
    assert actions.add_file(clip, title="Again").key == "my-clip-2.mp4"


def test_an_unsupported_file_gets_a_fault(tmp_path: Path) -> None:
    text = tmp_path / "letter.mp4"
    text.write_text("Dear Sir or Madam")
    item = actions.add_file(text, title="Letter")
    assert item.status == MediaItem.Status.FAULT
    assert "The library does not support it" in item.fault


def test_a_request_is_queued_once_however_often_it_is_made(
    item: MediaItem,
    copy: PreparedCopy,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        assert actions.request_prepare(item, HOUSE_FORMAT) == copy
    assert OrmQ.objects.count() == 1
    message = OrmQ.objects.get()
    assert message.func() == "media_library.tasks.prepare_next"
    copy.item.refresh_from_db()
    assert copy.item.status == MediaItem.Status.PREPARING


def test_the_key_of_a_copy_has_its_content_and_house_format(
    copy: PreparedCopy,
) -> None:
    assert tasks.prepare_item(copy.pk) == "Ready: 56 frames."
    copy.refresh_from_db()
    assert (copy.status, copy.frames, copy.percent, copy.fault) == (Status.READY, 56, 100, "")
    assert copy.key.startswith(f"prepared/{HOUSE_FORMAT.signature}/")
    location = storage.locate(copy.key)
    assert isinstance(location, LocalFile)
    assert read(location.path).frames["video"] == 56
    copy.item.refresh_from_db()
    assert copy.item.status == MediaItem.Status.READY
    assert not list((location.path.parents[3] / "data" / "work").iterdir())


def test_the_second_worker_finds_nothing_to_do(copy: PreparedCopy) -> None:
    PreparedCopy.objects.filter(pk=copy.pk).update(status=Status.RUNNING, claim="other")
    assert tasks.prepare_item(copy.pk).startswith("Nothing to do")
    copy.refresh_from_db()
    assert (copy.status, copy.claim) == (Status.RUNNING, "other")


def test_a_worker_without_its_claim_does_not_write_the_row(
    copy: PreparedCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = storage.facts

    def meanwhile(key: str) -> storage.Facts:
        PreparedCopy.objects.filter(pk=copy.pk).update(claim="other")
        return facts(key)

    monkeypatch.setattr(storage, "facts", meanwhile)
    assert tasks.prepare_item(copy.pk).startswith("Stopped")
    copy.refresh_from_db()
    assert (copy.status, copy.claim) == (Status.RUNNING, "other")


def test_a_missing_file_is_a_fault_and_is_retried_only_on_request(
    copy: PreparedCopy, item: MediaItem
) -> None:
    storage.delete(item.key)
    tasks.prepare_item(copy.pk)
    item.refresh_from_db()
    assert item.status == MediaItem.Status.PROBED
    copy.refresh_from_db()
    assert copy.status == Status.FAULT
    assert "is not in the media folder" in copy.fault
    assert actions.request_prepare(item, HOUSE_FORMAT).status == Status.FAULT
    assert actions.request_prepare(item, HOUSE_FORMAT, again=True).status == Status.QUEUED


def test_temporary_errors_are_retried_with_growing_delays(
    copy: PreparedCopy, settings: Settings
) -> None:
    settings.FFMPEG_PATH = "/nowhere/ffmpeg"
    waits = []
    for _ in range(3):
        tasks.prepare_item(copy.pk)
        copy.refresh_from_db()
        assert copy.status == Status.QUEUED
        assert "apt install ffmpeg" in copy.fault
        assert copy.queued_at is not None
        waits.append(copy.queued_at - timezone.now())
        # No worker claims it before its time.
        assert tasks.prepare_next() == "Nothing to do."
    assert waits[0] < waits[1] < waits[2] <= queue.MAX_RETRY_DELAY
    settings.FFMPEG_PATH = "ffmpeg"
    assert tasks.prepare_item(copy.pk).startswith("Ready")


def test_a_changed_original_is_prepared_again(copy: PreparedCopy, item: MediaItem) -> None:
    tasks.prepare_item(copy.pk)
    # A row read before the change works too: the database has the current etag.
    stale = MediaItem.objects.get(pk=item.pk)
    MediaItem.objects.filter(pk=item.pk).update(etag="another")
    again = actions.request_prepare(stale, HOUSE_FORMAT)
    assert (again.status, again.source_etag) == (Status.QUEUED, "another")


def test_a_stale_item_does_not_discard_a_valid_copy(
    copy: PreparedCopy, item: MediaItem
) -> None:
    stale = MediaItem.objects.get(pk=item.pk)
    MediaItem.objects.filter(pk=item.pk).update(etag="another")
    PreparedCopy.objects.filter(pk=copy.pk).update(
        status=Status.READY, source_etag="another", key="prepared/a", frames=16
    )
    assert actions.request_prepare(stale, HOUSE_FORMAT).status == Status.READY


def test_the_sweep_requeues_a_dead_workers_copy(copy: PreparedCopy) -> None:
    OrmQ.objects.all().delete()
    long_ago = timezone.now() - queue.HEARTBEAT_TIMEOUT - timedelta(seconds=1)
    PreparedCopy.objects.filter(pk=copy.pk).update(
        status=Status.RUNNING, claim="dead", heartbeat_at=long_ago, attempts=1
    )
    tasks.sweep_library()
    copy.refresh_from_db()
    assert (copy.status, copy.claim) == (Status.QUEUED, "")
    assert OrmQ.objects.count() == 1


def test_the_sweep_leaves_a_living_worker_alone(copy: PreparedCopy) -> None:
    PreparedCopy.objects.filter(pk=copy.pk).update(
        status=Status.RUNNING, claim="busy", heartbeat_at=timezone.now()
    )
    assert tasks.sweep_library() == "0 failed, 0 requeued, 0 waiting."


def test_a_copy_that_kills_its_workers_gets_a_fault(copy: PreparedCopy) -> None:
    PreparedCopy.objects.filter(pk=copy.pk).update(
        status=Status.RUNNING,
        heartbeat_at=timezone.now() - timedelta(days=1),
        attempts=1,
        deaths=queue.MAX_DEATHS - 1,
    )
    assert tasks.sweep_library() == "1 failed, 0 requeued, 0 waiting."
    copy.refresh_from_db()
    copy.item.refresh_from_db()
    assert copy.status == Status.FAULT
    assert "stopped responding 3 times" in copy.fault
    # No work is in progress any more.
    assert copy.item.status == MediaItem.Status.PROBED


def test_only_deaths_are_counted_as_deaths(copy: PreparedCopy) -> None:
    """A full disk is temporary; a single death after it is not the third."""
    silent = timezone.now() - timedelta(days=1)
    PreparedCopy.objects.filter(pk=copy.pk).update(attempts=queue.MAX_TRIES - 1)
    for deaths in range(1, queue.MAX_DEATHS):
        assert queue.take(copy.pk)
        PreparedCopy.objects.filter(pk=copy.pk).update(heartbeat_at=silent)
        assert queue.recover() == (0, 1)
        copy.refresh_from_db()
        assert (copy.status, copy.deaths) == (Status.QUEUED, deaths)
    assert queue.take(copy.pk)
    PreparedCopy.objects.filter(pk=copy.pk).update(heartbeat_at=silent)
    assert queue.recover() == (1, 0)
    actions.retry(copy.item)
    copy.refresh_from_db()
    assert (copy.status, copy.deaths) == (Status.QUEUED, 0)


def test_the_sweep_enqueues_workers_for_waiting_copies(
    copy: PreparedCopy, settings: Settings
) -> None:
    OrmQ.objects.all().delete()
    settings.PREPARE_JOBS = 4
    assert tasks.sweep_library() == "0 failed, 0 requeued, 1 waiting."
    assert [message.func() for message in OrmQ.objects.all()] == [
        "media_library.tasks.prepare_next"
    ]


def test_the_sweep_removes_the_folders_of_dead_workers(
    settings: Settings, copy: PreparedCopy
) -> None:
    for claim in ("dead", "busy"):
        (settings.DATA_DIR / "work" / claim).mkdir(parents=True)
        (settings.DATA_DIR / "work" / claim / "copy.mp4").touch()
    PreparedCopy.objects.filter(pk=copy.pk).update(
        status=Status.RUNNING, claim="busy", heartbeat_at=timezone.now()
    )
    tasks.sweep_library()
    assert [path.name for path in (settings.DATA_DIR / "work").iterdir()] == ["busy"]


def test_a_try_that_begins_during_the_sweep_keeps_its_folder(
    settings: Settings, copy: PreparedCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = settings.DATA_DIR / "work"
    (work / "dead").mkdir(parents=True)
    iterdir = Path.iterdir

    def meanwhile(self: Path) -> Iterator[Path]:
        """Another worker claims the copy and makes its folder just before the listing."""
        if self == work and (taken := queue.take(copy.pk)):
            (work / taken.claim).mkdir()
        return iterdir(self)

    monkeypatch.setattr(Path, "iterdir", meanwhile)
    tasks.sweep_library()
    copy.refresh_from_db()
    assert [path.name for path in iterdir(work)] == [copy.claim]


def test_a_folder_that_was_removed_already_is_no_error(settings: Settings) -> None:
    with workdir.work_folder("swept") as folder:
        (folder / "copy.mp4").touch()
        workdir.tidy()
        assert not folder.exists()


def test_a_disk_without_space_for_a_folder_is_tried_again(
    copy: PreparedCopy, settings: Settings
) -> None:
    settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
    # No folder can be made there, even by root.
    (settings.DATA_DIR / "work").unlink(missing_ok=True)
    (settings.DATA_DIR / "work").touch()
    assert "The next try is at " in tasks.prepare_item(copy.pk)
    copy.refresh_from_db()
    assert (copy.status, copy.claim) == (Status.QUEUED, "")
    assert "Free some space there" in copy.fault
    # The last try promises no other.
    PreparedCopy.objects.filter(pk=copy.pk).update(attempts=queue.MAX_TRIES - 1)
    result = tasks.prepare_item(copy.pk)
    assert result.endswith(
        f"It failed {queue.MAX_TRIES} times; there is no further automatic try."
    )
    copy.refresh_from_db()
    assert (copy.status, copy.fault) == (Status.FAULT, result)


def test_probing_a_deleted_item_is_reported() -> None:
    assert tasks.probe_item(4711) == "The item was deleted."
