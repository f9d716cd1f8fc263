"""The read-ahead cache over a real S3 server: what it downloads, keeps, drops and detects."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from errno import EROFS
from pathlib import Path
from unittest.mock import Mock

import pytest
from pytest_django import Settings

from media_library import storage
from media_library.storage import backends, read_ahead
from media_library.storage.read_ahead import (
    POLL_INTERVAL_S,
    RETRY_INTERVAL_S,
    STATUS_LIFETIME_S,
    ObjectVersion,
    ReadAhead,
)

A, B, C = (ObjectVersion(f"{name}.mp4", "1") for name in "abc")
SIZE = 1000


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ahead(bucket: None, tmp_path: Path, clock: Clock) -> ReadAhead:
    """Space for two and a half files."""
    for version in (A, B, C):
        put(tmp_path, version.key, version.key.encode() * (SIZE // 5))
    return ReadAhead(tmp_path / "cache", SIZE * 5 // 2, clock=clock)


def put(folder: Path, key: str, content: bytes) -> None:
    source = folder / "source"
    source.write_bytes(content)
    storage.upload(source, key)


def work(ahead: ReadAhead, steps: int = 10) -> None:
    for _ in range(steps):
        ahead.step()


def here(ahead: ReadAhead, *versions: ObjectVersion) -> list[bool]:
    return [ahead.find(version) is not None for version in versions]


def test_queued_objects_are_downloaded_in_order_up_to_the_limit(
    ahead: ReadAhead,
) -> None:
    ahead.set_queue([A, B, C])
    assert ahead.find(A) is None
    ahead.step()
    assert here(ahead, A, B, C) == [True, False, False]
    work(ahead)
    assert here(ahead, A, B, C) == [True, True, False]
    path = ahead.find(B)
    assert path is not None
    assert path.read_bytes() == b"b.mp4" * (SIZE // 5)


def test_unqueued_objects_are_removed_oldest_first(ahead: ReadAhead) -> None:
    ahead.set_queue([B, A])
    work(ahead)
    os.utime(ahead.folder / B.name, (1, 1))
    ahead.set_queue([C])
    work(ahead)
    assert here(ahead, A, B, C) == [True, False, True]


def test_later_objects_are_removed_for_sooner_ones(ahead: ReadAhead) -> None:
    ahead.set_queue([A, B])
    work(ahead)
    ahead.set_queue([C, A, B])
    work(ahead)
    assert here(ahead, A, B, C) == [True, False, True]


def test_an_object_on_air_is_never_removed(ahead: ReadAhead) -> None:
    ahead.set_queue([A, B])
    work(ahead)
    os.utime(ahead.folder / A.name, (1, 1))
    ahead.set_queue([C], held=[A])
    work(ahead)
    assert here(ahead, A, B, C) == [True, False, True]
    ahead.set_queue([C, B], held=[A])
    work(ahead)
    # There is no space for a third.
    assert here(ahead, A, B, C) == [True, False, True]


def test_the_folder_stays_within_the_limit_at_every_moment(
    ahead: ReadAhead, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_ahead, "PIECE_BYTES", 300)
    for queue in ([A, B, C], [C, B, A], [B], [C, A]):
        ahead.set_queue(queue)
        for _ in range(20):
            ahead.step()
            files = list(ahead.folder.iterdir())
            assert sum(path.stat().st_size for path in files) <= ahead.limit
        assert ahead.find(queue[0])


def test_a_file_larger_than_the_limit_does_not_block_others(
    ahead: ReadAhead, tmp_path: Path
) -> None:
    put(tmp_path, "long.mp4", b"x" * SIZE * 3)
    ahead.set_queue([ObjectVersion("long.mp4", "1"), A])
    work(ahead)
    assert here(ahead, ObjectVersion("long.mp4", "1"), A) == [False, True]


def test_a_download_is_resumed_after_a_crash(
    ahead: ReadAhead, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(read_ahead, "PIECE_BYTES", 300)
    ahead.set_queue([A])
    work(ahead, 2)
    (part,) = ahead.folder.iterdir()
    assert part.stat().st_size == 600
    again = ReadAhead(ahead.folder, ahead.limit, clock=clock)
    again.set_queue([A])
    starts: list[int] = []
    read = storage.read

    def noted(
        key: str, start: int, length: int, *, etag: str = "", brisk: bool = False
    ) -> bytes:
        starts.append(start)
        return read(key, start, length, etag=etag, brisk=brisk)

    monkeypatch.setattr(storage, "read", noted)
    work(again, 3)
    assert starts == [600, 900]
    path = again.find(A)
    assert path is not None
    assert path.read_bytes() == b"a.mp4" * (SIZE // 5)


def test_two_contents_are_never_mixed(
    ahead: ReadAhead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(read_ahead, "PIECE_BYTES", 300)
    ahead.set_queue([A])
    work(ahead, 2)
    put(tmp_path, A.key, b"other" * (SIZE // 5))
    work(ahead, 2)
    # The change is detected: it is skipped for a while, then downloaded from its beginning.
    assert ahead.find(A) is None
    clock.now += read_ahead.REFUSED_RETRY_S
    work(ahead, 6)
    path = ahead.find(A)
    assert path is not None
    assert path.read_bytes() == b"other" * (SIZE // 5)
    assert [path.name for path in ahead.folder.iterdir()] == [A.name]


def test_a_missing_object_is_skipped_and_is_no_fault_of_the_storage(
    ahead: ReadAhead,
) -> None:
    ahead.set_queue([ObjectVersion("nowhere.mp4", "1"), A])
    work(ahead)
    assert ahead.find(A)
    assert ahead.fault() == ""


def test_a_file_that_failed_is_downloaded_again(ahead: ReadAhead) -> None:
    ahead.set_queue([A])
    work(ahead)
    (ahead.folder / A.name).write_bytes(b"damaged")
    ahead.distrust(A)
    assert ahead.find(A) is None
    work(ahead)
    path = ahead.find(A)
    assert path is not None
    assert path.read_bytes().startswith(b"a.mp4")


def test_a_file_that_failed_is_better_than_none(ahead: ReadAhead, settings: Settings) -> None:
    """The machine may be at fault; and without the storage nothing can replace the file."""
    ahead.set_queue([A])
    work(ahead)
    there = settings.STORAGE_ENDPOINT_URL
    settings.STORAGE_ENDPOINT_URL = "http://127.0.0.1:9"
    ahead.distrust(A)
    assert ahead.step() == RETRY_INTERVAL_S
    assert ahead.find(A) is not None
    settings.STORAGE_ENDPOINT_URL = there
    (ahead.folder / A.name).write_bytes(b"damaged")
    work(ahead)
    path = ahead.find(A)
    assert path is not None
    assert path.read_bytes().startswith(b"a.mp4")


def test_a_read_only_disk_does_not_end_the_cache(
    ahead: ReadAhead, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead.set_queue([A])
    work(ahead)
    # Like ext4 after a read error.
    monkeypatch.setattr(Path, "unlink", Mock(side_effect=OSError(EROFS, os.strerror(EROFS))))
    ahead.distrust(A)
    clock.now += STATUS_LIFETIME_S + 1
    assert ahead.fault() is None
    ahead.step()
    assert ahead.fault() == "", "the storage is still checked"
    assert ahead.find(A) is None


def test_an_outage_of_the_storage_and_its_end_are_detected(
    ahead: ReadAhead, settings: Settings, clock: Clock
) -> None:
    assert ahead.fault() is None
    ahead.set_queue([A])
    work(ahead)
    assert ahead.fault() == ""
    there = settings.STORAGE_ENDPOINT_URL
    settings.STORAGE_ENDPOINT_URL = "http://127.0.0.1:9"
    # All files are here: the storage is checked again after a while, or after a failure.
    assert 0 < ahead.step() <= POLL_INTERVAL_S
    assert ahead.fault() == ""
    ahead.doubt()
    assert ahead.step() == RETRY_INTERVAL_S
    assert "can't be reached" in (ahead.fault() or "")
    settings.STORAGE_ENDPOINT_URL = there
    ahead.step()
    assert ahead.fault() == ""
    clock.now += STATUS_LIFETIME_S + 1
    assert ahead.fault() is None


def test_an_outage_in_the_middle_of_a_download_is_detected(
    ahead: ReadAhead, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_ahead, "PIECE_BYTES", 300)
    ahead.set_queue([A])
    work(ahead, 2)
    settings.STORAGE_BUCKET = "gone"
    settings.STORAGES = dict(settings.STORAGES)
    assert ahead.step() == RETRY_INTERVAL_S
    assert "check STORAGE_BUCKET" in (ahead.fault() or "")
    settings.STORAGE_BUCKET = "films"
    settings.STORAGES = dict(settings.STORAGES)
    work(ahead, 4)
    assert ahead.fault() == ""
    assert ahead.find(A)


def test_an_unreadable_object_does_not_block_the_others(
    ahead: ReadAhead, tmp_path: Path, clock: Clock
) -> None:
    """Archived: the bucket works, but that object can't be read."""
    source = tmp_path / "source"
    source.write_bytes(b"old")
    storage.backends.client().upload_file(
        str(source), "films", "archived.mp4", ExtraArgs={"StorageClass": "GLACIER"}
    )
    ahead.set_queue([ObjectVersion("archived.mp4", "1"), A])
    work(ahead)
    assert here(ahead, ObjectVersion("archived.mp4", "1"), A) == [False, True]
    assert ahead.fault() == ""


