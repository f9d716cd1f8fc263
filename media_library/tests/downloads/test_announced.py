"""Announced videos are waited for; endless streams are not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings
from yt_dlp.extractor.common import InfoExtractor

from media_library.downloads import attempt, jobs, runner_ytdlp, worker
from media_library.downloads.errors import UPCOMING, Code, planned
from media_library.downloads.jobs import Order
from media_library.downloads.options import Options, Place, inspect_parameters, parameters
from media_library.models import DownloadJob
from media_library.tests import announcing
from media_library.tests import web as sites
from media_library.tests.web import Web, web_site
from streamsite.security.ssrf import networks

Status = DownloadJob.Status
NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
MAX_WAIT = timedelta(days=30)
HOUR = timedelta(hours=1)


# ---- the decision ----------------------------------------------------------------------------


def test_an_announced_video_is_tried_when_it_begins() -> None:
    why = planned(Code.LATER, NOW + MAX_WAIT, NOW, most=MAX_WAIT)
    assert (why.at, why.retry_after) == (NOW + MAX_WAIT, None)
    assert why.sentence == "It begins on 1 October 2026, 12:00 UTC: it is tried then."


def test_a_start_too_far_away_is_not_waited_for() -> None:
    why = planned(Code.LATER, NOW + MAX_WAIT + timedelta(seconds=1), NOW, most=MAX_WAIT)
    assert (why.at, why.retry_after) == (None, None)
    assert "DOWNLOAD_WAIT_DAYS" in why.sentence


@pytest.mark.parametrize("begins", [None, NOW, NOW - HOUR])
def test_a_late_start_is_tried_every_hour(begins: datetime | None) -> None:
    why = planned(Code.LATER, begins, NOW, most=MAX_WAIT)
    assert (why.at, why.retry_after) == (None, HOUR)


@pytest.mark.parametrize(
    ("ago", "again"),
    [
        (timedelta(), HOUR),
        (timedelta(hours=23), HOUR),
        # A stream that never ends.
        (timedelta(days=1), None),
        (None, None),
        (-HOUR, None),
    ],
)
def test_a_live_video_is_tried_until_it_is_over(
    ago: timedelta | None, again: timedelta | None
) -> None:
    begins = None if ago is None else NOW - ago
    why = planned(Code.LIVE, begins, NOW, most=MAX_WAIT)
    assert (why.code, why.at, why.retry_after) == (Code.LIVE, None, again)


@pytest.mark.parametrize("begins", [1e30, float("nan"), "soon", -1e20])
def test_an_invalid_date(begins: Any) -> None:
    assert attempt.local_moment(begins) is None


@pytest.mark.django_db
def test_waiting_counts_as_no_try() -> None:
    job = jobs.add("https://example.org/a", Options(), Order(by="ada", owner="user:1"))
    begins = NOW + timedelta(days=3)
    for number in range(jobs.MAX_TRIES + 2):
        taken = jobs.take(job.pk, NOW + timedelta(minutes=number))
        assert taken is not None
        jobs.failed(taken, planned(Code.LATER, begins, NOW, most=MAX_WAIT), NOW, warnings=())
        job.refresh_from_db()
        assert (job.status, job.due_at, job.attempts) == (Status.QUEUED, begins, 0)
    assert not jobs.waiting(begins - timedelta(seconds=1)).exists()
    assert jobs.waiting(begins).exists()


# ---- with the real yt-dlp --------------------------------------------------------------------


class AnnouncedIE(InfoExtractor):  # type: ignore[misc]  # the parent has no types
    """A site that announces a video like YouTube: an error, and the time beside it."""

    _VALID_URL = r"https?://announced\.example/(?P<id>\d+)"

    def _real_extract(self, url: str) -> dict[str, Any]:
        video = self._match_id(url)
        self.raise_no_formats("Premieres in 5 hours", expected=True, video_id=video)
        return {
            "id": video,
            "title": "Nosferatu",
            "live_status": "is_upcoming",
            "release_timestamp": 1_790_000_000 if video != "2" else None,
            "formats": [],
        }


@pytest.mark.parametrize(("number", "begins"), [(1, 1_790_000_000), (2, None)])
def test_yt_dlp_reports_the_announced_start(
    number: int, begins: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Knowing(runner_ytdlp.Bounded):
        def __init__(self, parameters: dict[str, Any]) -> None:
            super().__init__(parameters)
            existing = dict(self._ies)
            # The first match is used, and the generic extractor matches all.
            self._ies.clear()
            self.add_info_extractor(AnnouncedIE())
            self._ies.update(existing)

    monkeypatch.setattr(runner_ytdlp, "Bounded", Knowing)
    job = {
        "url": f"http://announced.example/{number}",
        "most_bytes": 0,
        "protocols": (),
        "upcoming": UPCOMING,
    }
    with pytest.raises(runner_ytdlp.Stop, match="Premieres in 5 hours") as stopped:
        runner_ytdlp.extracted_video(
            job, {"quiet": True, "logger": _Silent()}, lambda *_, **__: None
        )
    assert (stopped.value.code_of_ours, stopped.value.begins) == ("not_yet_live", begins)


class _Silent:
    def debug(self, _: str) -> None:
        """Ignores it."""

    info = warning = error = debug


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_an_announced_video_is_downloaded_after_its_start(site: Web) -> None:
    announcing.use()
    sites.make_videos(site.folder)
    begins = timezone.now().replace(microsecond=0) + timedelta(days=3)
    (site.folder / "announced").mkdir()
    page = site.folder / "announced" / "7.json"
    page.write_text(json.dumps({"error": "Premieres in 3 days", "begins": begins.timestamp()}))
    # A known site: no right to any site is needed.
    job = jobs.add(site.url("announced/7"), Options(), Order(by="ada", owner="user:1"))
    job = tried(job)
    assert (job.status, job.code, job.attempts) == (Status.QUEUED, "not_yet_live", 0)
    assert job.due_at == begins
    assert job.fault.startswith("It begins on ")
    assert job.fault.endswith(": it is tried then.")
    assert not jobs.waiting(begins - timedelta(seconds=1)).exists()
    assert site.count("film.mp4") == 0

    # The start time has come, but the site is late: it is tried every hour.
    page.write_text(
        json.dumps({"error": "Premieres in 3 days", "begins": job.made_at.timestamp()})
    )
    job = tried(job)
    assert (job.status, job.code) == (Status.QUEUED, "not_yet_live")
    assert timedelta(minutes=59) < job.due_at - timezone.now() <= HOUR

    page.write_text(json.dumps({"video": site.url("film.mp4")}))
    assert jobs.take_next(job.due_at - timedelta(seconds=1)) is None
    job = tried(job)
    assert (job.status, job.fault) == (Status.DONE, "")
    assert job.item is not None
    assert (job.item.title, job.extractor) == ("Nosferatu", "Announced")


def tried(job: DownloadJob) -> DownloadJob:
    taken = jobs.take_next(job.due_at)
    assert taken == job
    worker.work(taken)
    taken.refresh_from_db()
    return taken


class NestedIE(InfoExtractor):  # type: ignore[misc]  # the parent has no types
    """A channel of two lists, like YouTube's; and an address that leads to it."""

    _VALID_URL = r"https?://nested\.example/(?P<id>\w+)"

    def _real_extract(self, url: str) -> dict[str, Any]:
        name = self._match_id(url)
        if name == "short":
            return dict(self.url_result("http://nested.example/channel"))
        if name == "channel":
            tabs = [
                self.url_result(f"http://nested.example/{tab}", ie="YoutubeTab")
                for tab in ("videos", "shorts")
            ]
            return dict(self.playlist_result(tabs, "channel", "Channel"))
        parts = [
            self.url_result(f"http://nested.example/watch{name}{n}", video_title=f"{name} {n}")
            for n in range(2)
        ]
        return dict(self.playlist_result(parts, name, name))


