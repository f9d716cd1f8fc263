"""Downloads by real yt-dlp from a site on this machine: what comes of them."""

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
from media_library.downloads.cookies import HEAD
from media_library.downloads.errors import GivenUpError
from media_library.downloads.jobs import Order
from media_library.downloads.options import Options, Sound, Subtitles
from media_library.downloads.proxy import Proxy
from media_library.models import DownloadJob, MediaItem, SiteCookies, SitePause
from media_library.tests import web as sites
from media_library.tests.downloading import ADMIN, files_of, order, worked
from media_library.tests.web import Web
from streamsite.security.secret import Secret

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("ffmpeg"),
]
Status = DownloadJob.Status


# ---- what comes ------------------------------------------------------------------------------


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
    # It goes on to be looked into, and nothing of it is left in the workplace.
    assert "media_library.tasks.probe_new" in {each.func() for each in OrmQ.objects.all()}
    assert not jobs.folder_of(job).exists()


def test_hls_comes_with_its_subtitles_in_three_forms(folder: Path, site: Web) -> None:
    job = worked(order(site.url("hls/master.m3u8"), subtitles=Subtitles.MANUAL))
    assert (job.status, job.fault) == (Status.DONE, "")
    kept = {each["kind"]: folder / each["key"] for each in job.extras}
    assert kept["txt"].read_text() == "one thing and another\n"
    assert "00:00:01,500 --> 00:00:03,000\nand another" in kept["srt"].read_text()
    assert kept["vtt"].read_text().startswith("WEBVTT\n\n00:00:00.000 --> ")
    assert kept["srt"].name == "master.en.srt"


def test_dash_is_put_together(folder: Path, site: Web) -> None:
    job = worked(order(site.url("dash/film.mpd")))
    assert (job.status, job.fault) == (Status.DONE, "")
    assert job.key.endswith(".mp4")
    assert "+" in job.got


@pytest.mark.parametrize("sound", [each for each in Sound if each])
def test_sound_alone_is_kept_but_is_no_item(folder: Path, site: Web, sound: Sound) -> None:
    job = worked(order(site.url("film.mp4"), sound=sound))
    assert (job.status, job.fault) == (Status.DONE, "")
    assert job.key == f"downloads/127-0-0-1/film.{sound}"
    assert (folder / job.key).stat().st_size == job.size_bytes
    assert not MediaItem.objects.exists()


@pytest.mark.parametrize("container", ["webm", "mkv"])
def test_another_container(folder: Path, site: Web, container: str) -> None:
    job = worked(order(site.url("film.mp4"), container=options.Container(container)))
    # H.264 does not go into WebM: what came is told, not hidden.
    assert (job.status, job.fault) == (Status.DONE, "")
    assert job.key.endswith(".mkv")


def test_the_same_again_is_not_downloaded_twice(folder: Path, site: Web) -> None:
    first = worked(order(site.url("film.mp4")))
    asked = len(site.asked)
    second = worked(order(site.url("film.mp4")))
    assert (second.status, second.duplicate, second.item) == (Status.DONE, True, first.item)
    # The page was looked at, no more.
    assert len(site.asked) == asked + 1
    another = worked(order(site.url("film.mp4"), sound=Sound.MP3))
    assert not another.duplicate
    wanted = Order(by="ada", owner="user:1", any_site=True, again=True)
    again = worked(order(site.url("film.mp4"), terms=wanted))
    assert not again.duplicate
    # Nor is its name that of the sound alone: subtitles lie beside both.
    assert again.key == "downloads/127-0-0-1/film-3.mp4"


def test_the_same_order_twice_is_one_job(folder: Path, site: Web) -> None:
    one, other = (
        jobs.add(site.url("film.mp4"), Options(), ADMIN, requested_key="mine") for _ in range(2)
    )
    assert one == other
    with pytest.raises(jobs.OrderError, match="another download"):
        jobs.add(site.url("other.mp4"), Options(), ADMIN, requested_key="mine")


# ---- what takes patience --------------------------------------------------------------------


def test_a_site_that_is_asked_too_often_is_left_alone_for_an_hour(
    folder: Path, site: Web
) -> None:
    film = site.folder / "film.mp4"
    site.doors["/often.mp4"] = sites.refusing(429, 1, lambda ask: ask.file(film))
    job = worked(order(site.url("often.mp4")))
    assert (job.status, job.code) == (Status.QUEUED, "rate")
    assert "left alone for an hour" in job.fault
    # Nor is anything else of that site taken up, until the hour is over.
    now = timezone.now()
    other = order(site.url("film.mp4"))
    assert jobs.take_next(now + timedelta(minutes=59)) is None
    later = now + timedelta(minutes=61)
    assert set(jobs.waiting(later)) == {job, other}
    assert worked(job).status == Status.DONE


