"""Hostile sites: no internal address and no file outside the job's folder is reached."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from pytest_django import Settings

from media_library.downloads import jobs, process
from media_library.downloads.jobs import Order
from media_library.downloads.options import Options, Sound
from media_library.downloads.proxy import Proxy
from media_library.models import DownloadJob, MediaItem
from media_library.tests import web as sites
from media_library.tests.downloading import ADMIN, files_of, order, outside, worked
from media_library.tests.web import INNER, Web

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("ffmpeg"),
]
Status = DownloadJob.Status


def test_a_playlist_is_never_downloaded_by_mistake(folder: Path, site: Web) -> None:
    sites.feed(site.folder, site, 3)
    job = worked(order(site.url("feed.xml")))
    assert (job.status, job.code) == (Status.FAILED, "playlist")
    assert site.count("film.mp4") == 0


def test_a_page_without_end_is_given_up(folder: Path, site: Web) -> None:
    site.handlers["/endless.xml"] = sites.endless(
        b'<?xml version="1.0"?><rss version="2.0"><channel>', b"<item/>" * 500
    )
    job = worked(order(site.url("endless.xml")), extract_s=3.0)
    assert (job.status, job.code) == (Status.FAILED, "too_long")


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
    """Returns the requested path by case."""
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
        site.handlers[f"/{paths[case]}"] = sites.redirect(target)
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
    count = len(site.requests)
    job = worked(order(site.url(path)))
    assert (job.status, job.code) == (Status.FAILED, REFUSED[case]), job.fault
    # The other loopback address serves the same video: it was not requested.
    assert "/film.mp4" not in site.requests[count:]
    assert not [path_ for path_ in site.requests[count:] if path_.startswith("/dash/")]
    assert not MediaItem.objects.exists()
    assert outside(tmp_path, folder, job) == ["secret.ts"]
    assert not any(secret.read_bytes() in file.read_bytes() for file in files_of(job))


def test_a_name_that_changes_its_address_is_refused(
    folder: Path, site: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: first the site itself, then a forbidden address."""
    answers = iter(["127.0.0.1"])
    resolved: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        resolved.append(next(answers, INNER))
        return [resolved[-1]]

    monkeypatch.setattr(process, "Proxy", lambda *a, **k: Proxy(*a, find=resolve, **k))
    job = worked(order(f"http://rebind.example:{site.port}/film.mp4"))
    assert (job.status, job.code) == (Status.FAILED, "refused")
    assert resolved[:2] == ["127.0.0.1", INNER]
    assert f"which is {INNER}" in job.fault
    # Each connection was resolved once, and only the first was made.
    assert len(site.requests) == 1


def test_ten_gigabytes_are_refused_when_they_are_announced(
    folder: Path, site: Web, settings: Settings
) -> None:
    settings.DOWNLOAD_MAX_GB = 9
    site.handlers["/huge.mp4"] = sites.huge(10 * 10**9)
    job = worked(order(site.url("huge.mp4")))
    assert (job.status, job.code) == (Status.FAILED, "too_large")
    assert sum(file.stat().st_size for file in files_of(job)) < 10**8


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
def test_no_name_of_a_site_becomes_a_path_outside(
    path: str, disposition: str, folder: Path, site: Web, tmp_path: Path
) -> None:
    video = site.folder / "film.mp4"
    more = (
        {"Content_Disposition": disposition.encode().decode("latin-1")} if disposition else {}
    )

    site.handlers[f"/{unquote(path)}"] = lambda handler: handler.file(video, **more)
    job = worked(order(site.url(path)))
    assert (job.status, job.fault) == (Status.DONE, "")
    assert job.key.startswith("downloads/127-0-0-1/")
    assert len(job.key.encode()) < 255
    assert ".." not in job.key
    stored = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert stored == {job.key}
    assert outside(tmp_path, folder, job) == []


def test_unknown_sites_are_reserved_for_administrators(folder: Path, site: Web) -> None:
    job = worked(order(site.url("film.mp4"), terms=Order(by="eve", owner="key:1")))
    assert (job.status, job.code) == (Status.FAILED, "unsupported")
    assert not site.requests


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://example.org/a.mp4", "file:///etc/passwd", "data:video/mp4,x", "ytsearch:cats"),
        *("//example.org/a", "https://", "https://me:secret@example.org/a.mp4", "x"),
        "https://example.org/a#__youtubedl_smuggle=%7B%7D",
        f"https://example.org/{'a' * 2000}",
    ],
)
def test_invalid_addresses_are_refused(url: str) -> None:
    with pytest.raises(jobs.OrderError) as refusal:
        jobs.add(url, Options(), ADMIN)
    assert "secret" not in str(refusal.value)


def test_a_page_is_no_video(folder: Path, site: Web) -> None:
    (site.folder / "page.mp4").write_text("<html>nothing</html>" * 100)
    job = worked(order(site.url("page.mp4")))
    assert (job.status, job.code) == (Status.FAILED, "media")


def test_a_playlist_with_a_video_extension_opens_nothing(
    folder: Path, site: Web, tmp_path: Path
) -> None:
    """FFmpeg would open the files in it, if it were allowed to."""
    private = tmp_path / "private.mp4"
    private.write_bytes((site.folder / "film.mp4").read_bytes())
    sites.hls_of(site.folder, "disguise.bin", f"file://{private}")
    disguise = site.folder / "disguise.bin"

    def answer(handler: Any) -> None:
        handler.respond(200, disguise.read_bytes(), Content_Type="video/mp4")

    site.handlers["/disguise.mkv"] = answer
    job = worked(order(site.url("disguise.mkv")))
    assert (job.status, job.code) == (Status.FAILED, "media")
    assert not MediaItem.objects.exists()


def test_a_playlist_with_a_video_extension_is_not_probed_for_audio(
    folder: Path, site: Web, tmp_path: Path
) -> None:
    """Ffprobe reads the codec; if it opened this pipe, it would wait for ever."""
    waits = tmp_path / "private.mp4"
    os.mkfifo(waits)
    sites.hls_of(site.folder, "disguise.bin", f"file://{waits}")
    disguise = site.folder / "disguise.bin"

    def answer(handler: Any) -> None:
        handler.respond(200, disguise.read_bytes(), Content_Type="video/mp4")

    site.handlers["/disguise.mp4"] = answer
    job = worked(order(site.url("disguise.mp4"), sound=Sound.MP3), total_s=30.0)
    assert (job.status, job.code) == (Status.FAILED, "media")
