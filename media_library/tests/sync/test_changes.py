"""Files that are touched, replaced, still growing, or no media, seen by a sync."""

from __future__ import annotations

import os
import shutil
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from media_library import storage, tasks
from media_library.analysis.fingerprint import SAMPLE_BYTES, fingerprint
from media_library.models import MediaItem, PreparedCopy, SyncRun
from media_library.sync import runner
from media_library.tests.clips import lavfi, make
from media_library.tests.storage.test_list_objects import put

pytestmark = [pytest.mark.django_db, pytest.mark.database]
Status = MediaItem.Status


def synced(**options: Any) -> SyncRun:
    return runner.run(runner.prepare(**options).pk)


def touch(path: Path, at: float) -> None:
    os.utime(path, (at, at))


# ---- skipped, and still growing --------------------------------------------------------------


def test_hidden_files_and_trash_become_no_items(either: str) -> None:
    kept = ["films/a.mp4", "b.mp4"]
    litter = [
        *("._b.mp4", ".hidden.mp4", ".Trash-1000/files/c.mp4", "films/@eaDir/a.mp4/S.mp4"),
        *("#recycle/d.mp4", "lost+found/e.mp4", ".stversions/f.mp4"),
    ]
    put(*kept, *litter)
    run = synced()
    assert sorted(MediaItem.objects.values_list("key", flat=True)) == sorted(kept)
    assert (run.added, run.left_out) == (2, len(litter))
    shown = [key for state, key in run.differences if state == "left out"]
    assert len(shown) == len(litter)


def test_an_item_whose_file_went_to_the_trash_is_missing(folder: Path) -> None:
    put(*(f"films/{number}.mp4" for number in range(10)))
    synced()
    (folder / "#recycle").mkdir()
    (folder / "films" / "1.mp4").rename(folder / "#recycle" / "1.mp4")
    synced()
    run = synced()
    assert (run.gone, run.left_out) == (1, 1)
    assert MediaItem.objects.get(key="films/1.mp4").status == Status.FAULT


