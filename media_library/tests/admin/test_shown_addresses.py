"""Addresses of downloads may hold tokens: users who may not order see none."""

from __future__ import annotations

import pytest
from django.test import Client

from media_library.downloads import importer, jobs
from media_library.downloads.jobs import Order
from media_library.downloads.options import Options
from media_library.models import DownloadBatch, DownloadJob, DownloadSchedule, MediaItem
from media_library.storage import Facts
from media_library.tests import rows
from streamsite.api.models import KeyChange
from streamsite.api.permissions import KeyPermission
from streamsite.security.urls import host_only, without_secrets
from streamsite.tests.api_calls import api_caller

LIST = "/admin/media_library/downloadjob/"
URL = "https://cdn.example.org/films/a.mp4?Signature=s3cr3t&id=7"
SHOWN = "https://cdn.example.org/films/a.mp4?id=7&…"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://www.youtube.com/watch?v=abc&list=PL1", None),
        ("https://e.org/a", None),
        (URL, SHOWN),
        ("https://u:p@e.org/a#t=5", "https://e.org/a"),
        ("https://e.org/a?TOKEN", "https://e.org/a?…"),
        ("https://[broken", "…"),
        ("", ""),
    ],
)
def test_an_address_without_its_secrets(url: str, shown: str | None) -> None:
    assert without_secrets(url) == (url if shown is None else shown)


def test_the_host_of_an_address() -> None:
    assert host_only("https://u:p@[::1]:8443/a/b?c") == "https://[::1]:8443/…"
    assert host_only("https://[broken") == "…"


def _job() -> DownloadJob:
    return jobs.add(URL, Options(), Order(by="ada", owner="user:1"))


@pytest.mark.django_db
def test_staff_with_view_permission_neither_sees_nor_finds_a_token(client: Client) -> None:
    job = _job()
    schedule = DownloadSchedule.objects.create(name="Daily", url=URL)
    client.force_login(rows.user("view_downloadjob", "view_downloadschedule"))
    schedules = "/admin/media_library/downloadschedule/"
    change = f"{schedules}{schedule.pk}/change/"
    for path in (LIST, f"{LIST}{job.pk}/change/", schedules, change):
        page = client.get(path).content.decode()
        assert "films/a.mp4?id=7&amp;…" in page, path
        assert "s3cr3t" not in page, path
    assert client.get(f"/api/v1/status/{job.pk}").json()["url"] == SHOWN
    assert client.get("/api/v1/jobs").json()["items"][0]["url"] == SHOWN
    assert client.get(f"{LIST}?url__contains=s3").status_code == 400
    assert client.get(f"{schedules}?url__contains=s3").status_code == 400
    # A finished job is shown only in the list.
    DownloadJob.objects.update(status=DownloadJob.Status.CANCELLED)
    assert "a.mp4" in client.get(LIST).content.decode()
    assert "a.mp4" not in client.get(f"{LIST}?q=Signature").content.decode()


@pytest.mark.django_db
def test_staff_who_may_retry_see_the_whole_address(client: Client) -> None:
    job = _job()
    client.force_login(rows.user("view_downloadjob", "change_downloadjob"))
    assert "s3cr3t" in client.get(f"{LIST}{job.pk}/change/").content.decode()
    assert client.get(f"/api/v1/status/{job.pk}").json()["url"] == URL


@pytest.mark.django_db
def test_neither_history_nor_library_keeps_the_token(client: Client) -> None:
    """Everybody with view permission can read both."""
    call = api_caller(client, KeyPermission.ADMIN)
    status, body = call("POST", "download", {"url": URL})
    assert status == 202
    assert call("POST", "download/batch", {"urls": [URL]})[0] == 202
    assert DownloadBatch.objects.get().name == SHOWN
    assert list(KeyChange.objects.values_list("object_name", flat=True)) == [SHOWN, SHOWN]
    job = DownloadJob.objects.get(pk=body["id"])
    importer.item_of(job, "films/a.mp4", Facts(1, "etag"))
    assert MediaItem.objects.get().source == SHOWN
