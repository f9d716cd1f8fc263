"""Settings of downloads in the API: schedules, cookies, and yt-dlp itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from media_library.downloads import ytdlp_versions
from media_library.models import DownloadJob, DownloadSchedule, SiteCookies
from streamsite.api.models import KeyChange
from streamsite.api.permissions import KeyPermission
from streamsite.tests.api_calls import ApiCall, api_caller

pytestmark = pytest.mark.django_db

COOKIE = ".example.org\tTRUE\t/\tTRUE\t0\tsession\ts3cret-c00kie\n"


@pytest.fixture(autouse=True)
def folders(settings: Settings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path


@pytest.fixture
def call(client: Client) -> ApiCall:
    return api_caller(client, KeyPermission.ADMIN)


def test_a_schedule_is_made_changed_and_deleted(call: ApiCall) -> None:
    new = {"name": "News", "url": "https://example.org/channel", "every_hours": 6, "cap": 5}
    status, made = call("POST", "download-schedules", new | {"options": {"quality": 720}})
    assert status == 201
    assert made.items() >= new.items()
    assert (made["options"]["quality"], made["made_by"]) == (720, "API key Robot")
    row = DownloadSchedule.objects.get()
    assert row.owner.startswith("key:")
    assert row.any_site
    where = f"download-schedules/{made['id']}"
    status, changed = call("PATCH", where, {"enabled": False, "options": {"sound": "mp3"}})
    assert (status, changed["enabled"], changed["cap"]) == (200, False, 5)
    assert (changed["options"]["sound"], changed["options"]["quality"]) == ("mp3", 0)
    assert call("GET", where) == (200, changed)
    assert call("GET", "download-schedules")[1]["items"] == [changed]
    assert call("DELETE", where) == (204, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://example.org/"},
        {"url": "https://ada:pw@example.org/"},
        {"cap": 501},
        {"options": {"quality": 721}},
        {"options": {"languages": ["--all"]}},
        {"options": {"translate": ["de"]}},
        {"owner": "user:1"},
    ],
)
def test_invalid_schedules_are_refused(call: ApiCall, wrong: dict[str, Any]) -> None:
    new = {"name": "News", "url": "https://example.org/channel"} | wrong
    assert call("POST", "download-schedules", new)[0] == 422
    assert not DownloadSchedule.objects.exists()


def test_cookies_are_stored_and_never_returned(call: ApiCall) -> None:
    status, made = call("POST", "site-cookies", {"domain": ".Example.org", "text": COOKIE})
    assert (status, made["domain"]) == (201, "example.org")
    where = f"site-cookies/{made['id']}"
    other = COOKIE.replace("s3cret", "other")
    answers = [made, call("GET", "site-cookies"), call("PUT", where, {"text": other})]
    assert "c00kie" not in str(answers)
    assert "other-c00kie" in SiteCookies.objects.get().text.reveal()
    status, refused = call("PUT", where, {"text": COOKIE.replace("example.org", "else.net")})
    assert (status, refused["type"]) == (422, "urn:streamsite:problem:refused")
    assert "c00kie" not in str([refused, *KeyChange.objects.values_list("sentence")])
    assert call("POST", "site-cookies", {"domain": "example.org", "text": COOKIE})[0] == 422
    assert call("DELETE", where) == (204, None)


def test_a_finished_download_is_deleted(call: ApiCall) -> None:
    job = call("POST", "download", {"url": "https://example.org/a"})[1]
    status, refused = call("DELETE", f"jobs/{job['id']}")
    assert (status, refused["type"]) == (409, "urn:streamsite:problem:conflict")
    call("POST", f"cancel/{job['id']}")
    assert call("DELETE", f"jobs/{job['id']}") == (204, None)
    assert not DownloadJob.objects.exists()


def test_yt_dlp_is_updated_and_rolled_back(
    call: ApiCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordered: list[str] = []

    def order() -> bool:
        ordered.append("update")
        return True

    monkeypatch.setattr(ytdlp_versions, "order", order)
    assert call("POST", "downloads/update")[0] == 202
    assert ordered == ["update"]
    status, refused = call("POST", "downloads/roll-back")
    assert (status, refused["detail"]) == (
        409,
        "There was no update yet: there is no previous yt-dlp.",
    )
