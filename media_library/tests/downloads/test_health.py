"""Whether downloads can work: the judgement, the page and the API."""

from __future__ import annotations

import re
import threading
from datetime import UTC, date, datetime, timedelta
from html import unescape
from pathlib import Path

import pytest
import yt_dlp
from cryptography.fernet import Fernet
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django import Settings

from media_library.downloads import health, jobs, ytdlp_selftest, ytdlp_versions
from media_library.downloads.health import State
from media_library.downloads.jobs import Order
from media_library.downloads.options import Options
from media_library.downloads.ytdlp_selftest import About, SelfTestError
from media_library.models import DownloadJob, SiteCookies, SitePause
from media_library.tests import rows
from streamsite.api import keys
from streamsite.api.permissions import KeyPermission
from streamsite.processes.refreshed import Refreshed, Result
from streamsite.tests.waiting import until

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
TODAY = date(2026, 9, 1)
COOKIES = ".example.org\tTRUE\t/\tTRUE\t0\tsession\ts3cr3t-cookie"
PAGE = "/admin/media/download-tool/"


@pytest.fixture(autouse=True)
def home(settings: Settings, tmp_path: Path) -> None:
    settings.RUN_DIR = tmp_path / "run"
    settings.DATA_DIR = tmp_path / "data"


def about(version: str = "2026.08.19", runtime: str = "deno 2.9.8") -> About:
    return About(version, "3.11.7", runtime, "/venv/bin/python")


@pytest.mark.parametrize(
    ("described", "states", "words"),
    [
        (about(), ["ok", "ok", "ok"], ""),
        (about("2026.08.02"), ["ok", "ok", "ok"], ""),
        (about("2026.08.01"), ["ok", "warning", "ok"], "update it here"),
        (about("2026.06.02.232323"), ["ok", "failing", "ok"], "Many sites may have changed"),
        (about("2026.09.02"), ["ok", "ok", "ok"], ""),
        (about("strange"), ["ok", "unknown", "ok"], "no date"),
        (about("2026.99.99"), ["ok", "unknown", "ok"], "no date"),
        (about(runtime=""), ["ok", "ok", "failing"], "No deno can be started"),
        (about(runtime="deno 2.2.9"), ["ok", "ok", "failing"], "deno 2.3.0 or newer"),
        (about(runtime="deno 2.3.0"), ["ok", "ok", "ok"], ""),
        (
            "it ended without a result.",
            ["failing"],
            "without a result. If downloads fail too",
        ),
    ],
)
def test_the_tool_is_judged(described: About | str, states: list[str], words: str) -> None:
    findings = health.findings(described, TODAY)
    assert [finding.state for finding in findings] == states
    assert words in " ".join(finding.sentence for finding in findings)
    # Every fault has a remedy, and a healthy part has no sentence.
    assert all(
        bool(finding.sentence) == (finding.state is not State.OK) for finding in findings
    )


def test_an_unusable_environment_is_reported() -> None:
    (itself, *_) = health.findings(about(), TODAY, lost=True)
    assert (itself.state, "update it again" in itself.sentence) == (State.WARNING, True)


@pytest.mark.parametrize(
    ("done", "failed", "state"),
    [(10, 0, "ok"), (9, 1, "ok"), (8, 1, "warning"), (5, 5, "warning"), (4, 5, "failing")],
)
def test_a_site_is_judged_by_its_success(done: int, failed: int, state: str) -> None:
    site = health.of_site("example.org", done, failed, fault="It broke.")
    assert (site.state, site.sentence) == (state, "It broke." if failed else "")


def test_a_paused_site_has_the_reason() -> None:
    site = health.of_site("example.org", 3, 0, paused="Asked too often.")
    assert (site.state, site.sentence) == (State.WARNING, "Asked too often.")


