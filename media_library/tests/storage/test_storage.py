"""The storage, with a real folder and a real S3 server on this machine."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import requests
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
    SSLError,
)
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from media_library import storage
from media_library.location import LocalFile, SignedUrl
from media_library.models import MediaItem
from media_library.storage import (
    ChangedError,
    NotInStorageError,
    StorageError,
    WrongKeyError,
    backends,
)
from media_library.sync.empty_guard import emptied
from media_library.tests import rows
from streamsite.security.secret import MASK


def test_a_stored_file_exists_and_can_be_downloaded(either: str, tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    source.write_bytes(b"film" * 1000)
    assert not storage.exists("shows/a.mp4")
    storage.upload(source, "shows/a.mp4")
    assert storage.exists("shows/a.mp4")
    assert storage.facts("shows/a.mp4").size_bytes == 4000
    storage.download("shows/a.mp4", tmp_path / "back" / "a.mp4")
    assert (tmp_path / "back" / "a.mp4").read_bytes() == source.read_bytes()
    storage.delete("shows/a.mp4")
    assert not storage.exists("shows/a.mp4")


def test_a_consumed_file_is_moved_and_new_content_has_a_new_etag(
    either: str, tmp_path: Path
) -> None:
    etags = set()
    for content in (b"one", b"two"):
        source = tmp_path / "a.mp4"
        source.write_bytes(content)
        storage.upload(source, "a.mp4", consume=True)
        assert not source.exists()
        etags.add(storage.facts("a.mp4").etag)
    assert len(etags) == 2


def test_a_missing_object_is_named(either: str, tmp_path: Path) -> None:
    with pytest.raises(NotInStorageError, match=r"none\.mp4 is not in"):
        storage.facts("none.mp4")
    with pytest.raises(NotInStorageError, match=r"none\.mp4 is not in"):
        storage.download("none.mp4", tmp_path / "back.mp4")
    assert not (tmp_path / "back.mp4").exists()


def test_a_range_is_read_of_the_requested_content(either: str, tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    source.write_bytes(b"0123456789")
    storage.upload(source, "a.mp4")
    etag = storage.facts("a.mp4").etag
    assert storage.read("a.mp4", 2, 3, etag=etag) == b"234"
    assert storage.read("a.mp4", 8, 100) == b"89"
    assert storage.read("a.mp4", 10, 1) == b""
    source.write_bytes(b"abcdefghij!")
    storage.upload(source, "a.mp4")
    with pytest.raises(ChangedError, match=r"a\.mp4 was changed"):
        storage.read("a.mp4", 2, 3, etag=etag)
    with pytest.raises(NotInStorageError):
        storage.read("b.mp4", 0, 1)


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../a", "a/../../b", "a/./b", "a\0b", ".."])
def test_a_key_that_leaves_the_storage_is_refused(either: str, key: str) -> None:
    for use in (storage.locate, storage.exists, storage.delete):
        with pytest.raises(WrongKeyError):
            use(key)


def test_a_file_of_the_folder_is_played_from_where_it_is(folder: Path) -> None:
    assert storage.locate("shows/a.mp4") == LocalFile(folder / "shows/a.mp4")


def test_an_object_is_played_from_a_url_signed_for_a_day(bucket: None, tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    source.write_bytes(b"film")
    storage.upload(source, "it's a film.mp4")
    location = storage.locate("it's a film.mp4")
    assert isinstance(location, SignedUrl)
    assert "X-Amz-Expires=86400" in location.url.reveal()
    assert MASK in repr(location)
    assert "X-Amz" not in repr(location)
    answer = requests.get(location.url.reveal(), timeout=10)
    assert answer.content == b"film"


def test_a_working_storage_has_no_fault(either: str) -> None:
    assert storage.unreachable() == ""


def test_a_missing_folder_is_reported(folder: Path) -> None:
    folder.rmdir()
    assert storage.unreachable() == (
        f"The media folder {folder} does not exist: create it, or set MEDIA_FOLDER."
    )


def test_a_missing_bucket_is_reported(bucket: None, settings: Settings) -> None:
    settings.STORAGE_BUCKET = "flims"
    assert storage.unreachable().endswith("has no such bucket: check STORAGE_BUCKET.")


def test_a_closed_port_is_reported(bucket: None, settings: Settings) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        settings.STORAGE_ENDPOINT_URL = f"http://127.0.0.1:{closed.getsockname()[1]}"
        assert "can't be reached: check STORAGE_ENDPOINT_URL" in storage.unreachable()


def test_a_server_that_never_answers_is_given_up(
    bucket: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "BRISK_TIMEOUTS_S", (1, 1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.STORAGE_ENDPOINT_URL = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert "does not answer in time" in storage.unreachable()


def _refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "m"}}, "ListObjectsV2")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (_refusal("InvalidAccessKeyId"), "does not know STORAGE_ACCESS_KEY_ID"),
        (_refusal("SignatureDoesNotMatch"), "refuses STORAGE_SECRET_ACCESS_KEY"),
        (_refusal("AccessDenied"), "give the key read and write rights"),
        (_refusal("RequestTimeTooSkewed"), "clock is wrong"),
        (_refusal("PermanentRedirect"), "set STORAGE_REGION"),
        (_refusal("Teapot"), "answers Teapot"),
        (ConnectTimeoutError(endpoint_url="x"), "does not answer in time"),
        (ReadTimeoutError(endpoint_url="x"), "does not answer in time"),
        (EndpointConnectionError(endpoint_url="x"), "can't be reached"),
        (SSLError(endpoint_url="x", error=OSError("e")), "certificate"),
    ],
)
def test_every_bucket_error_has_a_remedy(
    error: ClientError | ConnectTimeoutError, words: str
) -> None:
    assert words in storage.sentence(error)


def test_a_transfer_error_contains_no_signature(
    bucket: None, settings: Settings, tmp_path: Path
) -> None:
    settings.STORAGE_BUCKET = "flims"
    settings.STORAGES = dict(settings.STORAGES)
    source = tmp_path / "a.mp4"
    source.write_bytes(b"film")
    with pytest.raises(StorageError) as refused:
        storage.upload(source, "a.mp4")
    assert "check STORAGE_BUCKET" in str(refused.value)
    assert refused.value.__cause__ is None
    backends.client().close()


def test_a_missing_media_folder_is_not_created(folder: Path, tmp_path: Path) -> None:
    """Its disk is unmounted: files in the mount point are hidden once it is mounted again."""
    source = tmp_path / "a.mp4"
    source.write_bytes(b"film")
    folder.rmdir()
    with pytest.raises(StorageError, match="does not exist: is its disk mounted"):
        storage.upload(source, "prepared/a.mp4")
    assert not folder.exists()


def test_a_storage_with_only_streamsites_objects_is_empty(either: str, tmp_path: Path) -> None:
    assert storage.holds_nothing()
    source = tmp_path / "a.mp4"
    source.write_bytes(b"film")
    storage.upload(source, "prepared/a.mp4")
    assert storage.holds_nothing()
    storage.upload(source, "shows/tv/a.mp4")
    assert not storage.holds_nothing()


@pytest.mark.django_db
def test_an_empty_storage_is_reported_only_if_the_library_has_items(
    either: str, client: Client, settings: Settings
) -> None:
    client.force_login(rows.user("add_syncrun"))
    assert emptied() == ""
    item = rows.item("A")
    sentence = f"The media folder {settings.MEDIA_ROOT} is empty: is its disk mounted?"
    if either == "bucket":
        sentence = "The bucket is empty: is STORAGE_BUCKET the right one?"
    assert emptied() == sentence
    checks = client.post("/api/v1/storage/test").json()["checks"]
    assert sentence in [check["sentence"] for check in checks]
    # As after a sync that accepted it.
    MediaItem.objects.filter(pk=item.pk).update(missing_since=timezone.now())
    assert emptied() == ""
