"""Downloads in the API."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from media_library import storage
from media_library.downloads import jobs, quota
from media_library.downloads.errors import Code, GivenUpError
from media_library.models import DownloadJob
from media_library.realtime import snapshots
from media_library.tests.rows import user
from streamsite.api import keys
from streamsite.api.models import ApiKey
from streamsite.api.permissions import KeyPermission

pytestmark = pytest.mark.django_db
Status = DownloadJob.Status
ORDER = {"url": "https://example.org/a"}


def program(
    level: KeyPermission = KeyPermission.DOWNLOAD, **quotas: Any
) -> tuple[Client, ApiKey]:
    row, key = keys.mint("Robot", level, by="ada", now=timezone.now(), **quotas)
    return Client(headers={"Authorization": f"Bearer {key.reveal()}"}), row


def post(client: Client, path: str, body: Any = None, **headers: str) -> Any:
    return client.post(
        f"/api/v1/{path}", body or {}, content_type="application/json", headers=headers
    )


def test_a_download_is_ordered_once() -> None:
    client, key = program()
    first = post(client, "download", ORDER | {"quality": 720}, **{"Idempotency-Key": "one"})
    again = post(client, "download", ORDER | {"quality": 720}, **{"Idempotency-Key": "one"})
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["id"] == again.json()["id"]
    other = post(client, "download", ORDER, **{"Idempotency-Key": "one"})
    assert (other.status_code, other.json()["type"]) == (422, "urn:streamsite:problem:refused")
    job = DownloadJob.objects.get()
    assert (job.owner, job.requested_by) == (f"key:{key.pk}", "API key Robot")
    assert job.options["quality"] == 720
    state = client.get(f"/api/v1/status/{job.pk}").json()
    assert (state["status"], state["percent"], state["url"]) == ("queued", 0, ORDER["url"])


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"url": "ftp://example.org/a.mp4"}, "refused"),
        ({"url": "https://a:b@example.org/"}, "refused"),
        (ORDER | {"quality": 721}, "invalid"),
        (ORDER | {"exec": "rm"}, "invalid"),
        (ORDER | {"languages": ["--all"]}, "refused"),
        ({}, "invalid"),
    ],
)
def test_invalid_orders_are_refused(body: dict[str, Any], kind: str) -> None:
    client, _ = program()
    answer = post(client, "download", body)
    assert answer.status_code == 422
    assert answer.json()["type"].endswith(kind)
    assert not DownloadJob.objects.exists()


def test_a_key_sees_its_own_downloads_and_an_admin_key_sees_all() -> None:
    mine, _ = program()
    other, _ = program()
    admin, _ = program(KeyPermission.ADMIN)
    job = post(mine, "download", ORDER).json()["id"]
    assert mine.get(f"/api/v1/status/{job}").status_code == 200
    assert other.get(f"/api/v1/status/{job}").status_code == 404
    assert post(other, f"cancel/{job}").status_code == 404
    assert other.get("/api/v1/jobs").json()["items"] == []
    assert [row["id"] for row in admin.get("/api/v1/jobs").json()["items"]] == [job]


def test_only_administrators_may_use_any_site() -> None:
    for level, allowed in ((KeyPermission.DOWNLOAD, False), (KeyPermission.ADMIN, True)):
        client, _ = program(level)
        made = post(client, "download", ORDER).json()["id"]
        assert DownloadJob.objects.get(pk=made).any_site is allowed
    clerk = Client()
    clerk.force_login(user("add_downloadjob", "view_downloadjob"))
    made = post(clerk, "download", ORDER).json()["id"]
    assert not DownloadJob.objects.get(pk=made).any_site


def test_cancel_and_try_again() -> None:
    client, _ = program()
    job = post(client, "download", ORDER).json()["id"]
    assert post(client, f"cancel/{job}").json()["status"] == "cancelled"
    assert post(client, f"cancel/{job}").status_code == 409
    assert post(client, f"retry/{job}").json()["status"] == "queued"
    DownloadJob.objects.update(status=Status.DONE, key="a.mp4")
    assert post(client, f"retry/{job}").status_code == 409


def test_many_are_ordered_and_cancelled_at_once() -> None:
    client, key = program()
    other, _ = program()
    urls = [f"https://example.org/{n}" for n in (2, 1, 2)]
    response = post(client, "download/batch", {"urls": urls, "name": "Parts", "quality": 480})
    assert response.status_code == 202
    batch = response.json()
    assert (batch["name"], len(batch["jobs"])) == ("Parts", 2)
    listed = client.get(f"/api/v1/jobs?batch={batch['id']}").json()["items"]
    assert [row["id"] for row in listed] == batch["jobs"][::-1]
    made = DownloadJob.objects.order_by("pk")
    assert [(row.url, row.owner) for row in made] == [
        (url, f"key:{key.pk}") for url in urls[:2]
    ]
    assert {row.options["quality"] for row in made} == {480}
    # If one can't be accepted, none is.
    wrong = post(client, "download/batch", {"urls": [*urls, "ftp://example.org/a"]})
    assert wrong.status_code == 422
    assert post(client, "download/batch", {"urls": []}).status_code == 422
    assert DownloadJob.objects.count() == 2
    jobs.cancel(made[0])
    assert post(other, f"cancel/batch/{batch['id']}").status_code == 404
    assert post(client, f"cancel/batch/{batch['id']}").json() == {"cancelled": 1}
    assert {row.status for row in made.all()} == {Status.CANCELLED}


def test_lists_are_paged_and_filtered() -> None:
    client, _ = program()
    made = [
        post(client, "download", {"url": f"https://example.org/{n}"}).json()["id"]
        for n in range(5)
    ]
    post(client, f"cancel/{made[0]}")
    page = client.get("/api/v1/jobs?limit=3").json()
    rest = client.get(f"/api/v1/jobs?limit=3&cursor={page['next_cursor']}").json()
    assert [row["id"] for row in page["items"] + rest["items"]] == made[::-1]
    assert rest["next_cursor"] is None
    queued = client.get("/api/v1/jobs?status=queued&site=example.org").json()["items"]
    assert len(queued) == 4
    assert client.get("/api/v1/jobs?site=elsewhere").json()["items"] == []


def test_the_file_is_returned_to_its_owner_only(either: str, tmp_path: Path) -> None:
    client, _ = program()
    other, _ = program()
    job = post(client, "download", ORDER).json()["id"]
    assert client.get(f"/api/v1/jobs/{job}/file").status_code == 404
    (tmp_path / "a.mp4").write_bytes(b"film")
    storage.upload(tmp_path / "a.mp4", "downloads/a.mp4")
    DownloadJob.objects.update(status=Status.DONE, key="downloads/a.mp4")
    answer = client.get(f"/api/v1/jobs/{job}/file")
    if either == "folder":
        assert b"".join(answer.streaming_content) == b"film"  # type: ignore[attr-defined]  # the type is narrower at run time
    else:
        assert answer.status_code == 302
        assert "X-Amz-Signature=" in answer["Location"]
    assert other.get(f"/api/v1/jobs/{job}/file").status_code == 404
    assert "X-Amz" not in client.get(f"/api/v1/status/{job}").content.decode()


def test_a_key_has_a_limit_of_concurrent_downloads() -> None:
    client, _ = program(concurrent_downloads=1)
    for n in range(2):
        post(client, "download", {"url": f"https://example.org/{n}"})
    now = timezone.now() + timedelta(seconds=1)
    first = jobs.take_next(now)
    assert first is not None
    assert jobs.take_next(now) is None
    other, _ = program()
    post(other, "download", ORDER)
    assert jobs.take_next(now + timedelta(seconds=1)) is not None


def test_a_key_has_a_limit_of_bytes_per_day() -> None:
    client, _ = program(bytes_per_day=1000)
    post(client, "download", ORDER)
    job = DownloadJob.objects.get()
    quota.demand(job)
    for hours, fits in ((25, True), (23, False)):
        ended = timezone.now() - timedelta(hours=hours)
        DownloadJob.objects.create(
            url="https://example.org/b",
            site="example.org",
            owner=job.owner,
            status=Status.DONE,
            key="b",
            size_bytes=1000,
            ended_at=ended,
        )
        if fits:
            quota.demand(job)
            continue
        with pytest.raises(GivenUpError) as refusal:
            quota.demand(job)
        assert refusal.value.why.code == Code.QUOTA


def test_statistics() -> None:
    client, _ = program()
    now = timezone.now()
    for n in range(4):
        post(client, "download", {"url": f"https://example.org/{n}"})
    done, failed, running, _ = DownloadJob.objects.order_by("pk")
    DownloadJob.objects.filter(pk=done.pk).update(
        status=Status.DONE, key="a", size_bytes=500, ended_at=now,
        started_at=now - timedelta(seconds=20),
    )  # fmt: skip
    DownloadJob.objects.filter(pk=failed.pk).update(
        status=Status.FAILED, code="http", fault="404"
    )
    DownloadJob.objects.filter(pk=running.pk).update(status=Status.STORING, claim="c")
    figures = client.get("/api/v1/statistics?days=7").json()
    assert figures == {
        "days": 7, "queued": 1, "running": 1, "done": 1, "failed": 1, "cancelled": 0,
        "bytes": 500, "mean_seconds": 20.0,
        "sites": [{"site": "example.org", "done": 1, "failed": 1, "success": 0.5}],
    }  # fmt: skip


def test_an_address_is_checked_before_its_inspection() -> None:
    client, _ = program()
    answer = client.get("/api/v1/info?url=file:///etc/passwd")
    assert answer.status_code == 422
    answer = client.get("/api/v1/info?url=http://10.0.0.1/film.mp4")
    assert answer.status_code == 422
    # Only administrators use unknown sites: no request was made.
    assert answer.json()["code"] == "unsupported"


def test_the_progress_topic_has_neither_title_nor_address() -> None:
    client, _ = program()
    job = post(client, "download", ORDER).json()["id"]
    DownloadJob.objects.update(title="Nosferatu")
    snapshot = snapshots([str(job), "none", "99999"], timezone.now())
    assert list(snapshot) == [str(job)]
    assert snapshot[str(job)]["status"] == "queued"
    assert "Nosferatu" not in str(snapshot)
    assert "example.org" not in str(snapshot)