@pytest.mark.parametrize(
    ("days", "refused", "state"),
    [(0, False, "ok"), (60, False, "ok"), (61, False, "warning"), (1, True, "failing")],
)
def test_cookies_are_judged(*, days: int, refused: bool, state: str) -> None:
    set_at = NOW - timedelta(days=days, hours=1)
    cookies = health.of_cookies("example.org", NOW, set_at, used_at=None, refused=refused)
    assert (cookies.age_days, cookies.state) == (days, state)
    assert bool(cookies.sentence) == (state != "ok")


def test_cookies_that_cant_be_decrypted_are_reported() -> None:
    cookies = health.of_cookies(
        "example.org", NOW, NOW, used_at=None, refused=True, readable=False
    )
    assert (cookies.state, "put the old key back" in cookies.sentence) == (State.FAILING, True)


# ---- pages and API ---------------------------------------------------------------------------


def over(url: str, ended: datetime, status: str, **more: object) -> None:
    job = jobs.add(url, Options(), Order(by="ada", owner="user:1"))
    DownloadJob.objects.filter(pk=job.pk).update(
        status=status, ended_at=ended, key="downloads/a.mp4", **more
    )


@pytest.fixture
def history(db: None) -> datetime:
    now = timezone.now()
    for hours in (1, 2, 3):
        over("https://good.example/a", now - timedelta(hours=hours), "done")
    over("https://www.example.org/a", now - timedelta(hours=2), "done")
    refused = {"code": "login", "fault": "The site requires a login."}
    over("https://example.org/b", now - timedelta(hours=1), "failed", **refused)
    over("https://example.org/c", now - timedelta(hours=3), "failed", code="rate", fault="Old.")
    # Ignored: too long ago, cancelled, or a duplicate.
    over("https://good.example/b", now - timedelta(days=8), "failed", code="http", fault="x")
    over("https://good.example/c", now, "cancelled")
    over("https://good.example/d", now, "done", duplicate=True)
    SitePause.objects.create(
        site="robots.example", until=now + timedelta(hours=1), why="Taken for a robot."
    )
    SiteCookies.objects.create(
        domain="example.org", text=COOKIES, set_at=now - timedelta(days=2, hours=1)
    )
    return now


def test_the_api_reports_health_to_administrators(history: datetime) -> None:
    _, key = keys.mint("Robot", KeyPermission.ADMIN, by="ada", now=history)
    client = Client(headers={"Authorization": f"Bearer {key.reveal()}"})
    answer = client.get("/api/v1/downloads/health")
    body = answer.json()
    assert answer.status_code == 200, body
    assert body["version"] == yt_dlp.version.__version__
    assert body["runtime"].startswith("deno ")
    assert (body["state"], body["days"], body["updated"]) == ("failing", 7, False)
    assert [finding["name"] for finding in body["findings"]] == ["yt-dlp", "Age", "JavaScript"]
    sites = {site.pop("site"): site for site in body["sites"]}
    assert sites == {
        "robots.example": {
            "done": 0, "failed": 0, "success": None, "state": "warning",
            "sentence": "Taken for a robot.",
        },
        "example.org": {
            "done": 1, "failed": 2, "success": 0.333, "state": "failing",
            "sentence": "The site requires a login.",
        },
        "good.example": {
            "done": 3, "failed": 0, "success": 1.0, "state": "ok", "sentence": "",
        },
    }  # fmt: skip
    (cookies,) = body["cookies"]
    assert (cookies["domain"], cookies["age_days"]) == ("example.org", 2)
    assert (cookies["state"], "export them again" in cookies["sentence"]) == ("failing", True)
    assert "s3cr3t" not in answer.content.decode()
    longer = client.get("/api/v1/downloads/health", {"days": 30}).json()
    assert {site["failed"] for site in longer["sites"]} == {0, 1, 2}
    assert client.get("/api/v1/downloads/health", {"days": 91}).status_code == 422


def viewer(*names: str) -> Client:
    client = Client()
    client.force_login(rows.user("view_downloadjob", *names, name="-".join(("ada", *names))))
    return client


