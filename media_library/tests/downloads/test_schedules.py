"""Schedules: new videos of an address are ordered once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from media_library import tasks
from media_library.downloads import schedules
from media_library.models import DownloadJob, DownloadSchedule
from media_library.tests import rows
from media_library.tests import web as sites
from media_library.tests.web import Web, web_site
from streamsite.security.ssrf import networks

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def site(settings: Settings, tmp_path: Path) -> Iterator[Web]:
    settings.RUN_DIR = tmp_path / "run"
    settings.DOWNLOAD_NETWORKS = networks(["127.0.0.1/32"])
    (tmp_path / "site").mkdir()
    with web_site(tmp_path / "site") as served:
        settings.DOWNLOAD_PORTS = (served.port,)
        yield served


def schedule(url: str, **fields: object) -> DownloadSchedule:
    usual = {"name": "Parts", "url": url, "any_site": True, "owner": "user:1"}
    return DownloadSchedule.objects.create(**usual | fields)


def ordered() -> list[str]:
    return [job.url.rpartition("=")[2] for job in DownloadJob.objects.order_by("pk")]


@pytest.mark.slow
def test_only_new_videos_are_ordered_and_at_most_the_cap(site: Web) -> None:
    sites.feed(site.folder, site, 3)
    made = schedule(site.url("feed.xml"), cap=2)
    assert tasks.check_schedules() == "1 checked."
    # The list begins with the newest: they are ordered by age.
    assert ordered() == ["2", "1"]
    made.refresh_from_db()
    assert (made.ordered, made.fault, made.enabled) == (2, "", True)
    assert timedelta(hours=23) < made.next_at - timezone.now() <= timedelta(hours=24)
    assert tasks.check_schedules() == "0 checked."
    cache.clear()
    DownloadSchedule.objects.update(next_at=timezone.now(), cap=3)
    tasks.check_schedules()
    assert ordered() == ["2", "1", "3"]


@pytest.mark.slow
def test_a_schedule_without_interval_runs_once(site: Web) -> None:
    sites.feed(site.folder, site, 1)
    made = schedule(site.url("feed.xml"), every_hours=0)
    tasks.check_schedules()
    made.refresh_from_db()
    assert not made.enabled
    assert ordered() == ["1"]


@pytest.mark.slow
def test_an_invalid_address_does_not_block_the_others(site: Web) -> None:
    sites.feed(site.folder, site, 2)
    page = site.folder / "feed.xml"
    bad = "<item><title>Bad</title><link>ftp://example.org/a.mp4</link></item>"
    page.write_text(page.read_text().replace("</channel>", f"{bad}</channel>"))
    made = schedule(site.url("feed.xml"))
    tasks.check_schedules()
    assert ordered() == ["2", "1"]
    made.refresh_from_db()
    assert made.ordered == 2
    assert made.fault.startswith("ftp://example.org/a.mp4: The address must begin with")


@pytest.mark.slow
def test_a_failed_check_has_a_reason_and_is_retried(site: Web) -> None:
    made = schedule(site.url("gone.xml"))
    tasks.check_schedules()
    made.refresh_from_db()
    assert "removed, is private" in made.fault
    assert made.next_at - timezone.now() <= schedules.RETRY_DELAY


def test_two_workers_never_claim_the_same_schedule() -> None:
    schedule("https://example.org/")
    now = timezone.now()
    assert schedules.due(now) is not None
    assert schedules.due(now) is None


def test_a_schedule_is_made_and_changed_in_the_admin() -> None:
    client = Client()
    names = ("add_downloadschedule", "change_downloadschedule", "view_downloadschedule")
    client.force_login(rows.user(*names))
    form = {
        "name": "Parts", "url": "https://example.org/c", "every_hours": "6", "cap": "5",
        "enabled": "on", "rights": "CC BY", "quality": "720", "container": "mp4", "sound": "",
        "subtitles": "none", "languages": "en", "thumbnail": "on",
    }  # fmt: skip
    url = "/admin/media_library/downloadschedule/"
    wrong = client.post(f"{url}add/", form | {"url": "https://u:p@example.org/"})
    assert "Remove the name and password" in wrong.content.decode()
    wrong = client.post(f"{url}add/", form | {"languages": "--all"})
    assert "A language is written as" in wrong.content.decode()
    assert client.post(f"{url}add/", form).status_code == 302
    made = DownloadSchedule.objects.get()
    assert (made.options["quality"], made.options["chapters"]) == (720, False)
    assert (made.made_by, made.any_site) == ("ada", False)
    # A worker has checked it meanwhile: its columns stay.
    page = client.get(f"{url}{made.pk}/change/").content.decode()
    assert 'value="720" selected' in page
    DownloadSchedule.objects.update(ordered=7)
    client.post(f"{url}{made.pk}/change/", form | {"cap": "9"})
    made.refresh_from_db()
    assert (made.cap, made.ordered) == (9, 7)
