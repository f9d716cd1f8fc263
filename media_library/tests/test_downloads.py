"""Downloads by real yt-dlp from a site on this machine: what comes, and what may not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import psutil
import pytest
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django import Settings

from media_library import storage
from media_library.downloads import jobs, options, worker
from media_library.downloads.addresses import networks
from media_library.downloads.jobs import Order
from media_library.downloads.options import Options, Sound, Subtitles
from media_library.downloads.proxy import Proxy
from media_library.models import DownloadJob, MediaItem, SiteCookies, SitePause
from media_library.tests import web as sites
from media_library.tests.web import INNER, Web, web_site
from streamsite.secret import Secret

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("ffmpeg"),
]
Status = DownloadJob.Status
ADMIN = Order(by="ada", owner="user:1", any_site=True)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    sites.films(folder)
    return folder


@pytest.fixture
def site(films: Path, settings: Settings, tmp_path: Path) -> Iterator[Web]:
    settings.RUN_DIR = tmp_path / "run"
    settings.DATA_DIR = tmp_path / "data"
    settings.DATA_DIR.mkdir()
    settings.DOWNLOAD_NETWORKS = networks(["127.0.0.1/32"])
    with web_site(films) as served:
        settings.DOWNLOAD_PORTS = (served.port,)
        yield served


def order(url: str, *, terms: Order = ADMIN, **wanted: Any) -> DownloadJob:
    return jobs.add(url, Options(**wanted), terms)


def worked(job: DownloadJob, **patience: float) -> DownloadJob:
    """The job after one try, and nothing left running or lying about."""
    now = timezone.now()
    taken = jobs.take(job.pk, now)
    assert taken is not None
    worker.work(taken, patience=worker.Patience(**patience))
    assert not at_work()
    job.refresh_from_db()
    assert job.reserved_bytes == 0
    assert not job.claim
    return job


def at_work() -> list[str]:
    """Command lines of runners that this process started, and of FFmpeg."""
    return [" ".join(each.cmdline()) for each in psutil.Process().children(recursive=True)]


def outside(tmp_path: Path, media: Path, job: DownloadJob) -> list[str]:
    """All files but those of the job's folder and those in the storage."""
    return sorted(
        str(each.relative_to(tmp_path))
        for each in tmp_path.rglob("*")
        if each.is_file()
        and jobs.folder_of(job) not in each.parents
        and media not in each.parents
        and each.name != worker.CANARY
    )


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
    assert again.key == "downloads/127-0-0-1/film-2.mp4"


def test_the_same_order_twice_is_one_job(folder: Path, site: Web) -> None:
    one, other = (
        jobs.add(site.url("film.mp4"), Options(), ADMIN, asked_key="mine") for _ in range(2)
    )
    assert one == other
    with pytest.raises(jobs.OrderError, match="another download"):
        jobs.add(site.url("other.mp4"), Options(), ADMIN, asked_key="mine")


# ---- what may not ----------------------------------------------------------------------------


def test_a_playlist_is_never_downloaded_by_mistake(folder: Path, site: Web) -> None:
    sites.feed(site.folder, site, 3)
    job = worked(order(site.url("feed.xml")))
    assert (job.status, job.code) == (Status.FAILED, "playlist")
    assert site.count("film.mp4") == 0


def test_a_page_without_end_is_given_up(folder: Path, site: Web) -> None:
    site.doors["/endless.xml"] = sites.endless(
        b'<?xml version="1.0"?><rss version="2.0"><channel>', b"<item/>" * 500
    )
    job = worked(order(site.url("endless.xml")), looking=3.0)
    assert (job.status, job.code) == (Status.FAILED, "too_long")


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
    monkeypatch.setattr(options, "SOCKET_TIMEOUT", 3)
    monkeypatch.setattr(worker, "QUIET", 1.0)
    site.doors["/stall.mp4"] = sites.stalling(site, site.folder / "film.mp4", 2)
    notes: set[str] = set()
    write = worker._Task._write

    def watch(task: Any) -> None:
        notes.add(str(task._row.get("note", "")))
        write(task)

    monkeypatch.setattr(worker._Task, "_write", watch)
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
    jobs.retry(job)
    assert worked(job).status == Status.DONE