def test_a_stalled_transfer_is_told_and_goes_on_where_it_stopped(
    folder: Path, site: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "SOCKET_TIMEOUT_S", 3)
    monkeypatch.setattr(attempt, "QUIET_NOTICE_S", 1.0)
    site.doors["/stall.mp4"] = sites.stalling(site, site.folder / "film.mp4", 2)
    notes: set[str] = set()
    write = attempt.Attempt._write

    def watch(task: Any) -> None:
        notes.add(str(task._row.get("note", "")))
        write(task)

    monkeypatch.setattr(attempt.Attempt, "_write", watch)
    job = worked(order(site.url("stall.mp4")))
    assert (job.status, job.fault) == (Status.DONE, "")
    assert any(each.startswith("No data for") for each in notes), notes


def test_one_that_stalls_for_ever_is_given_up_and_its_part_file_kept(
    folder: Path, site: Web
) -> None:
    site.doors["/stall.mp4"] = sites.stalling(site, site.folder / "film.mp4", 3)
    job = worked(order(site.url("stall.mp4")), silent=2.0)
    assert (job.status, job.code) == (Status.QUEUED, "stalled")
    assert job.due_at > timezone.now() + timedelta(minutes=4)
    parts = [each.name for each in jobs.folder_of(job).iterdir()]
    assert parts == ["media.mp4.part"]
    had = (jobs.folder_of(job) / parts[0]).stat().st_size
    assert had > 0
    site.doors.clear()
    (site.folder / "stall.mp4").write_bytes((site.folder / "film.mp4").read_bytes())
    jobs.retry(job, lift=True)
    assert worked(job).status == Status.DONE


# ---- room ------------------------------------------------------------------------------------


def test_a_disk_that_is_full_is_told_before_the_start(
    folder: Path, site: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media_library.downloads.quota.MIN_FREE_BYTES", 10**18)
    job = worked(order(site.url("film.mp4")))
    assert (job.status, job.code) == (Status.QUEUED, "disk")
    assert not site.asked


def test_a_quota_that_is_used_up_is_told(folder: Path, site: Web, settings: Settings) -> None:
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
    hear = attempt.Attempt._handle

    def look(task: Any, message: dict[str, Any]) -> None:
        for each in psutil.Process().children(recursive=True):
            seen.append(" ".join(each.cmdline()))
            seen.append(str(each.environ()))
        hear(task, message)

    secrets: list[str] = []

    def noted(*args: Any, **more: Any) -> Any:
        made = Proxy(*args, **more)
        secrets.append(made._secret)
        return made

    monkeypatch.setattr(attempt.Attempt, "_handle", look)
    monkeypatch.setattr(attempt, "Proxy", noted)
    assert worked(order(site.url("film.mp4"))).status == Status.DONE
    assert seen
    assert secrets
    assert not any(secret in each for secret in secrets for each in seen)
    assert "SECRET_KEY" not in " ".join(seen)


def test_cookies_that_cant_be_decrypted_fail_their_job_alone(
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
    assert site.asked == []
    # Pasted again, they serve.
    SiteCookies.objects.update(text=Secret(text))
    assert worked(order(site.url("film.mp4"))).status == Status.DONE


def test_cookies_of_the_site_are_lent_and_what_it_changed_comes_back(
    folder: Path, site: Web
) -> None:
    line = "127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\t{}"
    text = "# Netscape HTTP Cookie File\n" + line.format("s3cr3t") + "\n"
    SiteCookies.objects.create(domain="127.0.0.1", text=Secret(text))
    film = site.folder / "film.mp4"
    shown: list[str] = []

    def door(ask: Any) -> None:
        shown.append(ask.headers.get("Cookie", ""))
        ask.file(film, Set_Cookie="session=renewed; Path=/; Max-Age=999999")

    site.doors["/members.mp4"] = door
    job = worked(order(site.url("members.mp4")))
    assert (job.status, job.fault) == (Status.DONE, "")
    assert shown[0] == "session=s3cr3t"
    kept = SiteCookies.objects.get()
    assert "renewed" in kept.text.reveal()
    assert kept.used_at is not None
    assert "s3cr3t" not in str(DownloadJob.objects.values().get())
    # Whose job fails has no cookies left lying in its folder, which is kept for a retry.
    site.doors["/away.mp4"] = sites.redirect("http://10.0.0.1/")
    failed = worked(order(site.url("away.mp4")))
    assert failed.code == "refused"
    assert files_of(failed) == []


def test_a_pause_is_lifted_by_a_person(folder: Path, site: Web) -> None:
    job = order(site.url("film.mp4"))
    now = timezone.now()
    SitePause.objects.create(site="127.0.0.1", until=now + timedelta(hours=1), why="429")
    assert jobs.take_next(now) is None
    jobs.retry(job, lift=True)
    assert jobs.take_next(timezone.now()) == job
