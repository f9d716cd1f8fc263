"""Uploads: no two have the same name, and none replaces another."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from botocore.exceptions import ClientError
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from media_library import actions, storage
from media_library.models import MediaItem, Reservation
from media_library.storage import MultipartUpload, StorageError, TakenError, backends, multipart
from media_library.uploads import service
from media_library.uploads.service import UploadError

pytestmark = pytest.mark.django_db


def begun(content: bytes, name: str = "clip.mp4") -> MultipartUpload:
    upload = service.begin(name, len(content), "")
    storage.store_part(upload, 1, content)
    return upload


def put(path: Path, key: str, content: bytes) -> None:
    path.write_bytes(content)
    storage.upload(path, key)


def test_two_uploads_of_one_name_both_arrive(either: str) -> None:
    first, second = begun(b"first film"), begun(b"other film")
    items = [service.finish(upload) for upload in (second, first)]
    assert [item.key for item in items] == ["clip (2).mp4", "clip.mp4"]
    assert storage.read("clip.mp4", 0, 99) == b"first film"
    assert storage.read("clip (2).mp4", 0, 99) == b"other film"
    assert not Reservation.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_concurrent_uploads_get_different_names(folder: Path) -> None:
    start = Barrier(4)

    def begin(_: int) -> str:
        try:
            start.wait(30)
            return service.begin("clip.mp4", 4, "").key
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(begin, range(4)))) == 4


def test_a_command_and_another_app_respect_reservations(folder: Path, tmp_path: Path) -> None:
    held = begun(b"browser")
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"film")
    call_command("upload_media", path, stdout=StringIO())
    assert actions.add_file(path, title="Clip").key == "clip-2.mp4"
    assert service.finish(held).key == "clip.mp4"
    assert storage.read("clip.mp4", 0, 99) == b"browser"
    assert set(MediaItem.objects.values_list("key", flat=True)) == {
        "clip.mp4", "clip (2).mp4", "clip-2.mp4",
    }  # fmt: skip
    assert not Reservation.objects.exists()


def test_a_name_is_free_again_after_its_upload(folder: Path) -> None:
    stale = begun(b"film")
    service.abort(stale)
    again = begun(b"film")
    assert again.key == stale.key
    # Cancelled a second time by another click: the other's name is kept.
    service.abort(stale)
    assert begun(b"film").key == "clip (2).mp4"
    with pytest.raises(StorageError, match="is empty"):
        service.begin("none.mp4", 0, "")
    assert not Reservation.objects.filter(key="none.mp4").exists()


def test_a_reservation_left_by_a_crash_expires(folder: Path) -> None:
    begun(b"film")
    Reservation.objects.update(until=timezone.now() + timedelta(minutes=1))
    assert begun(b"film").key == "clip (2).mp4"
    Reservation.objects.update(until=timezone.now() - timedelta(minutes=1))
    assert begun(b"film").key == "clip.mp4"


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another object arrives between the check for it and the upload."""
    monkeypatch.setattr(storage, "exists", lambda _: False)


@pytest.mark.usefixtures("blind")
def test_a_foreign_object_is_not_overwritten(either: str, tmp_path: Path) -> None:
    upload = begun(b"mine")
    put(tmp_path / "x", "clip.mp4", b"them")
    with pytest.raises(UploadError, match="Upload yours again"):
        service.finish(upload)
    assert storage.read("clip.mp4", 0, 99) == b"them"
    assert not MediaItem.objects.exists()
    assert not Reservation.objects.exists()


def test_a_finish_killed_after_its_link_is_completed(folder: Path) -> None:
    upload = begun(b"mine")
    (folder / "clip.mp4").hardlink_to(folder / ".uploads" / upload.upload_id / "content")
    assert service.finish(upload).size_bytes == 4


def test_a_disk_without_hard_links(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    assert service.finish(begun(b"mine")).key == "clip.mp4"
    upload = storage.begin_upload("clip.mp4", 4)
    storage.store_part(upload, 1, b"them")
    with pytest.raises(TakenError):
        storage.finish_upload(upload)
    assert storage.read("clip.mp4", 0, 99) == b"mine"


@pytest.fixture
def old_server(bucket: None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A server that does not support the condition: it answers 501, like S3 before 2024."""
    refused: list[str] = []
    real = backends.client()
    complete = real.complete_multipart_upload

    def answer(**params: Any) -> Any:
        if "IfNoneMatch" in params:
            refused.append(params["Key"])
            response: Any = {"Error": {"Code": "NotImplemented"}}
            raise ClientError(response, "CompleteMultipartUpload")
        return complete(**params)

    monkeypatch.setattr(real, "complete_multipart_upload", answer)
    monkeypatch.setattr(multipart, "client", lambda: real)
    return refused


def test_a_server_without_conditional_writes(old_server: list[str]) -> None:
    assert service.finish(begun(b"mine")).size_bytes == 4
    assert old_server == ["clip.mp4"]
