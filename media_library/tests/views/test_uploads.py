"""Uploads and syncs, as the pages' scripts order them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from media_library import storage
from media_library.models import MediaItem, SyncRun
from media_library.storage import list_objects
from media_library.sync import runner
from media_library.tests.rows import item, user

pytestmark = pytest.mark.django_db

CONTENT = b"film" * 100
UPLOADS = "media/uploads"


@pytest.fixture
def browser(client: Client) -> Client:
    client.force_login(user("add_mediaitem", "view_mediaitem"))
    return client


def post(browser: Client, path: str, /, **body: object) -> Any:
    return browser.post(f"/api/v1/{path}", body, content_type="application/json")


def begin(browser: Client, name: str = "A film.mp4", folder: str = "") -> dict[str, Any]:
    answer = post(browser, UPLOADS, name=name, size_bytes=len(CONTENT), folder=folder)
    assert answer.status_code == 201, answer.json()
    body: dict[str, Any] = answer.json()
    return body


def put(browser: Client, ticket: str, content: bytes = CONTENT, number: int = 1) -> Any:
    return browser.put(
        f"/api/v1/{UPLOADS}/parts/{number}",
        content,
        content_type="application/octet-stream",
        headers={"x-upload-ticket": ticket},
    )


def test_a_file_for_the_folder(browser: Client, folder: Path) -> None:
    begun = begin(browser, "../x/A film.MP4", "shows / night")
    assert begun["key"] == "shows/night/A film.MP4"
    address = post(browser, f"{UPLOADS}/part-url", ticket=begun["ticket"], number=1).json()
    assert (address["here"], address["url"]) == (True, f"/api/v1/{UPLOADS}/parts/1")
    assert post(browser, f"{UPLOADS}/finish", ticket=begun["ticket"]).status_code == 503
    assert put(browser, begun["ticket"], CONTENT + b"x").status_code == 422
    assert put(browser, begun["ticket"], number=2).status_code == 422
    assert put(browser, begun["ticket"]).status_code == 200
    # The first answer may be lost: a second call returns the same.
    for _ in range(2):
        assert post(browser, f"{UPLOADS}/finish", ticket=begun["ticket"]).status_code == 201
    made = MediaItem.objects.get()
    assert (made.key, made.title, made.status) == (begun["key"], "A film", "new")
    assert (folder / begun["key"]).read_bytes() == CONTENT


def test_a_file_for_the_bucket(browser: Client, bucket: None, s3_server: str) -> None:
    page = browser.get(reverse("media-upload"))
    assert f"connect-src 'self' {s3_server}" in page["Content-Security-Policy"]
    begun = begin(browser)
    address = post(browser, f"{UPLOADS}/part-url", ticket=begun["ticket"], number=1)
    assert address.json()["here"] is False
    assert requests.put(address.json()["url"], CONTENT, timeout=10).ok
    assert post(browser, f"{UPLOADS}/finish", ticket=begun["ticket"]).status_code == 201
    assert storage.facts("A film.mp4").size_bytes == len(CONTENT)
    assert MediaItem.objects.get().etag == storage.facts("A film.mp4").etag


def test_a_name_that_is_taken_gets_a_number(browser: Client, folder: Path) -> None:
    item("A", key="A film.mp4")
    (folder / "A film (2).mp4").write_bytes(b"x")
    assert begin(browser)["key"] == "A film (3).mp4"


def test_the_second_of_two_uploads_with_one_name_is_refused(
    browser: Client, folder: Path
) -> None:
    begun = begin(browser)
    put(browser, begun["ticket"])
    (folder / "A film.mp4").write_bytes(b"another")
    answer = post(browser, f"{UPLOADS}/finish", ticket=begun["ticket"])
    assert answer.status_code == 422
    assert "Upload yours again" in answer.json()["detail"]
    assert (folder / "A film.mp4").read_bytes() == b"another"


@pytest.mark.parametrize(
    ("name", "folder", "words"),
    [
        ("a.exe", "", "is not supported"),
        ("mp4", "", "is not supported"),
        (".mp4", "", "is not supported"),
        ("a.mp4", "prepared/x", "can't be used"),
        ("a.mp4", "../x", "can't be used"),
        ("a.mp4", ".uploads", "x"),
    ],
)
def test_invalid_uploads_are_refused(
    browser: Client, tmp_path: Path, settings: Settings, name: str, folder: str, words: str
) -> None:
    settings.MEDIA_ROOT = tmp_path
    answer = post(browser, UPLOADS, name=name, size_bytes=4, folder=folder)
    if words == "x":
        # The leading dot is removed: then it is an ordinary folder.
        assert answer.json()["key"] == "uploads/a.mp4"
        return
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


def test_a_disk_that_is_away_may_come_back(browser: Client, folder: Path) -> None:
    """The page offers another try then; after a refusal (422) it does not."""
    folder.rmdir()
    folder.touch()
    away = post(browser, UPLOADS, name="a.mp4", size_bytes=4, folder="")
    assert away.status_code == 503
    assert "permanent" not in away.json()


def test_an_upload_belongs_to_its_user(browser: Client, client: Client, folder: Path) -> None:
    ticket = begin(browser)["ticket"]
    client.force_login(user("add_mediaitem", name="eve"))
    for answer in (
        put(client, ticket),
        put(client, ticket[:-2] + "xx"),
        post(client, f"{UPLOADS}/finish", ticket=ticket),
        post(client, f"{UPLOADS}/abort", ticket=ticket),
        post(client, f"{UPLOADS}/part-url", ticket=ticket, number=1),
    ):
        assert answer.status_code == 422
    client.force_login(user("view_mediaitem", name="mallory"))
    assert put(client, ticket).status_code == 403
    assert post(client, UPLOADS, name="a.mp4", size_bytes=1, folder="").status_code == 403


def test_a_part_needs_the_token_against_forgery(folder: Path) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(user("add_mediaitem"))
    assert put(strict, "x").status_code == 403


def test_a_cancelled_upload_leaves_nothing(browser: Client, folder: Path) -> None:
    begun = begin(browser)
    put(browser, begun["ticket"])
    assert post(browser, f"{UPLOADS}/abort", ticket=begun["ticket"]).status_code == 200
    assert not list((folder / list_objects.UPLOADS).iterdir())
    assert post(browser, f"{UPLOADS}/finish", ticket=begun["ticket"]).status_code == 503


# ---- syncs -----------------------------------------------------------------------------------


@pytest.fixture
def keeper(client: Client) -> Client:
    client.force_login(user("view_syncrun", "add_syncrun", "view_mediaitem"))
    return client


@pytest.mark.django_db(transaction=True)
def test_a_sync_is_started_watched_and_listed(keeper: Client, folder: Path) -> None:
    (folder / "a.mp4").write_bytes(CONTENT)
    (folder / "a.srt").write_text("Subtitles")
    status = "/api/v1/syncs?limit=1"
    assert keeper.get(status).json()["items"] == []
    assert post(keeper, "syncs").status_code == 202
    run = SyncRun.objects.get()
    assert (run.started_by, run.dry) == ("ada", False)
    response = keeper.get(status)
    assert response.json()["items"][0]["status"] == "running"
    assert keeper.get(status, headers={"if-none-match": response["ETag"]}).status_code == 304
    second = post(keeper, "syncs")
    assert second.status_code == 409
    assert "sync" in second.json()["detail"].lower()
    runner.run(run.pk)
    (sync,) = keeper.get(status).json()["items"]
    assert (sync["status"], sync["seen"], sync["added"]) == ("done", 2, 1)
    assert sync["other_kinds"] == 1
    assert post(keeper, "syncs", dry=True).status_code == 202
    assert SyncRun.objects.first().dry  # type: ignore[union-attr]  # there is one


def test_a_sync_stopped_by_the_deletion_guard_continues_after_confirmation(
    keeper: Client, folder: Path
) -> None:
    SyncRun.objects.create(status="stopped", fault="All 900 items would go.", dry=False)
    page = keeper.get("/admin/media_library/syncrun/").content.decode()
    assert "Accept and continue" in page
    assert "All 900 items would go." in page
    assert "data-confirm=" in page
    post(keeper, "syncs", accept_gone=True)
    assert SyncRun.objects.filter(status="running", accept_gone=True).exists()


def test_the_connection_is_tested(keeper: Client, folder: Path) -> None:
    tested = post(keeper, "storage/test").json()
    assert tested["ok"]
    checks = " ".join(one["check"] for one in tested["checks"])
    assert all(name in checks for name in ("Folder", "List", "Write", "Read", "Delete"))
    folder.rmdir()
    tested = post(keeper, "storage/test").json()
    assert not tested["ok"]
    assert "does not exist: create it" in " ".join(one["sentence"] for one in tested["checks"])


def test_buttons_of_syncs_need_the_permission(client: Client) -> None:
    client.force_login(user("view_syncrun"))
    page = client.get("/admin/media_library/syncrun/").content.decode()
    assert "Sync now" not in page
    # It writes an object, and deletes it.
    assert "Test connection" not in page
    assert client.post("/api/v1/storage/test").status_code == 403
    client.force_login(user("view_syncrun", "add_syncrun", name="ben"))
    assert "Test connection" in client.get("/admin/media_library/syncrun/").content.decode()


def test_a_sync_shows_its_differences(keeper: Client) -> None:
    run = SyncRun.objects.create(status="done", dry=True, differences=[["added", "<a>.mp4"]])
    page = keeper.get(f"/admin/media_library/syncrun/{run.pk}/change/").content.decode()
    assert "&lt;a&gt;.mp4" in page
    assert "Done (only shown)" in page