def test_an_object_that_does_not_fit_now_does_not_block_smaller_ones(
    ahead: ReadAhead, tmp_path: Path
) -> None:
    """Two long videos and a short filler: the filler is the safety net."""
    long = [ObjectVersion(f"long-{n}.mp4", "1") for n in (1, 2)]
    for version in long:
        put(tmp_path, version.key, b"x" * (SIZE * 3 // 2))
    ahead.set_queue([*long, A])
    work(ahead)
    assert here(ahead, *long, A) == [True, False, True]
    ahead.set_queue([long[1], A, long[0]])
    work(ahead)
    assert here(ahead, *long, A) == [False, True, True]


def test_a_storage_that_never_answers_is_detected_soon(
    ahead: ReadAhead, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a router that drops everything: no refusal, no end."""
    monkeypatch.setattr(backends, "BRISK_TIMEOUTS_S", (1, 1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.STORAGE_ENDPOINT_URL = f"http://127.0.0.1:{silent.getsockname()[1]}"
        settings.STORAGES = dict(settings.STORAGES)
        ahead.set_queue([A])
        assert ahead.step() == RETRY_INTERVAL_S
        assert "does not answer in time" in (ahead.fault() or "")


def test_a_full_disk_ends_only_the_downloads(
    ahead: ReadAhead, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usage = shutil.disk_usage(ahead.folder.parent)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    ahead.set_queue([A])
    work(ahead, 3)
    assert ahead.find(A) is None
    assert ahead.fault() == ""
    assert caplog.text.count("can't be written") == 1


def test_a_disk_filled_by_others_does_not_cost_cached_files(
    ahead: ReadAhead, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead.set_queue([A, B])
    work(ahead)
    usage = shutil.disk_usage(ahead.folder)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    ahead.set_queue([C, A, B])
    work(ahead, 3)
    assert here(ahead, A, B, C) == [True, True, False]


def test_a_limit_of_zero_caches_nothing_but_checks_the_storage(
    bucket: None, tmp_path: Path, ahead: ReadAhead
) -> None:
    none = ReadAhead(tmp_path / "none", 0)
    none.set_queue([A])
    work(none, 2)
    assert none.find(A) is None
    assert none.fault() == ""


@pytest.fixture
def running(ahead: ReadAhead) -> Iterator[ReadAhead]:
    ahead.start()
    yield ahead
    ahead.stop()


def test_the_thread_downloads_the_queue_and_ends(running: ReadAhead) -> None:
    running.set_queue([A, B])
    deadline, pause = time.monotonic() + 10, threading.Event()
    while not all(here(running, A, B)):
        assert time.monotonic() < deadline
        pause.wait(0.01)
    running.stop()
    assert running._thread is not None
    assert not running._thread.is_alive()
