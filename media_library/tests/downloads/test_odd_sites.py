"""Odd sites and odd moments: a job is done or failed, and others are unaffected."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from media_library import storage
from media_library.downloads import attempt, importer, jobs, quota, recovery
from media_library.downloads.errors import CancelledError, Code, verdict
from media_library.downloads.jobs import Order
from media_library.downloads.options import COOKIES, Container, Options, Subtitles
from media_library.downloads.process import storable
from media_library.models import DownloadJob, MediaItem, SitePause
from media_library.tests.downloading import ADMIN, order, worked
from media_library.tests.web import Web
from media_library.uploads import service
from streamsite.api import keys
from streamsite.api.permissions import KeyPermission
from streamsite.processes import claims

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("ffmpeg", "folder"),
]
Status = DownloadJob.Status


def taken(url: str = "https://example.org/a", **fields: Any) -> DownloadJob:
    job = jobs.take(jobs.add(url, Options(), ADMIN).pk, timezone.now())
    assert job is not None
    DownloadJob.objects.filter(pk=job.pk).update(**fields)
    job.refresh_from_db()
    return job


# ---- data of sites ---------------------------------------------------------------------------


def test_a_title_that_no_database_accepts(site: Web) -> None:
    (site.folder / "page.html").write_text(
        '<html><script type="application/ld+json">{"@context": "https://schema.org", '
        '"@type": "VideoObject", "name": "Nos\\u0000feratu \\ud83d", '
        f'"contentUrl": "{site.url("film.mp4")}"}}</script></html>'
    )
    job = worked(order(site.url("page.html")))
    assert (job.status, job.fault) == (Status.DONE, "")
    assert job.title == "Nosferatu ?"


def test_messages_are_made_storable_at_any_depth() -> None:
    message = {"title": "a\0b\ud83d", "entries": [{"id": "\udc00"}], "n": 1, "none": None}
    assert storable(message) == {
        "title": "ab?",
        "entries": [{"id": "?"}],
        "n": 1,
        "none": None,
    }


def progress(**fields: Any) -> dict[str, Any]:
    usual = {"kind": "progress", "format_id": "0", "done": 1, "total": 2, "fragment": None}
    usual |= {"fragments": None, "speed": 1.0, "eta": 1, "finished": False, "sure": False}
    return usual | fields


def test_numbers_beyond_their_columns_are_clamped(site: Web) -> None:
    """At a byte per second a video takes centuries, which PostgreSQL's columns can't hold."""
    job = taken()
    at_work = attempt.Attempt(job, attempt.Timeouts())
    at_work._chosen([{"format_id": "0", "size": -5, "picture": True}])
    at_work._progress(progress(total=1e30, done=-1, speed=1e30, eta=20e9))
    at_work.report()
    job.refresh_from_db()
    assert (job.bytes_done, job.seconds_left) == (0, 2**31 - 1)
    assert job.bytes_total == job.speed == 2**63 - 1


def test_an_unexpected_error_ends_the_job(site: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise KeyError("s3cr3t")

    monkeypatch.setattr(importer, "_extras", breaks)
    job = worked(order(site.url("film.mp4")))
    assert (job.status, job.code) == (Status.FAILED, "internal")
    assert job.fault == "An unexpected error occurred (KeyError): check the log."


# ---- workers ---------------------------------------------------------------------------------


def test_a_job_abandoned_by_a_living_worker_is_requeued() -> None:
    """The database was unavailable when it ended, so the end was not written."""
    now = timezone.now()
    job = taken(heartbeat_at=now - recovery.ABANDONED_AFTER + timedelta(seconds=1))
    assert claims.lives(job.worker)
    assert recovery.recover(now) == (0, 0)
    assert recovery.recover(now + timedelta(seconds=2)) == (0, 1)
    job.refresh_from_db()
    assert (job.status, job.claim) == (Status.QUEUED, "")


def test_a_job_cancelled_while_it_is_requeued_is_not_tried_again() -> None:
    job = taken()
    # The worker has read the order for the last time, and the download failed.
    assert jobs.cancel(job)
    jobs.failed(job, verdict(Code.NETWORK), timezone.now(), warnings=())
    job.refresh_from_db()
    assert (job.status, job.fault) == (Status.CANCELLED, "")
    other = taken(cancel_requested=True, worker="elsewhere:1:1.00", heartbeat_at=None)
    recovery.recover(timezone.now())
    other.refresh_from_db()
    assert other.status == Status.CANCELLED


def test_cookies_of_a_dead_worker_are_removed(site: Web) -> None:
    job = taken(worker=claims.this_process().rpartition("-")[0] + "-1")
    left = jobs.folder_of(job) / COOKIES
    left.parent.mkdir(parents=True)
    left.write_text("s3cr3t")
    part = left.with_name("media.mp4.part")
    part.write_text("half")
    assert recovery.recover(timezone.now()) == (0, 1)
    assert not left.exists()
    assert part.exists()


def test_the_inspection_folder_of_a_dead_process_is_removed(
    settings: Settings, site: Web
) -> None:
    folder = settings.DATA_DIR / "downloads" / "look-x"
    folder.mkdir(parents=True)
    (folder / COOKIES).write_text("s3cr3t")
    assert recovery.tidy(timezone.now()) == 0
    assert (
        recovery.tidy(timezone.now() + timedelta(seconds=recovery.INSPECT_FOLDER_MAX_AGE_S + 1))
        == 1
    )
    assert not folder.exists()


def test_an_object_stored_by_a_dead_worker_is_removed_by_a_cancel(
    site: Web, tmp_path: Path
) -> None:
    key = service.reserve(["downloads/example-org/a.mp4"])
    (tmp_path / "a.mp4").write_bytes(b"film")
    storage.upload(tmp_path / "a.mp4", key)
    taken(key=key, cancel_requested=True, worker="elsewhere-1-1", heartbeat_at=None)
    recovery.recover(timezone.now())
    assert not storage.exists(key)
    assert service.reserve([key]) == key


def test_a_cancel_while_subtitles_are_stored_leaves_nothing(
    site: Web, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = importer._in_three_forms
    put: list[Any] = []

    def slowly(*args: Any) -> Any:
        job = DownloadJob.objects.get()
        assert storage.exists(job.key)
        assert jobs.cancel(job)
        put.append(args[-1])
        with pytest.raises(CancelledError):
            put[0].wait(10)
        yield from store(*args)

    monkeypatch.setattr(importer, "_in_three_forms", slowly)
    job = worked(order(site.url("hls/master.m3u8"), subtitles=Subtitles.MANUAL))
    assert put
    assert (job.status, job.key) == (Status.CANCELLED, "")
    assert not [file for file in folder.rglob("*") if file.is_file()]


def test_the_last_try_promises_no_other() -> None:
    job = taken()
    jobs.failed(job, verdict(Code.NETWORK), timezone.now(), warnings=())
    job.refresh_from_db()
    assert job.status == Status.QUEUED
    due = timezone.localtime(job.due_at)
    assert job.fault.endswith(f"drops the connection. The next try is at {due:%H:%M}.")
    last = taken("https://example.org/b", attempts=jobs.MAX_TRIES)
    jobs.failed(last, verdict(Code.NETWORK), timezone.now(), warnings=())
    last.refresh_from_db()
    assert last.status == Status.FAILED
    assert last.fault.endswith(
        f"It failed {jobs.MAX_TRIES} times; there is no further automatic try."
    )


# ---- by-products -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "captions",
    [
        "WEBVTT\n\n",
        "WEBVTT",
        "WEBVTT\n\nNOTE nobody speaks\n\n",
        "WEBVTT\n\n00:99:99.999 --> nowhere\nHello\n",
    ],
)
def test_empty_subtitles_do_not_fail_the_download(site: Web, captions: str) -> None:
    file = site.folder / "hls" / "en.vtt"
    whole = file.read_text()
    file.write_text(captions)
    try:
        job = worked(order(site.url("hls/master.m3u8"), subtitles=Subtitles.MANUAL))
    finally:
        # Other tests of the module use the site.
        file.write_text(whole)
    assert (job.status, job.fault) == (Status.DONE, "")
    assert job.item is not None
    assert job.extras == []


def test_a_by_product_that_fails_is_a_warning(
    site: Web, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of three formats can't be stored: none of them stays, but the video does."""
    upload = storage.upload

    def failing(source: Path, key: str, **more: Any) -> None:
        if key.endswith(".vtt"):
            raise storage.StorageError("The disk is full.")
        upload(source, key, **more)

    monkeypatch.setattr(storage, "upload", failing)
    job = worked(order(site.url("hls/master.m3u8"), subtitles=Subtitles.MANUAL))
    assert (job.status, job.extras) == (Status.DONE, [])
    assert job.warnings == ["The subtitles (en) could not be stored: The disk is full."]
    kept = [file.name for file in folder.rglob("*") if file.is_file()]
    assert kept == [Path(job.key).name]


