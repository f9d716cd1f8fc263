"""The pages of downloads: order, inspect, progress, cancel, retry, cookies."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from media_library.downloads import jobs
from media_library.downloads.errors import Code, verdict
from media_library.downloads.jobs import Order
from media_library.downloads.options import Options
from media_library.models import DownloadJob, SiteCookies, SitePause
from media_library.tests import rows
from media_library.tests import web as sites
from media_library.tests.web import Web, web_site
from streamsite.security.ssrf import networks

pytestmark = pytest.mark.django_db
Status = DownloadJob.Status
COOKIE = ".example.org\tTRUE\t/\tTRUE\t0\tsession\ts3cr3t"
GOING = "/api/v1/jobs?over=false&order=due"
LIST = "/admin/media_library/downloadjob/"


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(rows.user("add_downloadjob", "view_downloadjob", "change_downloadjob"))
    return client


def job(**fields: Any) -> DownloadJob:
    made = jobs.add("https://example.org/a", Options(), Order(by="ada", owner="user:1"))
    DownloadJob.objects.filter(pk=made.pk).update(**fields)
    made.refresh_from_db()
    return made


def test_the_form_needs_the_permission(client: Client) -> None:
    page = client.get(reverse("media-download")).content.decode()
    assert 'name="urls"' in page
    assert "Other sites are reserved" in page
    client.force_login(rows.user("view_downloadjob", name="eve"))
    assert client.get(reverse("media-download")).status_code == 403
    assert Client().get(reverse("media-download")).status_code == 302


def test_only_the_permission_allows_any_site() -> None:
    client = Client()
    client.force_login(rows.user("add_downloadjob", "download_from_any_site"))
    client.post("/api/v1/download", {"url": "https://example.org/a"}, "application/json")
    assert DownloadJob.objects.get().any_site


def test_running_downloads_are_polled(client: Client) -> None:
    running = job(status=Status.DOWNLOADING, claim="c", due_at=timezone.now() - timedelta(1))
    waiting = job(code="rate", fault="The site refuses because of too many requests.")
    job(status=Status.CANCELLED)
    response = client.get(GOING)
    assert [job_["id"] for job_ in response.json()["items"]] == [running.pk, waiting.pk]
    again = client.get(GOING, headers={"If-None-Match": response["ETag"]})
    assert again.status_code == 304
    over = client.get("/api/v1/jobs?over=true").json()["items"]
    assert [job_["status"] for job_ in over] == ["cancelled"]


def test_a_waiting_job_has_the_end_of_its_wait(client: Client) -> None:
    paused, later, soon = (job() for _ in range(3))
    DownloadJob.objects.filter(pk=paused.pk).update(site="busy.example")
    until = timezone.now().replace(microsecond=0) + timedelta(hours=2)
    SitePause.objects.create(site="busy.example", until=until, why="429")
    DownloadJob.objects.filter(pk=later.pk).update(due_at=until, fault="It broke.")
    states = {state["id"]: state for state in client.get(GOING).json()["items"]}
    at = f"{until:%Y-%m-%dT%H:%M:%SZ}"
    waits = {pk: state["waits_until"] for pk, state in states.items()}
    assert waits == {paused.pk: at, later.pk: at, soon.pk: None}
    assert client.get(f"/api/v1/status/{later.pk}").json()["waits_until"] == at


def test_a_batch_shows_its_results(client: Client) -> None:
    reader = Client()
    reader.force_login(rows.user("view_downloadbatch", "change_downloadjob", name="reader"))
    batch = jobs.add_many(
        ["https://example.org/a", "https://example.org/b"],
        Options(),
        Order(by="ada", owner="user:1"),
    )
    made = batch.jobs.order_by("pk")
    DownloadJob.objects.filter(pk=made[0].pk).update(
        status=Status.FAILED, code="http", fault="It broke.", ended_at=timezone.now()
    )
    url = f"/admin/media_library/downloadbatch/{batch.pk}/change/"
    page = reader.get(url).content.decode()
    assert "1 of 2" in page
    assert "failed. It broke." in page
    assert "Cancel the unfinished downloads" in page
    jobs.cancel_batch(batch)
    assert "Cancel the unfinished downloads" not in reader.get(url).content.decode()


def test_the_list_shows_the_fault(client: Client) -> None:
    job(status=Status.FAILED, code="http", fault="It broke.", ended_at=timezone.now())
    assert "It broke." in client.get(LIST).content.decode()


@pytest.mark.parametrize("status", Status.values)
def test_the_page_of_every_status(client: Client, status: str) -> None:
    more = {"claim": "c"} if status in DownloadJob.RUNNING else {}
    one = job(
        status=status, key="downloads/a.mp4", fault="It broke.", code="http",
        warnings=["<b>careful</b>"], **more,
    )  # fmt: skip
    page = client.get(f"{LIST}{one.pk}/change/").content.decode()
    assert "It broke." in page
    assert f"(&#x27;{status}" not in page
    assert "<b>careful</b>" not in page
    assert ("Try again" in page) == (status in {"failed", "cancelled"})
    # The script draws the progress of a job that is not over.
    assert ("data-downloads" in page) == (status not in DownloadJob.OVER)


# ---- cookies ---------------------------------------------------------------------------------


@pytest.fixture
def keeper() -> Client:
    client = Client()
    names = ("add_sitecookies", "view_sitecookies", "change_sitecookies")
    client.force_login(rows.user(*names, name="keeper"))
    return client


def test_cookies_are_stored_and_never_shown(keeper: Client) -> None:
    url = "/admin/media_library/sitecookies/add/"
    other = COOKIE.replace("example.org", "other.example")
    answer = keeper.post(url, {"domain": "Example.org", "new": f"{COOKIE}\n{other}\n"})
    assert answer.status_code == 302
    kept = SiteCookies.objects.get()
    assert kept.domain == "example.org"
    # Only cookies of that site.
    assert kept.text.reveal() == f"# Netscape HTTP Cookie File\n{COOKIE}\n"
    page = keeper.get(f"/admin/media_library/sitecookies/{kept.pk}/change/").content.decode()
    assert "s3cr3t" not in page
    keeper.post(
        f"/admin/media_library/sitecookies/{kept.pk}/change/",
        {"domain": "example.org", "new": ""},
    )
    kept.refresh_from_db()
    assert "s3cr3t" in kept.text.reveal()
    assert "s3cr3t" not in keeper.get("/admin/media_library/sitecookies/").content.decode()


def test_an_invalid_cookies_file_is_reported(keeper: Client) -> None:
    url = "/admin/media_library/sitecookies/add/"
    answer = keeper.post(url, {"domain": "example.org", "new": "session=s3cr3t"})
    page = answer.content.decode()
    assert "It contains no cookie of example.org" in page
    assert not SiteCookies.objects.exists()


# ---- inspection ------------------------------------------------------------------------------


@pytest.fixture
def site(settings: Settings, tmp_path: Path) -> Iterator[Web]:
    settings.RUN_DIR = tmp_path / "run"
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache",
                                   "LOCATION": str(tmp_path)}}  # fmt: skip
    settings.DOWNLOAD_NETWORKS = networks(["127.0.0.1/32"])
    (tmp_path / "site").mkdir()
    with web_site(tmp_path / "site") as served:
        settings.DOWNLOAD_PORTS = (served.port,)
        yield served


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(
        rows.user(
            *("add_downloadjob", "view_downloadjob", "download_from_any_site"), name="root"
        )
    )
    return client


@pytest.mark.slow
def test_a_list_is_inspected(admin: Client, site: Web) -> None:
    sites.feed(site.folder, site, 30)
    address = {"url": site.url("feed.xml"), "cap": "7"}
    info = admin.get("/api/v1/info", address).json()
    assert (info["title"], len(info["entries"])) == ("All parts", 7)
    assert info["entries"][6]["title"] == "Part 7"
    # A second request within five minutes causes no request to the site.
    admin.get("/api/v1/info", address)
    assert site.count("feed.xml") <= 2


def test_pasted_cookies_survive_an_error(client: Client) -> None:
    client.force_login(rows.user("add_sitecookies", name="eve"))
    url = reverse("admin:media_library_sitecookies_add")
    page = client.post(url, {"domain": "other.example", "new": COOKIE}).content.decode()
    assert "no cookie of other.example" in page
    assert COOKIE in page


@pytest.mark.slow
def test_a_failed_inspection_has_the_reason(admin: Client, client: Client, site: Web) -> None:
    def fault(of: Client, url: str) -> str:
        answer = of.get("/api/v1/info", {"url": url})
        assert answer.status_code == 422
        return str(answer.json()["detail"])

    assert "removed, is private" in fault(admin, site.url("nothing.html"))
    assert "may not reach" in fault(admin, f"http://10.0.0.1:{site.port}/")
    # Other users may not inspect sites that they may not download from.
    assert "site is not supported" in fault(client, site.url("nothing.html"))


def test_delays_of_retries(client: Client) -> None:
    """Each delay is twice the previous one."""
    one, now = job(), timezone.now()
    waits = []
    for attempt in range(1, jobs.MAX_TRIES + 1):
        DownloadJob.objects.filter(pk=one.pk).update(
            status=Status.EXTRACTING, claim="c", attempts=attempt
        )
        one.refresh_from_db()
        jobs.failed(one, verdict(Code.NETWORK), now, warnings=())
        one.refresh_from_db()
        waits.append(one.due_at - now)
    assert waits[:3] == [timedelta(minutes=minutes) for minutes in (5, 10, 20)]
    assert (one.status, one.code) == (Status.FAILED, "network")
