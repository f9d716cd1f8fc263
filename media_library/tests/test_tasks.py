"""The library's jobs: rows tell the truth whatever becomes of workers and messages."""

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

HOUSE = HouseFormat(96, 64, 25, 100_000, 64_000)
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
        return actions.request_prepare(item, HOUSE)


def test_an_added_file_is_stored_and_looked_into(item: MediaItem, clip: Path) -> None:
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


def test_a_file_that_is_no_film_says_so_in_its_row(tmp_path: Path) -> None:
    text = tmp_path / "letter.mp4"
    text.write_text("Dear Sir or Madam")
    item = actions.add_file(text, title="Letter")
    assert item.status == MediaItem.Status.FAULT
    assert "It is no film this library knows" in item.fault


def test_a_request_is_queued_once_however_often_it_is_made(
    item: MediaItem,
    copy: PreparedCopy,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        assert actions.request_prepare(item, HOUSE) == copy
    assert OrmQ.objects.count() == 1
    message = OrmQ.objects.get()
    assert message.func() == "media_library.tasks.prepare_next"
    copy.item.refresh_from_db()
    assert copy.item.status == MediaItem.Status.PREPARING


def test_a_prepared_copy_stands_in_the_storage_under_its_content_and_house(
    copy: PreparedCopy,
) -> None:
    assert tasks.prepare_item(copy.pk) == "Ready: 56 frames."
    copy.refresh_from_db()
    assert (copy.status, copy.frames, copy.percent, copy.fault) == (Status.READY, 56, 100, "")
    assert copy.key.startswith(f"prepared/{HOUSE.signature}/")
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


def test_a_worker_whose_claim_was_taken_leaves_the_row_alone(
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


def test_a_file_that_vanished_is_a_fault_and_is_tried_again_only_when_asked_for(
    copy: PreparedCopy, item: MediaItem
) -> None:
    storage.delete(item.key)
    tasks.prepare_item(copy.pk)
    item.refresh_from_db()
    assert item.status == MediaItem.Status.PROBED
    copy.refresh_from_db()
    assert copy.status == Status.FAULT
    assert "is not in the media folder" in copy.fault
    assert actions.request_prepare(item, HOUSE).status == Status.FAULT
    assert actions.request_prepare(item, HOUSE, again=True).status == Status.QUEUED


def test_what_may_pass_is_queued_again_with_a_growing_wait(
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
        # Nobody takes it before its time.
        assert tasks.prepare_next() == "Nothing to do."
    assert waits[0] < waits[1] < waits[2] <= queue.MAX_RETRY_DELAY
    settings.FFMPEG_PATH = "ffmpeg"
    assert tasks.prepare_item(copy.pk).startswith("Ready")


def test_a_changed_original_is_prepared_again(copy: PreparedCopy, item: MediaItem) -> None:
    tasks.prepare_item(copy.pk)
    # What a caller read before that is as good: the row says what there is now.
    stale = MediaItem.objects.get(pk=item.pk)
    MediaItem.objects.filter(pk=item.pk).update(etag="another")
    again = actions.request_prepare(stale, HOUSE)
    assert (again.status, again.source_etag) == (Status.QUEUED, "another")


def test_who_read_the_item_before_a_change_throws_no_good_copy_away(
    copy: PreparedCopy, item: MediaItem
) -> None:
    stale = MediaItem.objects.get(pk=item.pk)
    MediaItem.objects.filter(pk=item.pk).update(etag="another")
    PreparedCopy.objects.filter(pk=copy.pk).update(
        status=Status.READY, source_etag="another", key="prepared/a", frames=16
    )
    assert actions.request_prepare(stale, HOUSE).status == Status.READY


def test_the_sweep_queues_again_what_a_dead_worker_left(copy: PreparedCopy) -> None:
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
    assert tasks.sweep_library() == "0 given up, 0 left behind, 0 waiting."


def test_a_copy_that_kills_its_workers_is_given_up(copy: PreparedCopy) -> None:
    PreparedCopy.objects.filter(pk=copy.pk).update(
        status=Status.RUNNING,
        heartbeat_at=timezone.now() - timedelta(days=1),
        attempts=1,
        deaths=queue.MAX_DEATHS - 1,
    )
    assert tasks.sweep_library() == "1 given up, 0 left behind, 0 waiting."
    copy.refresh_from_db()
    copy.item.refresh_from_db()
    assert copy.status == Status.FAULT
    assert "fell silent 3 times" in copy.fault
    # Nothing is under way any more.
    assert copy.item.status == MediaItem.Status.PROBED


def test_only_deaths_are_counted_as_deaths(copy: PreparedCopy) -> None:
    """A full disk passes; that a worker died once after it is no third death."""
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


def test_the_sweep_rings_for_what_nobody_makes(copy: PreparedCopy, settings: Settings) -> None:
    OrmQ.objects.all().delete()
    settings.PREPARE_JOBS = 4
    assert tasks.sweep_library() == "0 given up, 0 left behind, 1 waiting."
    assert [message.func() for message in OrmQ.objects.all()] == [
        "media_library.tasks.prepare_next"
    ]


def test_the_sweep_removes_the_workplaces_of_the_dead(
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


def test_a_try_that_begins_during_the_sweep_keeps_its_workplace(
    settings: Settings, copy: PreparedCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = settings.DATA_DIR / "work"
    (work / "dead").mkdir(parents=True)
    look = Path.iterdir

    def meanwhile(self: Path) -> Iterator[Path]:
        """Another worker takes the copy and makes its folder, just before the sweep looks."""
        if self == work and (taken := queue.take(copy.pk)):
            (work / taken.claim).mkdir()
        return look(self)

    monkeypatch.setattr(Path, "iterdir", meanwhile)
    tasks.sweep_library()
    copy.refresh_from_db()
    assert [path.name for path in look(work)] == [copy.claim]


def test_a_workplace_that_is_gone_already_is_no_fault(settings: Settings) -> None:
    with workdir.work_folder("swept") as folder:
        (folder / "copy.mp4").touch()
        workdir.tidy()
        assert not folder.exists()


def test_a_disk_without_room_for_a_folder_is_tried_again(
    copy: PreparedCopy, settings: Settings
) -> None:
    settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
    # No folder can be made there, even by root.
    (settings.DATA_DIR / "work").unlink(missing_ok=True)
    (settings.DATA_DIR / "work").touch()
    assert "It is tried again at " in tasks.prepare_item(copy.pk)
    copy.refresh_from_db()
    assert (copy.status, copy.claim) == (Status.QUEUED, "")
    assert "Make room there" in copy.fault
    # The last try promises nothing.
    PreparedCopy.objects.filter(pk=copy.pk).update(attempts=queue.MAX_TRIES - 1)
    said = tasks.prepare_item(copy.pk)
    assert said.endswith(
        f"It was tried {queue.MAX_TRIES} times and is not tried again by itself."
    )
    copy.refresh_from_db()
    assert (copy.status, copy.fault) == (Status.FAULT, said)


def test_probing_a_deleted_item_says_so() -> None:
    assert tasks.probe_item(4711) == "The item is gone."