def test_a_growing_file_waits_for_a_later_sync(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media_library.storage.list_objects.SETTLED_AFTER_S", 30.0)
    now = time.time()
    for name, age in (("whole.ts", 60), ("half.ts", 3), ("half.mkv", 29), ("notes.txt", 0)):
        put(name)
        touch(folder / name, now - age)
    # A file server's clock may be ahead by minutes; a camera's by years.
    for name, ahead in (("ahead.ts", 300), ("camera.mp4", 10 * 365 * 86400)):
        put(name)
        touch(folder / name, now + ahead)
    run = synced()
    assert set(MediaItem.objects.values_list("key", flat=True)) == {"whole.ts", "camera.mp4"}
    assert (run.added, run.growing) == (2, 3)
    # Automatically, without waiting for the hour.
    assert runner.sync_on_schedule() == "Not yet."
    SyncRun.objects.update(
        started_at=timezone.now() - timedelta(seconds=61),
        ended_at=timezone.now() - timedelta(seconds=60),
    )
    assert runner.sync_on_schedule() == "Started."
    for name in ("half.ts", "half.mkv", "ahead.ts"):
        touch(folder / name, now - 60)
    assert OrmQ.objects.exists()
    assert runner.run(SyncRun.objects.get(status="running").pk).added == 3


def test_a_growing_item_is_neither_missing_nor_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a.mp4", "b.mp4")
    synced()
    before = MediaItem.objects.get(key="a.mp4").etag
    put("a.mp4", content=b"half of another film")
    monkeypatch.setattr("media_library.storage.list_objects.SETTLED_AFTER_S", 30.0)
    for _ in range(2):
        run = synced()
        assert (run.changed, run.absent, run.growing) == (0, 0, 1)
    assert MediaItem.objects.get(key="a.mp4").etag == before
    monkeypatch.setattr("media_library.storage.list_objects.SETTLED_AFTER_S", 0.0)
    assert synced().changed == 1


# ---- touched, and replaced -------------------------------------------------------------------


@pytest.fixture
def video(folder: Path, ffmpeg: str) -> Path:
    path = folder / "film.mp4"
    make(path, *lavfi("testsrc2=s=96x64:r=25:d=1"), "-c:v", "mpeg4")
    return path


def inspected(path: Path) -> tuple[MediaItem, PreparedCopy]:
    """Returns the item, with a copy that is ready."""
    synced()
    tasks.probe_new()
    item = MediaItem.objects.get(key=path.name)
    assert item.status == Status.PROBED, item.fault
    copy = PreparedCopy.objects.create(
        item=item, house_format="h", source_etag=item.etag, key="prepared/x.mp4", frames=16,
        status="ready", made_at=timezone.now(),
    )  # fmt: skip
    return item, copy


def test_a_touched_file_keeps_its_inspection_and_copies(video: Path) -> None:
    item, copy = inspected(video)
    touch(video, time.time() - 1000)
    assert synced().changed == 1
    item.refresh_from_db()
    assert (item.status, item.probed_at) == (Status.NEW, None)
    assert tasks.probe_new() == "1 inspected."
    item.refresh_from_db()
    copy.refresh_from_db()
    assert item.status == Status.READY
    assert item.probed_at is not None
    assert item.etag == copy.source_etag == storage.facts("film.mp4").etag
    assert (copy.status, copy.key) == (PreparedCopy.Status.READY, "prepared/x.mp4")


def test_the_same_bytes_uploaded_in_parts_of_another_size_are_recognised(
    bucket: None, tmp_path: Path, ffmpeg: str
) -> None:
    path = tmp_path / "film.mp4"
    make(path, *lavfi("testsrc2=s=96x64:r=25:d=1"), "-c:v", "mpeg4")
    storage.upload(path, "film.mp4")
    item, copy = inspected(path)
    client = storage.backends.client()
    parts = client.create_multipart_upload(Bucket="films", Key="film.mp4")["UploadId"]
    sent = client.upload_part(
        Bucket="films", Key="film.mp4", UploadId=parts, PartNumber=1, Body=path.read_bytes()
    )
    client.complete_multipart_upload(
        Bucket="films",
        Key="film.mp4",
        UploadId=parts,
        MultipartUpload={"Parts": [{"ETag": sent["ETag"], "PartNumber": 1}]},
    )
    assert storage.facts("film.mp4").etag != item.etag
    assert synced().changed == 1
    tasks.probe_new()
    item.refresh_from_db()
    copy.refresh_from_db()
    assert item.status == Status.READY
    assert item.etag == copy.source_etag == storage.facts("film.mp4").etag


def test_a_replaced_file_of_equal_length_is_inspected_again(video: Path) -> None:
    item, copy = inspected(video)
    content = bytearray(video.read_bytes())
    other = video.with_name("other.mp4")
    make(other, *lavfi("testsrc2=s=128x72:r=25:d=2"), "-c:v", "mpeg4")
    shutil.move(other, video)
    assert synced().changed == 1
    tasks.probe_new()
    item.refresh_from_db()
    copy.refresh_from_db()
    assert (item.status, item.width) == (Status.PROBED, 128)
    assert copy.source_etag != item.etag
    # Equal length, but another last byte.
    content[-1] ^= 1
    assert fingerprint(len(content), lambda at, n: bytes(content[at : at + n])) != (
        fingerprint(video.stat().st_size, lambda at, n: video.read_bytes()[at : at + n])
    )


def test_a_mass_change_stops_at_the_deletion_guard_and_loses_nothing(folder: Path) -> None:
    names = [f"films/{number:02}.mp4" for number in range(30)]
    put(*names)
    synced()
    MediaItem.objects.update(status=Status.READY, probed_at=timezone.now())
    for name in names:
        touch(folder / name, time.time() - 5000)
    run = synced()
    assert run.status == SyncRun.Status.STOPPED
    assert run.fault.startswith("30 of 30 items have another version")
    assert MediaItem.objects.filter(status=Status.READY).count() == 30
    assert synced(accept_gone=True).changed == 30
    assert MediaItem.objects.filter(status=Status.NEW).count() == 30


@pytest.mark.parametrize("size", [1, 1000, SAMPLE_BYTES, SAMPLE_BYTES + 1, 5_000_000])
def test_a_fingerprint_reads_a_bounded_part_and_sees_both_ends(size: int) -> None:
    content = bytearray(os.urandom(size))
    read: list[int] = []

    def reader(at: int, count: int) -> bytes:
        read.append(count)
        return bytes(content[at : at + count])

    whole = fingerprint(size, reader)
    assert sum(read) <= 8 * SAMPLE_BYTES
    for place in (0, size - 1):
        content[place] ^= 1
        assert fingerprint(size, reader) != whole
        content[place] ^= 1
    assert fingerprint(size, reader) == whole
