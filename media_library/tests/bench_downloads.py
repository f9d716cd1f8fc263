"""Three concurrent downloads are about as fast as plain yt-dlp."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from media_library.downloads import jobs
from media_library.downloads.jobs import Order
from media_library.downloads.options import Options
from media_library.models import DownloadJob
from media_library.tests import web as sites
from media_library.tests.downloading import Cluster
from media_library.tests.web import Web, web_site
from streamsite.security.ssrf import networks
from streamsite.tests.waiting import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.measured,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("ffmpeg"),
]
#: Bytes of each video, and bytes/s per connection: 240 Mbit/s for three.
SIZE = 250_000_000
PACE = 10_000_000


@pytest.fixture
def site(settings: Settings, tmp_path: Path) -> Iterator[Web]:
    (tmp_path / "site").mkdir()
    sites.make_videos(tmp_path / "site")
    large = tmp_path / "site" / "large.mp4"
    shutil.copyfile(tmp_path / "site" / "film.mp4", large)
    with large.open("ab") as out:
        # A box that players skip (ISO 14496-12, 8.1.2): length, kind, anything.
        out.write(struct.pack(">I4s", SIZE, b"free"))
        out.truncate(large.stat().st_size + SIZE - 8)
    settings.RUN_DIR = tmp_path / "run"
    settings.DATA_DIR = tmp_path / "data"
    settings.DOWNLOAD_NETWORKS = networks(["127.0.0.1/32"])
    with web_site(tmp_path / "site") as served:
        settings.DOWNLOAD_PORTS = (served.port,)
        served.pace = PACE
        yield served


def test_three_at_once_are_within_a_tenth_of_plain_yt_dlp(
    folder: Path, site: Web, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    urls = [site.url(f"large.mp4?{number}") for number in range(3)]
    plain = plainly(urls, tmp_path / "plain")
    ours = by_the_cluster(urls, site, folder, tmp_path)
    record_property("plain_seconds", plain)
    record_property("our_seconds", ours)
    record_property("megabytes_per_second", 3 * SIZE / 1e6 / ours)
    # Ours also inspects each video and stores it.
    assert ours < 1.1 * plain


def plainly(urls: list[str], folder: Path) -> float:
    """Returns the seconds of three yt-dlp processes, with the same steps afterwards."""
    folder.mkdir()
    began = time.monotonic()
    running = [
        subprocess.Popen(
            (
                *(sys.executable, "-m", "yt_dlp", "--ignore-config", "--quiet"),
                *("--remux-video", "mp4", "--embed-metadata", "--no-cache-dir"),
                *("-o", f"{folder}/{number}.%(ext)s", url),
            )
        )
        for number, url in enumerate(urls)
    ]
    assert [process.wait(120) for process in running] == [0, 0, 0]
    return time.monotonic() - began


def by_the_cluster(urls: list[str], site: Web, folder: Path, tmp_path: Path) -> float:
    """Returns the seconds from the first claim to the last video in the storage."""
    cluster = Cluster(site, folder, tmp_path, at_once=3)
    batch = jobs.add_many(urls, Options(), Order(by="ada", owner="user:1", any_site=True))
    cluster.start()
    try:
        over = batch.jobs.filter(status__in=DownloadJob.OVER)
        until(lambda: over.count() == 3, 180, "all three are over")
    finally:
        cluster.kill()
    done = list(batch.jobs.all())
    assert {job_.status for job_ in done} == {"done"}, [job_.fault for job_ in done]
    begun = [job_.started_at for job_ in done if job_.started_at]
    ended = [job_.ended_at for job_ in done if job_.ended_at]
    return (max(ended) - min(begun)).total_seconds()