REFUSED = {
    "redirect to a private address": "refused",
    "redirect to the cloud's metadata": "refused",
    "redirect to loopback": "refused",
    "redirect to another port": "refused",
    "redirect to a file": "refused",
    "redirect to ftp": "refused",
    "HLS pointing at a file": "refused",
    "HLS pointing at loopback": "refused",
    "HLS pointing at data": "refused",
    "DASH pointing at loopback": "refused",
}


def hostile(site: Web, folder: Path, secret: Path) -> dict[str, str]:
    """By case: the path that is asked for."""
    inner = site.url("film.mp4", INNER)
    targets = {
        "redirect to a private address": "http://10.0.0.1/film.mp4",
        "redirect to the cloud's metadata": "http://169.254.169.254/latest/film.mp4",
        "redirect to loopback": inner,
        "redirect to another port": "http://127.0.0.1:22/film.mp4",
        "redirect to a file": f"file://{secret}",
        "redirect to ftp": "ftp://127.0.0.1/film.mp4",
    }
    paths = {}
    for number, (case, target) in enumerate(targets.items()):
        paths[case] = f"away-{number}.mp4"
        site.doors[f"/{paths[case]}"] = sites.redirect(target)
    sites.hls_of(site.folder, "file.m3u8", f"file://{secret}")
    sites.hls_of(site.folder, "inner.m3u8", inner)
    sites.hls_of(site.folder, "data.m3u8", "data:video/mp2t;base64,R0dHR0c=")
    paths["HLS pointing at a file"] = "file.m3u8"
    paths["HLS pointing at loopback"] = "inner.m3u8"
    paths["HLS pointing at data"] = "data.m3u8"
    mpd = (site.folder / "dash" / "film.mpd").read_text()
    base = f"<BaseURL>{site.url('dash/', INNER)}</BaseURL>"
    (site.folder / "inner.mpd").write_text(mpd.replace("<Period", f"{base}<Period", 1))
    paths["DASH pointing at loopback"] = "inner.mpd"
    return paths


@pytest.mark.parametrize("case", REFUSED)
def test_nothing_inside_is_reached(case: str, folder: Path, site: Web, tmp_path: Path) -> None:
    secret = tmp_path / "secret.ts"
    secret.write_bytes(b"G" * 1880)
    path = hostile(site, folder, secret)[case]
    asked = len(site.asked)
    job = worked(order(site.url(path)))
    assert (job.status, job.code) == (Status.FAILED, REFUSED[case]), job.fault
    # What lies at loopback's other address is the same film: it was not asked for.
    assert "/film.mp4" not in site.asked[asked:]
    assert not [each for each in site.asked[asked:] if each.startswith("/dash/")]
    assert not MediaItem.objects.exists()
    assert outside(tmp_path, folder, job) == ["secret.ts"]
    assert not any(secret.read_bytes() in each.read_bytes() for each in files_of(job))


def files_of(job: DownloadJob) -> list[Path]:
    return [each for each in jobs.folder_of(job).rglob("*") if each.is_file()]


