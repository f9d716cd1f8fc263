"""The pages of downloads: order, inspect, progress, cancel, retry, cookies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape
from pytest_django import Settings

from media_library.downloads import jobs
from media_library.downloads.errors import Code, verdict
from media_library.downloads.jobs import Order
from media_library.downloads.options import Options
from media_library.models import DownloadBatch, DownloadJob, SiteCookies, SitePause
from media_library.tests import rows
from media_library.tests import web as sites
from media_library.tests.web import Web, web_site
from streamsite.security.ssrf import networks

pytestmark = pytest.mark.django_db
Status = DownloadJob.Status
COOKIE = ".example.org\tTRUE\t/\tTRUE\t0\tsession\ts3cr3t"
LIST = "/admin/media_library/downloadjob/"


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(rows.user("add_downloadjob", "view_downloadjob", "change_downloadjob"))
    return client


def form(**more: Any) -> dict[str, Any]:
    usual = {"quality": "0", "container": "mp4", "sound": "", "subtitles": "none"}
    return usual | {"languages": "en", "cap": "5"} | more


def job(**fields: Any) -> DownloadJob:
    made = jobs.add("https://example.org/a", Options(), Order(by="ada", owner="user:1"))
    DownloadJob.objects.filter(pk=made.pk).update(**fields)
    made.refresh_from_db()
    return made


def test_addresses_become_one_batch(client: Client) -> None:
    urls = "https://example.org/a\n\nhttps://example.org/b\nhttps://example.org/a\n"
    answer = client.post(
        reverse("media-download"),
        form(urls=urls, quality="720", rights="By contract.", thumbnail="on"),
        follow=True,
    )
    assert "2 downloads ordered." in answer.content.decode()
    batch = DownloadBatch.objects.get()
    made = list(batch.jobs.order_by("pk"))
    assert [job_.url for job_ in made] == ["https://example.org/a", "https://example.org/b"]
    assert {job_.rights for job_ in made} == {"By contract."}
    assert {job_.requested_by for job_ in made} == {"ada"}
    assert not any(job_.any_site for job_ in made)
    options = Options.of(made[0].options)
    assert (options.quality, options.thumbnail, options.chapters) == (720, True, False)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"urls": "ftp://example.org/a"}, "must begin with https:// or http://"),
        ({"urls": "https://u:p@example.org/"}, "Remove the name and password"),
        ({"urls": "https://example.org/", "languages": "en; rm"}, "A language is written as"),
        ({"urls": "https://example.org/", "quality": "721"}, "721"),
    ],
)
def test_errors_are_shown_in_the_form(
    client: Client, wrong: dict[str, Any], sentence: str
) -> None:
    answer = client.post(reverse("media-download"), form(**wrong))
    assert answer.status_code == 200
    assert sentence in answer.content.decode()
    assert not DownloadJob.objects.exists()


def test_permissions_of_the_pages(client: Client) -> None:
    others = Client()
    others.force_login(rows.user("view_downloadjob", name="eve"))
    one = job()
    assert others.get(reverse("media-download")).status_code == 403
    assert others.post(reverse("media-download-cancel", args=[one.pk])).status_code == 403
    assert others.get(reverse("media-downloads-status")).status_code == 200
    assert client.get(reverse("media-download-cancel", args=[one.pk])).status_code == 405
    assert Client().get(reverse("media-downloads-status")).status_code == 302


def test_only_the_permission_allows_any_site() -> None:
    client = Client()
    client.force_login(
        rows.user("add_downloadjob", "view_downloadjob", "download_from_any_site")
    )
    client.post(reverse("media-download"), form(urls="https://example.org/a"))
    assert DownloadJob.objects.get().any_site


def test_running_downloads_are_shown_and_polled(client: Client) -> None:
    running = job(
        status=Status.DOWNLOADING, claim="c", title="Nosferatu", percent=42, speed=2_000_000,
        seconds_left=75, note="No data for 40 s, try 2 of 5.", session=1,
    )  # fmt: skip
    waiting = job(code="rate", fault="The site refuses because of too many requests.")
    job(status=Status.CANCELLED)
    response = client.get(reverse("media-downloads-status"))
    assert [job_["id"] for job_ in response.json()["jobs"]] == [running.pk, waiting.pk]
    first, second = response.json()["jobs"]
    assert (first["percent"], first["speed"], first["left"]) == (42, "2 MB/s", "1:15")
    assert first["note"] == "No data for 40 s, try 2 of 5."
    assert second["can_retry"]
    assert not first["can_retry"]
    again = client.get(
        reverse("media-downloads-status"), headers={"If-None-Match": response["ETag"]}
    )
    assert again.status_code == 304
    page = client.get(LIST).content.decode()
    assert '<progress max="100" value="42">' in page
    assert "Nosferatu" in page


def test_the_reason_of_a_wait_is_shown(client: Client) -> None:
    paused, later, soon = (job() for _ in range(3))
    DownloadJob.objects.filter(pk=paused.pk).update(site="busy.example")
    until = timezone.now() + timedelta(hours=2)
    SitePause.objects.create(site="busy.example", until=until, why="429")
    DownloadJob.objects.filter(pk=later.pk).update(due_at=until, fault="It broke.")
    states = client.get(reverse("media-downloads-status")).json()["jobs"]
    notes = {state["id"]: state["note"] for state in states}
    at = f"{timezone.localtime(until):%-d %B, %H:%M}."
    assert notes == {
        paused.pk: f"busy.example gets no requests until {at}",
        later.pk: f"It broke. Next try: {at}",
        soon.pk: "",
    }
    assert {state["id"] for state in states if state["can_retry"]} == {paused.pk, later.pk}
    one = client.get(reverse("media-downloads-status"), {"job": str(later.pk)}).json()
    assert [state["id"] for state in one["jobs"]] == [later.pk]
    for none in ("x", "9" * 30):
        assert client.get(reverse("media-downloads-status"), {"job": none}).json() == {
            "jobs": []
        }


def test_cancel_and_try_again(client: Client) -> None:
    one = job()
    client.post(reverse("media-download-cancel", args=[one.pk]))
    one.refresh_from_db()
    assert one.status == Status.CANCELLED
    client.post(reverse("media-download-retry", args=[one.pk]))
    one.refresh_from_db()
    assert one.status == Status.QUEUED
    DownloadJob.objects.filter(pk=one.pk).update(status=Status.DONE, key="a.mp4")
    answer = client.post(reverse("media-download-retry", args=[one.pk]), follow=True)
    assert "there is nothing to try again" in answer.content.decode()


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


def test_a_batch_is_cancelled_as_one(client: Client) -> None:
    order = Order(by="ada", owner="user:1")
    batch = jobs.add_many(["https://example.org/a", "https://example.org/b"], Options(), order)
    page = client.get(f"/admin/media_library/downloadbatch/{batch.pk}/change/")
    assert page.status_code == 403
    client.post(reverse("media-download-batch-cancel", args=[batch.pk]))
    assert {job_.status for job_ in batch.jobs.all()} == {Status.CANCELLED}


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
    assert ("Try now" in page) == (status == "queued")
    # Running jobs have a progress bar.
    assert ("<progress" in page) == (status not in DownloadJob.OVER)
    assert ("sx-stop" in page) == (status not in DownloadJob.OVER)


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
def test_a_list_is_inspected_and_videos_are_chosen(admin: Client, site: Web) -> None:
    sites.feed(site.folder, site, 30)
    fields = form(urls=site.url("feed.xml"), cap="7")
    page = admin.post(reverse("media-download"), fields | {"look": "1"}).content.decode()
    assert page.count('name="entry"') == 7
    assert "All parts" in page
    assert "Part 7" in page
    assert "Part 8" not in page
    assert not DownloadJob.objects.exists()
    # A second request within five minutes causes no request to the site.
    admin.post(reverse("media-download"), fields | {"look": "1"})
    assert site.count("feed.xml") <= 2
    chosen = [site.url("film.mp4?part=2"), site.url("film.mp4?part=5")]
    more = {"entry": chosen, "list_title": "All parts"}
    admin.post(reverse("media-download"), fields | more)
    batch = DownloadBatch.objects.get()
    assert batch.name == "All parts"
    assert [job_.url for job_ in batch.jobs.order_by("pk")] == chosen
    none = admin.post(reverse("media-download"), fields | {"list_title": "All parts"})
    assert "No video of the list is ticked" in none.content.decode()
    assert DownloadBatch.objects.count() == 1


def test_ticks_in_a_list_survive_an_error(client: Client) -> None:
    urls = [f"https://example.org/{part}" for part in range(3)]
    listed = json.dumps([[url, f"Part <{at}>", "1:00"] for at, url in enumerate(urls)])
    fields = form(urls="https://example.org/list", cap="0", list_title="All parts")
    answer = client.post(
        reverse("media-download"), fields | {"listed": listed, "entry": [urls[0], urls[2]]}
    )
    page = answer.content.decode()
    assert not DownloadBatch.objects.exists()
    assert "Part &lt;1&gt;" in page
    ticks = [f'value="{url}" checked' in page for url in urls]
    assert ticks == [True, False, True]
    # The next form can show the list again.
    assert f'name="listed" value="{escape(listed)}"' in page


@pytest.mark.parametrize("listed", ["", "{", "7", "[[1]]", '{"a": 1}', "[" * 5000])
def test_an_invalid_list_is_ignored(client: Client, listed: str) -> None:
    answer = client.post(reverse("media-download"), form(urls="", listed=listed))
    assert answer.status_code == 200
    assert 'name="entry"' not in answer.content.decode()


def test_pasted_cookies_survive_an_error(client: Client) -> None:
    client.force_login(rows.user("add_sitecookies", name="eve"))
    url = reverse("admin:media_library_sitecookies_add")
    page = client.post(url, {"domain": "other.example", "new": COOKIE}).content.decode()
    assert "no cookie of other.example" in page
    assert COOKIE in page


@pytest.mark.slow
def test_a_failed_inspection_shows_the_reason(admin: Client, client: Client, site: Web) -> None:
    fields = form(urls=site.url("nothing.html")) | {"look": "1"}
    assert (
        "removed, is private" in admin.post(reverse("media-download"), fields).content.decode()
    )
    inner = form(urls=f"http://10.0.0.1:{site.port}/") | {"look": "1"}
    assert "may not reach" in admin.post(reverse("media-download"), inner).content.decode()
    # Other users may not inspect sites that they may not download from.
    page = client.post(reverse("media-download"), fields).content.decode()
    assert "site is not supported" in page


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