def test_the_page_reports_health(history: datetime) -> None:
    page = viewer().get(PAGE).content.decode()
    assert yt_dlp.version.__version__ in page
    assert "It is part of streamsite's own installation." in page
    assert "The site requires a login." in page
    assert "s3cr3t" not in page
    assert "downloads/update" not in page
    page = viewer("update_downloader").get(PAGE).content.decode()
    assert "downloads/update" in page
    # There is no previous environment.
    assert "downloads/roll-back" not in page


@pytest.mark.django_db
def test_stored_cookies_of_a_lost_key_are_reported(settings: Settings) -> None:
    SiteCookies.objects.create(domain="example.org", text=COOKIES)
    settings.FIELD_KEYS = [Fernet.generate_key().decode()]
    assert "can't be decrypted" in unescape(viewer().get(PAGE).content.decode())
    _, key = keys.mint("Robot", KeyPermission.ADMIN, by="ada", now=timezone.now())
    client = Client(headers={"Authorization": f"Bearer {key.reveal()}"})
    (row,) = client.get("/api/v1/site-cookies").json()["items"]
    assert (row["domain"], row["readable"]) == ("example.org", False)


@pytest.mark.django_db
def test_the_update_button_requires_permission() -> None:
    update = "/api/v1/downloads/update"
    assert viewer().post(update).status_code == 403
    assert not OrmQ.objects.exists()
    answer = viewer("update_downloader").post(update)
    assert "The update begins" in answer.json()["detail"]
    (queued,) = OrmQ.objects.all()
    assert queued.func() == "media_library.tasks.update_downloader"


@pytest.mark.django_db
def test_going_back_by_the_button() -> None:
    client = viewer("update_downloader")
    answer = client.post("/api/v1/downloads/roll-back")
    assert "there is no previous yt-dlp" in answer.json()["detail"]
    # An environment without interpreter: streamsite's own is the previous one.
    ytdlp_versions.write_choice(
        ytdlp_versions.Choice("20260901T120000-aa", "", untouched=False)
    )
    answer = client.post("/api/v1/downloads/roll-back")
    used = f"yt-dlp {yt_dlp.version.__version__} is used from now on."
    assert used in answer.json()["detail"]
    assert ytdlp_versions.chosen().current == ""


@pytest.mark.django_db
def test_a_yt_dlp_that_cant_be_started_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ytdlp_versions, "python", lambda: str(tmp_path / "gone"))
    report = health.report(timezone.now())
    assert (report.state, report.version, report.age_days) == (State.FAILING, "", None)
    assert "It can't be started" in unescape(viewer().get(PAGE).content.decode())


@pytest.mark.django_db
@pytest.mark.parametrize("answer", [about(), "it ended without a result."])
def test_an_old_result_is_shown_with_its_age(
    monkeypatch: pytest.MonkeyPatch, answer: About | str
) -> None:
    called, go_on = threading.Event(), threading.Event()

    def slow(_: str) -> About:
        called.set()
        go_on.wait(60)
        if isinstance(answer, str):
            raise SelfTestError(answer)
        return answer

    monkeypatch.setattr(ytdlp_selftest, "about", slow)
    monkeypatch.setattr(health, "ANSWER_TIMEOUT_S", 0)
    monkeypatch.setattr(ytdlp_versions, "python", lambda: f"/nowhere/{answer}")
    (finding,) = health.report(timezone.now()).findings
    # The state is unknown so far, and shown as such.
    assert (finding.state, finding.sentence) == (State.UNKNOWN, health.UNANSWERED)
    assert "Checked" not in viewer().get(PAGE).content.decode()
    go_on.set()
    until(lambda: health.report(timezone.now()).checked_at, 60, "it has answered")
    go_on.clear()
    last = Result(answer, 7 * 60)
    monkeypatch.setattr(Refreshed, "get", lambda *_, **__: last)
    page = unescape(viewer("update_downloader").get(PAGE).content.decode())
    go_on.set()
    assert re.search(r"Checked <time[^>]*>7\xa0minutes ago</time>", page)