def test_a_name_that_answers_otherwise_a_moment_later_gains_nothing(
    folder: Path, site: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: first the site itself, then what may not be reached."""
    answers = iter(["127.0.0.1"])
    resolved: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        resolved.append(next(answers, INNER))
        return [resolved[-1]]

    monkeypatch.setattr(worker, "Proxy", lambda *a, **k: Proxy(*a, find=resolve, **k))
    job = worked(order(f"http://rebind.example:{site.port}/film.mp4"))
    assert (job.status, job.code) == (Status.FAILED, "refused")
    assert resolved[:2] == ["127.0.0.1", INNER]
    assert f"which is {INNER}" in job.fault
    # Each connection was resolved once, and only the first was made.
    assert len(site.asked) == 1


def test_ten_gigabytes_are_refused_when_they_are_announced(
    folder: Path, site: Web, settings: Settings
) -> None:
    settings.DOWNLOAD_MAX_GB = 9
    site.doors["/huge.mp4"] = sites.huge(10 * 10**9)
    job = worked(order(site.url("huge.mp4")))
    assert (job.status, job.code) == (Status.FAILED, "too_large")
    assert sum(each.stat().st_size for each in files_of(job)) < 10**8


@pytest.mark.parametrize(
    ("path", "disposition"),
    [
        (f"{'n' * 300}.mp4", ""),
        ("a.mp4", f'attachment; filename="{"ü" * 300}.mp4"'),
        ("b.mp4", 'attachment; filename="../../../../etc/evil.mp4"'),
        ("..%2F..%2Fevil.mp4", ""),
        ("x/..%5C..%5Cevil.mp4", 'attachment; filename="..\\\\evil.mp4"'),
    ],
)
def test_no_name_of_theirs_names_a_file_of_ours(
    path: str, disposition: str, folder: Path, site: Web, tmp_path: Path
) -> None:
    film = site.folder / "film.mp4"
    more = (
        {"Content_Disposition": disposition.encode().decode("latin-1")} if disposition else {}
    )

    site.doors[f"/{unquote(path)}"] = lambda ask: ask.file(film, **more)
    job = worked(order(site.url(path)))
    assert (job.status, job.fault) == (Status.DONE, "")
    assert job.key.startswith("downloads/127-0-0-1/")
    assert len(job.key.encode()) < 255
    assert ".." not in job.key
    stored = {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}
    assert stored == {job.key}
    assert outside(tmp_path, folder, job) == []


def test_sites_that_are_not_known_are_for_administrators(folder: Path, site: Web) -> None:
    job = worked(order(site.url("film.mp4"), terms=Order(by="eve", owner="key:1")))
    assert (job.status, job.code) == (Status.FAILED, "unsupported")
    assert not site.asked


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://example.org/a.mp4", "file:///etc/passwd", "data:video/mp4,x", "ytsearch:cats"),
        *("//example.org/a", "https://", "https://me:secret@example.org/a.mp4", "x"),
        "https://example.org/a#__youtubedl_smuggle=%7B%7D",
        f"https://example.org/{'a' * 2000}",
    ],
)
def test_addresses_that_are_not_taken(url: str) -> None:
    with pytest.raises(jobs.OrderError) as refusal:
        jobs.add(url, Options(), ADMIN)
    assert "secret" not in str(refusal.value)


def test_a_page_is_no_film(folder: Path, site: Web) -> None:
    (site.folder / "page.mp4").write_text("<html>nothing</html>" * 100)
    job = worked(order(site.url("page.mp4")))
    assert (job.status, job.code) == (Status.FAILED, "media")


def test_a_playlist_that_calls_itself_a_film_opens_nothing(
    folder: Path, site: Web, tmp_path: Path
) -> None:
    """FFmpeg would open what stands in it, were it allowed to."""
    private = tmp_path / "private.mp4"
    private.write_bytes((site.folder / "film.mp4").read_bytes())
    sites.hls_of(site.folder, "disguise.bin", f"file://{private}")
    disguise = site.folder / "disguise.bin"

    def answer(ask: Any) -> None:
        ask.say(200, disguise.read_bytes(), Content_Type="video/mp4")

    site.doors["/disguise.mkv"] = answer
    job = worked(order(site.url("disguise.mkv")))
    assert (job.status, job.code) == (Status.FAILED, "media")
    assert not MediaItem.objects.exists()


# ---- room ------------------------------------------------------------------------------------


def test_a_disk_that_is_full_is_told_before_the_start(
    folder: Path, site: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media_library.downloads.room.FLOOR", 10**18)
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
    hear = worker._Task._hear

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

    monkeypatch.setattr(worker._Task, "_hear", look)
    monkeypatch.setattr(worker, "Proxy", noted)
    assert worked(order(site.url("film.mp4"))).status == Status.DONE
    assert seen
    assert secrets
    assert not any(secret in each for secret in secrets for each in seen)
    assert "SECRET_KEY" not in " ".join(seen)


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
    jobs.retry(job)
    assert jobs.take_next(timezone.now()) == job