@pytest.fixture
def nested(monkeypatch: pytest.MonkeyPatch) -> None:
    class Knowing(runner_ytdlp.Bounded):
        def __init__(self, parameters: dict[str, Any]) -> None:
            super().__init__(parameters)
            self._ies.clear()
            self.add_info_extractor(NestedIE())
            self._ies["YoutubeTab"] = self._ies["Nested"]
            self._ies_instances["YoutubeTab"] = self._ies_instances["Nested"]

    monkeypatch.setattr(runner_ytdlp, "Bounded", Knowing)


@pytest.mark.parametrize(("cap", "titles"), [(3, 3), (50, 4)])
@pytest.mark.usefixtures("nested")
def test_a_channel_is_inspected_through_its_lists(cap: int, titles: int) -> None:
    result: dict[str, Any] = {}
    job = {"mode": "inspect", "url": "http://nested.example/channel", "cap": cap}
    parameters = inspect_parameters(Place("/nowhere", "", ""), cap=cap)
    parameters |= {"cookiefile": None, "ffmpeg_location": None}
    runner_ytdlp.run(
        job | {"parameters": parameters}, lambda _, **event: result.update(event), _Silent()
    )
    assert result["playlist"]
    titles_ = [entry["title"] for entry in result["entries"]]
    assert titles_ == ["videos 0", "videos 1", "shorts 0", "shorts 1"][:titles]
    assert result["count"] is None


