"""Listings and uploads in parts, with a real folder and a real S3 server."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import requests
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from pytest_django import Settings

from media_library import storage
from media_library.ffmpeg.runner import Bounds, opened, run
from media_library.location import LocalFile, SignedUrl
from media_library.storage import StorageError, WrongKeyError, backends, list_objects
from media_library.storage.connection_test import clock
from media_library.tests.clips import lavfi, make

#: Each of these names once broke a program that handles files.
ODD = [
    " leading space.mp4",
    "a b/c d.mp4",
    "a#b.mp4",
    "a%20b.mp4",
    "a&b=c;d.mp4",
    "a+b.mp4",
    "a?b=c.mp4",
    "a\\b.mp4",
    'it\'s "quoted".mp4',
    "-y.mp4",
    "k/" + "é" * 120 + "/" + "ü" * 120 + "/" + "x" * 200 + "/" + "y" * 211 + ".mp4",
    "tcp:x.mp4",
    "~tilde$(x)`y`.mp4",
    "кино/серия 1.mp4",
    "電影/😀.mp4",
    "\uffee-before-the-astral.mp4",
]


#: Objects.
MANY: Final = 100


def put(*keys: str, content: bytes = b"film") -> None:
    if backends.is_local():
        for key in keys:
            path = backends.folder_path(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return
    if len(keys) > MANY:
        # By the server's own code: a request takes it 5 ms.
        server = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        for key in keys:
            server.put_object("films", key, content)
        return
    for key in keys:
        backends.client().put_object(Bucket="films", Key=key, Body=content)


def keys(after: str = "") -> list[str]:
    return [listed.key for listed in storage.listing(after)]


def test_odd_names_are_listed_in_the_order_of_their_bytes_read_and_signed(either: str) -> None:
    assert len(ODD[10].encode()) == 900
    put(*ODD)
    assert keys() == sorted(ODD, key=str.encode)
    for listed in storage.listing():
        assert storage.facts(listed.key) == storage.Facts(listed.size_bytes, listed.etag)
        assert storage.read(listed.key, 1, 2, etag=listed.etag) == b"il"
        match storage.locate(listed.key):
            case SignedUrl(url):
                assert requests.get(url.reveal(), timeout=10).content == b"film"
            case LocalFile(path):
                assert path.read_bytes() == b"film"
    for key in ODD:
        storage.delete(key)
    assert keys() == []


@pytest.mark.slow
def test_odd_names_are_played(either: str, ffmpeg: str, tmp_path: Path) -> None:
    make(tmp_path / "clip.mp4", *lavfi("testsrc2=s=96x64:r=25:d=1"), "-c:v", "libx264")
    put(*ODD, content=(tmp_path / "clip.mp4").read_bytes())
    for key in ODD:
        with opened(storage.locate(key)) as source:
            output = run(
                ("ffprobe", "-v", "error", *source.args, "-show_entries", "stream=codec_name"),
                bounds=Bounds(seconds=20),
                descriptors=source.descriptors,
            )
        assert "h264" in output, key


def test_a_line_break_in_a_name_breaks_nothing(folder: Path) -> None:
    # In the folder only: moto's server does not support such keys.
    put("a\nb.mp4")
    assert keys() == ["a\nb.mp4"]
    assert storage.read("a\nb.mp4", 0, 4) == b"film"


def test_the_order_is_that_of_whole_keys_not_of_directories(either: str) -> None:
    expected = ["a b.mp4", "a-b.mp4", "a.mp4", "a/b.mp4", "a/b/c.mp4", "a0.mp4", "ab/c.mp4"]
    put(*expected)
    assert keys() == sorted(expected)
    for place, key in enumerate(sorted(expected)):
        assert keys(after=key) == sorted(expected)[place + 1 :]
    assert keys(after="a/b/a") == ["a/b/c.mp4", "a0.mp4", "ab/c.mp4"]


def test_streamsites_own_objects_are_skipped(either: str) -> None:
    put(
        "logos/a.png", "prepared/x/a.mp4", "thumbnails/a.jpg", "a.mp4", "z.mp4", "prepared0.mp4"
    )
    put("films/prepared/b.mp4", "prepared0.mp4")
    assert keys() == ["a.mp4", "films/prepared/b.mp4", "prepared0.mp4", "z.mp4"]


def test_a_bucket_is_listed_in_pages_that_skip_the_copies(
    bucket: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [f"{place:03}.mp4" for place in range(25)] + ["z.mp4"]
    put(*expected, *(f"prepared/{place:03}.mp4" for place in range(40)))
    starts: list[str] = []
    opened_by = backends.own_client

    def counting(*args: Any, **more: Any) -> Any:
        client = opened_by(*args, **more)
        client.meta.events.register(
            "before-parameter-build.s3.ListObjectsV2",
            lambda params, **_: starts.append(params["StartAfter"]),
        )
        return client

    monkeypatch.setattr(list_objects, "own_client", counting)
    monkeypatch.setattr(list_objects, "PAGE", 10)
    assert keys() == expected
    assert len(starts) == 4


def test_invalid_names_are_skipped(bucket: None, caplog: pytest.LogCaptureFixture) -> None:
    put("/rooted.mp4", "a/../b.mp4", "a/./b.mp4", "folder/", "good.mp4")
    assert keys() == ["good.mp4"]


def test_a_double_slash_is_part_of_a_buckets_key(bucket: None, tmp_path: Path) -> None:
    put("a//b.mp4", "a/b.mp4")
    assert keys() == ["a//b.mp4", "a/b.mp4"]
    storage.delete("a//b.mp4")
    assert keys() == ["a/b.mp4"]


def test_links_out_of_the_folder_and_odd_entries_are_skipped(
    folder: Path, tmp_path: Path
) -> None:
    put("a.mp4", "shows/b.mp4")
    (tmp_path / "outside.mp4").write_bytes(b"secret")
    (folder / "out.mp4").symlink_to(tmp_path / "outside.mp4")
    (folder / "in.mp4").symlink_to(folder / "a.mp4")
    (folder / "round").symlink_to(folder)
    (folder / "dangling.mp4").symlink_to(folder / "none.mp4")
    os.mkfifo(folder / "pipe.mp4")
    (folder / os.fsdecode(b"latin-\xe9.mp4")).write_bytes(b"film")
    assert keys() == ["a.mp4", "in.mp4", "shows/b.mp4"]


def test_a_folder_that_is_not_mounted_is_no_empty_listing(folder: Path) -> None:
    folder.rmdir()
    with pytest.raises(StorageError, match="media folder"):
        keys()


def test_a_listing_out_of_order_is_refused(
    bucket: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a.mp4", "b.mp4")
    opened_by = backends.own_client

    def reversing(*args: Any, **more: Any) -> Any:
        client = opened_by(*args, **more)
        client.meta.events.register(
            "after-call.s3.ListObjectsV2", lambda parsed, **_: parsed["Contents"].reverse()
        )
        return client

    monkeypatch.setattr(list_objects, "own_client", reversing)
    with pytest.raises(StorageError, match="directory bucket"):
        keys()


def test_other_clients_still_read_dates(bucket: None) -> None:
    put("a.mp4")
    keys()
    page = backends.client().list_objects_v2(Bucket="films")
    assert isinstance(page["Contents"][0]["LastModified"], datetime)


@pytest.mark.parametrize(("requested", "given"), [(60, 60), (10**9, 604800), (0, 1)])
def test_no_url_is_signed_for_more_than_a_week(
    bucket: None, requested: int, given: int
) -> None:
    location = storage.locate("a.mp4", seconds=requested)
    assert isinstance(location, SignedUrl)
    assert f"X-Amz-Expires={given}&" in location.url.reveal()


# ---- in parts --------------------------------------------------------------------------------

PART = 8 * 1024 * 1024


def test_parts_are_assembled_in_order(either: str) -> None:
    content = os.urandom(1024) * (2 * PART // 1024) + b"the end"
    upload = storage.begin_upload("new/it's + one.mp4", len(content))
    assert (upload.parts, upload.part_bytes) == (3, PART)
    assert keys() == []
    for number in (3, 1, 2):
        part = content[(number - 1) * PART : number * PART]
        if either == "bucket":
            url = storage.part_url(upload, number).reveal()
            assert requests.put(url, data=part, timeout=30).ok
        else:
            storage.store_part(upload, number, part)
    facts = storage.finish_upload(upload)
    assert facts.size_bytes == len(content)
    assert storage.read(upload.key, 2 * PART, 100) == b"the end"
    assert storage.read(upload.key, 0, 1024) == content[:1024]
    # The first answer may have been lost.
    assert storage.finish_upload(upload) == facts
    storage.abort_upload(upload)
    assert keys() == [upload.key]


def test_an_incomplete_upload_is_not_finished_and_can_be_aborted(either: str) -> None:
    upload = storage.begin_upload("a.mp4", PART + 5)
    storage.store_part(upload, 1, bytes(PART))
    with pytest.raises(StorageError, match="part 2 is missing"):
        storage.finish_upload(upload)
    with pytest.raises(StorageError, match="part 2 must have 5 bytes"):
        storage.store_part(upload, 2, b"four")
    with pytest.raises(ValueError, match="no part 3"):
        storage.store_part(upload, 3, b"four")
    storage.abort_upload(upload)
    storage.abort_upload(upload)
    with pytest.raises(StorageError, match=r"[Ss]tart it again"):
        storage.finish_upload(upload)
    assert not storage.exists("a.mp4")


@pytest.mark.parametrize(
    ("size", "parts", "part"),
    [(1, 1, PART), (PART, 1, PART), (PART + 1, 2, PART), (5 * 1024**4, 9987, 525 * 1024**2)],
)
def test_no_upload_has_more_than_10000_parts(
    bucket: None, size: int, parts: int, part: int
) -> None:
    upload = storage.begin_upload("a.mp4", size)
    assert (upload.parts, upload.part_bytes) == (parts, part)
    assert sum(upload.bytes_of(number + 1) for number in range(parts)) == size
    storage.abort_upload(upload)


@pytest.mark.parametrize(
    ("key", "size"), [("a.mp4", 0), ("a.mp4", 5 * 1024**4 + 1), ("../a.mp4", 1), ("é" * 513, 1)]
)
def test_files_that_can_never_be_stored_are_refused_at_once(
    either: str, key: str, size: int
) -> None:
    with pytest.raises(StorageError):
        storage.begin_upload(key, size)


def test_an_upload_of_another_name_is_refused(folder: Path) -> None:
    upload = storage.MultipartUpload("a.mp4", "../../etc", PART, 1, 4)
    with pytest.raises(WrongKeyError):
        storage.store_part(upload, 1, b"film")


def test_unfinished_uploads_are_aborted(either: str) -> None:
    upload = storage.begin_upload("a.mp4", 4)
    if either == "folder":
        assert storage.abort_stale_uploads() == 0
        os.utime(backends.folder_path(f".uploads/{upload.upload_id}"), (0, 0))
    # moto reports 2010 as the start of every upload.
    assert storage.abort_stale_uploads() == 1
    with pytest.raises(StorageError, match=r"[Ss]tart it again"):
        storage.finish_upload(upload)


def test_a_browser_talks_to_the_origin_of_a_signed_url(
    bucket: None, s3_server: str, settings: Settings
) -> None:
    assert storage.origin() == s3_server
    settings.STORAGE_PROVIDER = "local"
    assert storage.origin() == ""


# ---- the test --------------------------------------------------------------------------------


def test_a_working_storage_passes_every_check(either: str) -> None:
    results = storage.examine()
    assert [result for result in results if not result.ok] == []
    assert {"List", "Write", "Read", "Delete"} <= {result.check for result in results}
    assert ("Clock" in {result.check for result in results}) == (either == "bucket")
    assert keys() == []


def test_a_missing_bucket_fails_its_check(bucket: None, settings: Settings) -> None:
    settings.STORAGE_BUCKET = "flims"
    first = storage.examine()[0]
    assert not first.ok
    assert "check STORAGE_BUCKET" in first.sentence


def test_an_unreachable_server_gets_one_request(bucket: None, settings: Settings) -> None:
    settings.STORAGE_ENDPOINT_URL = "http://127.0.0.1:9"
    (only,) = storage.examine()
    assert "can't be reached" in only.sentence


def test_a_clock_skew_is_reported_with_its_direction() -> None:
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert clock("Thu, 01 Jan 2026 11:58:00 GMT", now).ok
    ahead = clock("Thu, 01 Jan 2026 11:50:00 GMT", now)
    assert not ahead.ok
    assert "600 s ahead of the storage's" in ahead.sentence
    assert "behind" in clock("Thu, 01 Jan 2026 12:10:00 GMT", now).sentence
