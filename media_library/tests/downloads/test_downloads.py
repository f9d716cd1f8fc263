"""Downloads by the real yt-dlp from a site on this machine."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from cryptography.fernet import Fernet
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django import Settings

from media_library import storage
from media_library.downloads import attempt, jobs, metadata, options
from media_library.downloads import process as runner_process
from media_library.downloads.cookies import HEAD
from media_library.downloads.errors import GivenUpError
from media_library.downloads.jobs import Order
from media_library.downloads.options import Options, Sound, Subtitles
from media_library.downloads.proxy import Proxy
from media_library.models import DownloadJob, MediaItem, SiteCookies, SitePause
from media_library.tests import web as sites
from media_library.tests.downloading import ADMIN, files_of, order, worked
from media_library.tests.web import Web
from streamsite.processes.claims import Heartbeat
from streamsite.security.secret import Secret

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("ffmpeg"),
]
Status = DownloadJob.Status


# ---- results ---------------------------------------------------------------------------------


def test_a_plain_file_becomes_an_item(either: str, site: Web) -> None:
    job = worked(
        order(
            site.url("film.mp4"),
            terms=Order(by="ada", owner="user:1", any_site=True, rights="By contract."),
        )
    )
    assert (job.status, job.percent, job.fault) == (Status.DONE, 100, "")
    assert job.key == "downloads/127-0-0-1/film.mp4"
    item = job.item
    assert item is not None
    assert (item.title, item.key, item.status) == ("film", job.key, "new")
    assert item.source == site.url("film.mp4")
    assert item.rights == "By contract."
    assert item.size_bytes == job.size_bytes == storage.facts(job.key).size_bytes
    assert job.tool_version.startswith("20")
    # It is enqueued for inspection, and the job's folder is removed.
    assert "media_library.tasks.probe_new" in {message.func() for message in OrmQ.objects.all()}
    assert not jobs.folder_of(job).exists()


def test_hls_is_downloaded_with_subtitles_in_three_formats(folder: Path, site: Web) -> None:
    job = worked(order(site.url("hls/master.m3u8"), subtitles=Subtitles.MANUAL))
    assert (job.status, job.fault) == (Status.DONE, "")
    kept = {extra["kind"]: folder / extra["key"] for extra in job.extras}
    assert kept["txt"].read_text() == "one thing and another\n"
    assert "00:00:01,500 --> 00:00:03,000\nand another" in kept["srt"].read_text()
    assert kept["vtt"].read_text().startswith("WEBVTT\n\n00:00:00.000 --> ")
    assert kept["srt"].name == "master.en.srt"


def test_dash_is_merged(folder: Path, site: Web) -> None:
    job = worked(order(site.url("dash/film.mpd")))
    assert (job.status, job.fault) == (Status.DONE, "")
    assert job.key.endswith(".mp4")
    assert "+" in job.got


@pytest.mark.parametrize("sound", [form for form in Sound if form])
def test_audio_only_is_stored_but_is_no_item(folder: Path, site: Web, sound: Sound) -> None:
    job = worked(order(site.url("film.mp4"), sound=sound))
    assert (job.status, job.fault) == (Status.DONE, "")
    assert job.key == f"downloads/127-0-0-1/film.{sound}"
    assert (folder / job.key).stat().st_size == job.size_bytes
    assert not MediaItem.objects.exists()


@pytest.mark.parametrize("container", ["webm", "mkv"])
def test_another_container(folder: Path, site: Web, container: str) -> None:
    job = worked(order(site.url("film.mp4"), container=options.Container(container)))
    # H.264 can't be stored in WebM: the actual container is reported.
    assert (job.status, job.fault) == (Status.DONE, "")
    assert job.key.endswith(".mkv")


def test_the_same_again_is_not_downloaded_twice(folder: Path, site: Web) -> None:
    first = worked(order(site.url("film.mp4")))
    requests_before = len(site.requests)
    second = worked(order(site.url("film.mp4")))
    assert (second.status, second.duplicate, second.item) == (Status.DONE, True, first.item)
    # Only the page was requested.
    assert len(site.requests) == requests_before + 1
    another = worked(order(site.url("film.mp4"), sound=Sound.MP3))
    assert not another.duplicate
    terms = Order(by="ada", owner="user:1", any_site=True, again=True)
    again = worked(order(site.url("film.mp4"), terms=terms))
    assert not again.duplicate
    # Its name differs from that of the audio: both have subtitles beside them.
    assert again.key == "downloads/127-0-0-1/film-3.mp4"


def test_the_same_order_twice_is_one_job(folder: Path, site: Web) -> None:
    one, other = (
        jobs.add(site.url("film.mp4"), Options(), ADMIN, requested_key="mine") for _ in range(2)
    )
    assert one == other
    with pytest.raises(jobs.OrderError, match="another download"):
        jobs.add(site.url("other.mp4"), Options(), ADMIN, requested_key="mine")


# ---- retries ---------------------------------------------------------------------------------


def test_a_site_with_too_many_requests_is_paused_for_an_hour(folder: Path, site: Web) -> None:
    video = site.folder / "film.mp4"
    site.handlers["/often.mp4"] = sites.refusing(429, 1, lambda handler: handler.file(video))
    job = worked(order(site.url("often.mp4")))
    assert (job.status, job.code) == (Status.QUEUED, "rate")
    assert "too many requests: it gets none for an hour" in job.fault
    # No other job of that site is claimed within the hour.
    now = timezone.now()
    other = order(site.url("film.mp4"))
    assert jobs.take_next(now + timedelta(minutes=59)) is None
    later = now + timedelta(minutes=61)
    assert set(jobs.waiting(later)) == {job, other}
    assert worked(job).status == Status.DONE


def test_a_stalled_transfer_is_reported_and_resumed(
    folder: Path, site: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "SOCKET_TIMEOUT_S", 3)
    monkeypatch.setattr(attempt, "QUIET_NOTICE_S", 1.0)
    site.handlers["/stall.mp4"] = sites.stalling(site, site.folder / "film.mp4", 2)
    notes: set[str] = set()
    send = Heartbeat.send

    def watch(heartbeat: Heartbeat) -> bool:
        notes.add(str(heartbeat.columns.get("note", "")))
        return send(heartbeat)

    monkeypatch.setattr(Heartbeat, "send", watch)
    job = worked(order(site.url("stall.mp4")))
    assert (job.status, job.fault) == (Status.DONE, "")
    assert any(note.startswith("No data for") for note in notes), notes


def test_a_permanent_stall_ends_the_try_and_keeps_the_part_file(
    folder: Path, site: Web
) -> None:
    site.handlers["/stall.mp4"] = sites.stalling(site, site.folder / "film.mp4", 3)
    job = worked(order(site.url("stall.mp4")), silent_s=2.0)
    assert (job.status, job.code) == (Status.QUEUED, "stalled")
    assert job.due_at > timezone.now() + timedelta(minutes=4)
    parts = [path.name for path in jobs.folder_of(job).iterdir()]
    assert parts == ["media.mp4.part"]
    had = (jobs.folder_of(job) / parts[0]).stat().st_size
    assert had > 0
    site.handlers.clear()
    (site.folder / "stall.mp4").write_bytes((site.folder / "film.mp4").read_bytes())
    jobs.retry(job, end_pause=True)
    assert worked(job).status == Status.DONE


# ---- disk space and quota --------------------------------------------------------------------


def test_a_full_disk_is_reported_before_the_start(
    folder: Path, site: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media_library.downloads.quota.MIN_FREE_BYTES", 10**18)
    job = worked(order(site.url("film.mp4")))
    assert (job.status, job.code) == (Status.QUEUED, "disk")
    assert not site.requests


def test_an_exhausted_quota_is_reported(folder: Path, site: Web, settings: Settings) -> None:
    settings.DOWNLOAD_QUOTA_GB = 1
    first = worked(order(site.url("film.mp4")))
    DownloadJob.objects.filter(pk=first.pk).update(size_bytes=10**9)
    job = worked(order(site.url("hls/film.m3u8")))
    assert (job.status, job.code) == (Status.FAILED, "quota")
    other = Order(by="bob", owner="user:2", any_site=True)
    assert worked(order(site.url("hls/film.m3u8"), terms=other)).status == Status.DONE


def test_nothing_secret_is_in_command_lines_or_environments(
    folder: Path, site: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    handle = attempt.Attempt._handle

    def watch(task: Any, message: dict[str, Any]) -> None:
        for process in psutil.Process().children(recursive=True):
            seen.append(" ".join(process.cmdline()))
            seen.append(str(process.environ()))
        handle(task, message)

    secrets: list[str] = []

    def noted(*args: Any, **more: Any) -> Any:
        made = Proxy(*args, **more)
        secrets.append(made.password)
        return made

    monkeypatch.setattr(attempt.Attempt, "_handle", watch)
    monkeypatch.setattr(runner_process, "Proxy", noted)
    assert worked(order(site.url("film.mp4"))).status == Status.DONE
    assert seen
    assert secrets
    assert not any(secret in text_ for secret in secrets for text_ in seen)
    assert "SECRET_KEY" not in " ".join(seen)


def test_cookies_that_cant_be_decrypted_fail_their_job_only(
    folder: Path, site: Web, settings: Settings
) -> None:
    text = f"{HEAD}\n127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\ts3cr3t\n"
    SiteCookies.objects.create(domain="127.0.0.1", text=Secret(text))
    settings.FIELD_KEYS = [Fernet.generate_key().decode()]
    job = worked(order(site.url("film.mp4")))
    assert (job.status, job.code) == (Status.FAILED, "cookies")
    assert job.fault.startswith("The stored cookies of 127.0.0.1 can't be decrypted: put the")
    assert files_of(job) == []
    with pytest.raises(GivenUpError, match="can't be decrypted"):
        metadata.inspect(site.url("film.mp4"), any_site=True)
    assert site.requests == []
    # Pasted again, they work.
    SiteCookies.objects.update(text=Secret(text))
    assert worked(order(site.url("film.mp4"))).status == Status.DONE


def test_cookies_are_lent_and_the_sites_changes_are_stored(folder: Path, site: Web) -> None:
    line = "127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\t{}"
    text = "# Netscape HTTP Cookie File\n" + line.format("s3cr3t") + "\n"
    SiteCookies.objects.create(domain="127.0.0.1", text=Secret(text))
    video = site.folder / "film.mp4"
    shown: list[str] = []

    def handler_(handler: Any) -> None:
        shown.append(handler.headers.get("Cookie", ""))
        handler.file(video, Set_Cookie="session=renewed; Path=/; Max-Age=999999")

    site.handlers["/members.mp4"] = handler_
    job = worked(order(site.url("members.mp4")))
    assert (job.status, job.fault) == (Status.DONE, "")
    assert shown[0] == "session=s3cr3t"
    kept = SiteCookies.objects.get()
    assert "renewed" in kept.text.reveal()
    assert kept.used_at is not None
    assert "s3cr3t" not in str(DownloadJob.objects.values().get())
    # The folder of a failed job, which is kept for a retry, contains no cookies.
    site.handlers["/away.mp4"] = sites.redirect("http://10.0.0.1/")
    failed = worked(order(site.url("away.mp4")))
    assert failed.code == "refused"
    assert files_of(failed) == []


def test_a_pause_is_lifted_by_a_person(folder: Path, site: Web) -> None:
    job = order(site.url("film.mp4"))
    now = timezone.now()
    SitePause.objects.create(site="127.0.0.1", until=now + timedelta(hours=1), why="429")
    assert jobs.take_next(now) is None
    jobs.retry(job, end_pause=True)
    assert jobs.take_next(timezone.now()) == job
