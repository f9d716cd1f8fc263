"""What is announced is waited for; what never ends is not."""

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
MOST = timedelta(days=30)
HOUR = timedelta(hours=1)


# ---- judged ----------------------------------------------------------------------------------


def test_what_is_announced_is_tried_when_it_begins() -> None:
    why = planned(Code.LATER, NOW + MOST, NOW, most=MOST)
    assert (why.at, why.again) == (NOW + MOST, None)
    assert why.sentence == "It begins on 1 October 2026, 12:00 UTC: it is tried then."


def test_what_begins_too_late_is_not_waited_for() -> None:
    why = planned(Code.LATER, NOW + MOST + timedelta(seconds=1), NOW, most=MOST)
    assert (why.at, why.again) == (None, None)
    assert "DOWNLOAD_WAIT_DAYS" in why.sentence


@pytest.mark.parametrize("begins", [None, NOW, NOW - HOUR])
def test_what_should_have_begun_is_tried_by_the_hour(begins: datetime | None) -> None:
    why = planned(Code.LATER, begins, NOW, most=MOST)
    assert (why.at, why.again) == (None, HOUR)


@pytest.mark.parametrize(
    ("ago", "again"),
    [
        (timedelta(), HOUR),
        (timedelta(hours=23), HOUR),
        # It is one that never ends.
        (timedelta(days=1), None),
        (None, None),
        (-HOUR, None),
    ],
)
def test_what_is_live_is_tried_until_it_is_over(
    ago: timedelta | None, again: timedelta | None
) -> None:
    begins = None if ago is None else NOW - ago
    why = planned(Code.LIVE, begins, NOW, most=MOST)
    assert (why.code, why.at, why.again) == (Code.LIVE, None, again)


@pytest.mark.parametrize("told", [1e30, float("nan"), "soon", -1e20])
def test_a_date_that_is_none(told: Any) -> None:
    assert attempt._moment(told) is None


@pytest.mark.django_db
def test_waiting_counts_as_no_try() -> None:
    job = jobs.add("https://example.org/a", Options(), Order(by="ada", owner="user:1"))
    begins = NOW + timedelta(days=3)
    for number in range(jobs.MAX_TRIES + 2):
        taken = jobs.take(job.pk, NOW + timedelta(minutes=number))
        assert taken is not None
        jobs.failed(taken, planned(Code.LATER, begins, NOW, most=MOST), NOW, warnings=())
        job.refresh_from_db()
        assert (job.status, job.due_at, job.attempts) == (Status.QUEUED, begins, 0)
    assert not jobs.waiting(begins - timedelta(seconds=1)).exists()
    assert jobs.waiting(begins).exists()


# ---- by yt-dlp itself ------------------------------------------------------------------------