def test_an_unexpected_error_of_a_by_product_is_a_warning(
    site: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("media_library.downloads.subtitles.unrolled", broken)
    job = worked(order(site.url("hls/master.m3u8"), subtitles=Subtitles.MANUAL))
    assert job.status == Status.DONE
    assert "could not be read (ZeroDivisionError)" in job.warnings[0]


def test_nothing_stays_after_an_unexpected_error(
    site: Web, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(importer, "item_of", broken)
    job = worked(order(site.url("film.mp4")))
    assert (job.status, job.code) == (Status.FAILED, Code.INTERNAL)
    assert not [file for file in folder.rglob("*") if file.is_file()]


# ---- the same twice --------------------------------------------------------------------------


def test_a_duplicate_is_detected_while_another_job_downloads_it_again(site: Web) -> None:
    here = worked(order(site.url("film.mp4")))
    anew = taken(site.url("film.mp4"))
    DownloadJob.objects.filter(pk=anew.pk).update(
        extractor=here.extractor, video_id=here.video_id
    )
    third = worked(order(site.url("film.mp4")))
    assert (third.status, third.duplicate, third.item) == (Status.DONE, True, here.item)


def test_waiting_for_another_job_is_no_try(site: Web) -> None:
    first = worked(order(site.url("film.mp4")))
    MediaItem.objects.all().delete()
    DownloadJob.objects.filter(pk=first.pk).update(status=Status.DOWNLOADING, claim="c")
    job = order(site.url("film.mp4"))
    for _ in range(2):
        waits = worked(job)
        assert (waits.status, waits.attempts) == (Status.QUEUED, 0)
        assert waits.note == "Another job downloads the same."


def test_subtitles_of_one_video_never_replace_those_of_another(site: Web, folder: Path) -> None:
    url, manual = site.url("hls/master.m3u8"), Subtitles.MANUAL
    one = worked(order(url, subtitles=manual))
    two = worked(order(url, subtitles=manual, container=Container.MKV))
    assert [job.status for job in (one, two)] == [Status.DONE, Status.DONE]
    assert two.key == "downloads/127-0-0-1/master-2.mkv"
    extras = [extra["key"] for job in (one, two) for extra in job.extras]
    assert len(set(extras)) == len(extras) == 6


# ---- quotas ----------------------------------------------------------------------------------


def test_a_video_of_unknown_size_ends_at_the_quota(
    site: Web, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DOWNLOAD_QUOTA_GB = 1
    monkeypatch.setattr(quota, "RESERVE_STEP_BYTES", 100_000)
    monkeypatch.setattr(quota, "SLACK_BYTES", 10_000)
    before = worked(order(site.url("film.mp4")))
    DownloadJob.objects.filter(pk=before.pk).update(size_bytes=10**9 - 200_000)
    site.pace = 50_000
    job = worked(order(site.url("hls/film.m3u8")))
    assert (job.status, job.code) == (Status.FAILED, "quota")
    assert "1.0 of 1 GB in 30 days" in job.fault


def test_a_plain_file_over_the_quota_ends_at_its_first_bytes(
    site: Web, settings: Settings
) -> None:
    settings.DOWNLOAD_QUOTA_GB = 1
    before = worked(order(site.url("film.mp4")))
    size = before.size_bytes or 0
    DownloadJob.objects.filter(pk=before.pk).update(size_bytes=10**9 - size // 2)
    site.pace = 20_000
    job = worked(order(site.url("film.mp4?again")))
    assert (job.status, job.code) == (Status.FAILED, "quota")
    assert job.bytes_done < size // 2


def test_a_disk_that_runs_full_meanwhile_keeps_the_part_file(
    site: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.pace = 40_000
    record = attempt.Attempt._progress

    def full(task: attempt.Attempt, message: dict[str, Any]) -> None:
        record(task, message)
        if message["done"] > 100_000:
            # Another program has filled it.
            monkeypatch.setattr(quota, "MIN_FREE_BYTES", 10**18)

    monkeypatch.setattr(attempt.Attempt, "_progress", full)
    job = worked(order(site.url("film.mp4")))
    assert (job.status, job.code) == (Status.QUEUED, "disk")
    assert "free some space in DATA_DIR. The next try is at " in job.fault
    assert (jobs.folder_of(job) / "media.mp4.part").stat().st_size > 100_000


def test_a_key_keeps_one_of_two_jobs_claimed_at_once() -> None:
    key, _ = keys.mint(
        "Robot", KeyPermission.DOWNLOAD, by="ada", now=timezone.now(), concurrent_downloads=1
    )
    terms = Order(by="Robot", owner=f"key:{key.pk}")
    one, two = (jobs.add(f"https://example.org/{n}", Options(), terms) for n in range(2))
    now = timezone.now()
    # Both workers have seen that none is running.
    assert jobs.take(one.pk, now) is not None
    assert jobs.take(two.pk, now) is None
    two.refresh_from_db()
    assert (two.status, two.claim, two.attempts) == (Status.QUEUED, "", 0)


def test_a_program_can_not_end_a_pause() -> None:
    job = taken()
    jobs.failed(job, verdict(Code.BOT), timezone.now(), warnings=())
    jobs.retry(job, end_pause=False)
    assert jobs.take_next(timezone.now()) is None
    assert SitePause.objects.exists()
    jobs.retry(job, end_pause=True)
    assert jobs.take_next(timezone.now()) == job


@pytest.mark.parametrize(
    ("url", "site"),
    [
        ("https://youtu.be/abc", "youtube.com"),
        ("https://m.youtube.com/watch?v=abc", "youtube.com"),
        ("https://www.example.org/a", "example.org"),
        ("https://music.example.org/a", "music.example.org"),
    ],
)
def test_short_addresses_are_of_their_site(url: str, site: str) -> None:
    assert jobs.site_of(url) == site