@pytest.mark.usefixtures("nested")
def test_no_video_is_downloaded_from_an_address_that_leads_to_a_list() -> None:
    events: list[str] = []
    job = {"url": "http://nested.example/short", "most_bytes": 0, "protocols": ()}
    made = parameters(Options(), Place("/nowhere", "", ""))
    base = {"logger": _Silent(), **made, "ffmpeg_location": None}
    with pytest.raises(runner_ytdlp.Stop) as stopped:
        runner_ytdlp.extracted_video(
            job | {"upcoming": UPCOMING}, base, lambda kind, **_: events.append(kind)
        )
    assert stopped.value.code_of_ours == "playlist"
    # No video of it was even inspected.
    assert events == []


def test_an_announced_video_with_formats_is_still_announced() -> None:
    gate = runner_ytdlp.GatePP((), lambda *_, **__: None)
    with pytest.raises(runner_ytdlp.Stop) as stopped:
        gate.run({"live_status": "is_upcoming", "release_timestamp": 5, "formats": [{}]})
    assert (stopped.value.code_of_ours, stopped.value.begins) == ("not_yet_live", 5)


# ---- endless streams -------------------------------------------------------------------------

LIST = b"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n"
MORE = b"#EXTINF:1.0,\nnone.ts\n"


@pytest.fixture
def site(settings: Settings, folder: Path, tmp_path: Path) -> Iterator[Web]:
    settings.RUN_DIR = tmp_path / "run"
    settings.DATA_DIR = tmp_path / "data"
    settings.DATA_DIR.mkdir()
    settings.DOWNLOAD_NETWORKS = networks(["127.0.0.1/32"])
    (tmp_path / "site").mkdir()
    with web_site(tmp_path / "site") as served:
        settings.DOWNLOAD_PORTS = (served.port,)
        yield served


def worked(url: str, **timeouts: float) -> DownloadJob:
    order = Order(by="ada", owner="user:1", any_site=True)
    job = jobs.take(jobs.add(url, Options(), order).pk, timezone.now())
    assert job is not None
    worker.work(job, timeouts=attempt.Timeouts(**timeouts))
    job.refresh_from_db()
    return job


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_an_hls_list_that_grows_without_end_at_the_extraction(site: Web) -> None:
    site.handlers["/grows.m3u8"] = sites.endless(LIST, MORE)
    job = worked(site.url("grows.m3u8"), extract_s=3.0)
    assert (job.status, job.code) == (Status.FAILED, "too_long")
    assert "3 s at the page" in job.fault


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_an_hls_list_that_grows_without_end_at_the_download(site: Web) -> None:
    (site.folder / "master.m3u8").write_text(
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=800000,RESOLUTION=320x180,"
        'CODECS="avc1.42c00d,mp4a.40.2"\ngrows.m3u8\n'
    )
    grows = sites.endless(LIST, MORE)

    def finite_at_first(handler: Any) -> None:
        if site.count("grows.m3u8") > 1:
            grows(handler)
        else:
            handler.respond(200, LIST + MORE + b"#EXT-X-ENDLIST\n")

    site.handlers["/grows.m3u8"] = finite_at_first
    job = worked(site.url("master.m3u8"), extract_s=30.0, silent_s=3.0)
    assert (job.status, job.code) == (Status.FAILED, "too_long")
    assert site.count("grows.m3u8") == 2
    # Bytes arrived all the time: it does not count as stalled, which would be retried.
    assert "3 s without any video data" in job.fault


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_list_of_more_segments_than_there_is_time_for(site: Web) -> None:
    """Segments arrive slowly: the job's total time ends it."""
    sites.hls_of(site.folder, "long.m3u8", *(f"{n}.ts" for n in range(20_000)))

    def slowly(handler: Any) -> None:
        site.go_on.wait(0.05)
        handler.respond(200, b"\x47" + bytes(187))

    site.handlers |= {f"/{number}.ts": slowly for number in range(20_000)}
    job = worked(site.url("long.m3u8"), total_s=6.0)
    assert (job.status, job.code) == (Status.FAILED, "too_long")
    assert site.count("19999.ts") == 0