class AnnouncedIE(InfoExtractor):  # type: ignore[misc]
    """A site that announces a film as YouTube does: an error, and the moment beside it."""

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
def test_yt_dlp_tells_when_it_begins(
    number: int, begins: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Knowing(runner_ytdlp.Bounded):
        def __init__(self, parameters: dict[str, Any]) -> None:
            super().__init__(parameters)
            known = dict(self._ies)
            # The first that knows an address is asked: the generic one knows all.
            self._ies.clear()
            self.add_info_extractor(AnnouncedIE())
            self._ies.update(known)

    monkeypatch.setattr(runner_ytdlp, "Bounded", Knowing)
    job = {
        "url": f"http://announced.example/{number}",
        "most_bytes": 0,
        "protocols": (),
        "upcoming": UPCOMING,
    }
    with pytest.raises(runner_ytdlp.Stop, match="Premieres in 5 hours") as stopped:
        runner_ytdlp._video(job, {"quiet": True, "logger": _Silent()}, lambda *_, **__: None)
    assert (stopped.value.code_of_ours, stopped.value.begins) == ("not_yet_live", begins)


class _Silent:
    def debug(self, _: str) -> None:
        """Nobody reads it."""

    info = warning = error = debug


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_an_announced_film_is_scheduled_and_comes_when_it_has_begun(site: Web) -> None:
    announcing.use()
    sites.films(site.folder)
    begins = timezone.now().replace(microsecond=0) + timedelta(days=3)
    (site.folder / "announced").mkdir()
    page = site.folder / "announced" / "7.json"
    page.write_text(json.dumps({"error": "Premieres in 3 days", "begins": begins.timestamp()}))
    # A site that is known: nobody's right to any site is needed.
    job = jobs.add(site.url("announced/7"), Options(), Order(by="ada", owner="user:1"))
    job = tried(job)
    assert (job.status, job.code, job.attempts) == (Status.QUEUED, "not_yet_live", 0)
    assert job.due_at == begins
    assert job.fault.startswith("It begins on ")
    assert job.fault.endswith(": it is tried then.")
    assert not jobs.waiting(begins - timedelta(seconds=1)).exists()
    assert site.count("film.mp4") == 0

    # Its moment has come, but the site takes its time: it is asked by the hour.
    page.write_text(
        json.dumps({"error": "Premieres in 3 days", "begins": job.made_at.timestamp()})
    )
    job = tried(job)
    assert (job.status, job.code) == (Status.QUEUED, "not_yet_live")
    assert timedelta(minutes=59) < job.due_at - timezone.now() <= HOUR

    page.write_text(json.dumps({"film": site.url("film.mp4")}))
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


class NestedIE(InfoExtractor):  # type: ignore[misc]
    """A channel of two lists, as YouTube's are; and an address that leads to it."""

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
def test_a_channel_is_looked_at_through_its_lists(cap: int, titles: int) -> None:
    told: dict[str, Any] = {}
    job = {"mode": "look", "url": "http://nested.example/channel", "cap": cap}
    parameters = inspect_parameters(Place("/nowhere", "", ""), cap=cap)
    parameters |= {"cookiefile": None, "ffmpeg_location": None}
    runner_ytdlp.run(
        job | {"parameters": parameters}, lambda _, **said: told.update(said), _Silent()
    )
    assert told["playlist"]
    found = [each["title"] for each in told["entries"]]
    assert found == ["videos 0", "videos 1", "shorts 0", "shorts 1"][:titles]
    assert told["count"] is None


@pytest.mark.usefixtures("nested")
def test_nothing_of_a_list_is_fetched_behind_an_address_that_leads_to_it() -> None:
    said: list[str] = []
    job = {"url": "http://nested.example/short", "most_bytes": 0, "protocols": ()}
    made = parameters(Options(), Place("/nowhere", "", ""))
    base = {"logger": _Silent(), **made, "ffmpeg_location": None}
    with pytest.raises(runner_ytdlp.Stop) as stopped:
        runner_ytdlp._video(
            job | {"upcoming": UPCOMING}, base, lambda kind, **_: said.append(kind)
        )
    assert stopped.value.code_of_ours == "playlist"
    # No video of it was even looked at.
    assert said == []


def test_one_that_has_formats_already_is_announced_still() -> None:
    gate = runner_ytdlp.GatePP((), lambda *_, **__: None)
    with pytest.raises(runner_ytdlp.Stop) as stopped:
        gate.run({"live_status": "is_upcoming", "release_timestamp": 5, "formats": [{}]})
    assert (stopped.value.code_of_ours, stopped.value.begins) == ("not_yet_live", 5)


# ---- what never ends -------------------------------------------------------------------------

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


def worked(url: str, **patience: float) -> DownloadJob:
    order = Order(by="ada", owner="user:1", any_site=True)
    job = jobs.take(jobs.add(url, Options(), order).pk, timezone.now())
    assert job is not None
    worker.work(job, timeouts=attempt.Timeouts(**patience))
    job.refresh_from_db()
    return job


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_an_hls_list_that_grows_without_end_at_the_look(site: Web) -> None:
    site.doors["/grows.m3u8"] = sites.endless(LIST, MORE)
    job = worked(site.url("grows.m3u8"), looking=3.0)
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

    def at_the_look_as_any_other(ask: Any) -> None:
        if site.count("grows.m3u8") > 1:
            grows(ask)
        else:
            ask.say(200, LIST + MORE + b"#EXT-X-ENDLIST\n")

    site.doors["/grows.m3u8"] = at_the_look_as_any_other
    job = worked(site.url("master.m3u8"), looking=30.0, silent=3.0)
    assert (job.status, job.code) == (Status.FAILED, "too_long")
    assert site.count("grows.m3u8") == 2
    # Bytes came all the time: it was not taken for a stalled one, which is tried again.
    assert "3 s without any of the film" in job.fault


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_list_of_more_segments_than_there_is_time_for(site: Web) -> None:
    """Each comes, slowly: the job's own time ends it."""
    sites.hls_of(site.folder, "long.m3u8", *(f"{n}.ts" for n in range(20_000)))

    def slowly(ask: Any) -> None:
        site.go_on.wait(0.05)
        ask.say(200, b"\x47" + bytes(187))

    site.doors |= {f"/{number}.ts": slowly for number in range(20_000)}
    job = worked(site.url("long.m3u8"), whole=6.0)
    assert (job.status, job.code) == (Status.FAILED, "too_long")
    assert site.count("19999.ts") == 0
