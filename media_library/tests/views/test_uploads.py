"""Uploads as the page's script makes them, and the pages about syncs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from media_library import storage
from media_library.models import MediaItem, SyncRun
from media_library.storage.list_objects import UPLOADS
from media_library.sync import runner
from media_library.tests.rows import item, user

pytestmark = pytest.mark.django_db

FILM = b"film" * 100


@pytest.fixture
def browser(client: Client) -> Client:
    client.force_login(user("add_mediaitem", "view_mediaitem"))
    return client


def ask(browser: Client, page: str, /, **body: object) -> Any:
    return browser.post(
        reverse(page),
        json.dumps(body),
        content_type="application/json",
        headers={"accept": "application/json"},
    )


def begin(browser: Client, name: str = "A film.mp4", folder: str = "") -> dict[str, Any]:
    answer = ask(browser, "media-begin", name=name, size=len(FILM), folder=folder)
    assert answer.status_code == 201, answer.json()
    told: dict[str, Any] = answer.json()
    return told


def put(browser: Client, ticket: str, content: bytes = FILM, number: int = 1) -> Any:
    return browser.put(
        reverse("media-part", args=[number]),
        content,
        content_type="application/octet-stream",
        headers={"x-upload": ticket, "accept": "application/json"},
    )


def test_a_file_for_the_folder(browser: Client, folder: Path) -> None:
    begun = begin(browser, "../x/A film.MP4", "shows / night")
    assert begun["key"] == "shows/night/A film.MP4"
    address = ask(browser, "media-address", ticket=begun["ticket"], number=1).json()
    assert (address["here"], address["url"]) == (True, reverse("media-part", args=[1]))
    assert ask(browser, "media-finish", ticket=begun["ticket"]).status_code == 422
    assert put(browser, begun["ticket"], FILM + b"x").status_code == 400
    assert put(browser, begun["ticket"], number=2).status_code == 400
    assert put(browser, begun["ticket"]).status_code == 200
    # The first answer may be lost: a second one says the same.
    for _ in range(2):
        assert ask(browser, "media-finish", ticket=begun["ticket"]).status_code == 201
    made = MediaItem.objects.get()
    assert (made.key, made.title, made.status) == (begun["key"], "A film", "new")
    assert (folder / begun["key"]).read_bytes() == FILM


def test_a_file_for_the_bucket(browser: Client, bucket: None, s3_server: str) -> None:
    page = browser.get(reverse("media-upload"))
    assert f"connect-src 'self' {s3_server}" in page["Content-Security-Policy"]
    begun = begin(browser)
    address = ask(browser, "media-address", ticket=begun["ticket"], number=1)
    assert address.json()["here"] is False
    assert "no-store" in address["Cache-Control"]
    assert requests.put(address.json()["url"], FILM, timeout=10).ok
    assert ask(browser, "media-finish", ticket=begun["ticket"]).status_code == 201
    assert storage.facts("A film.mp4").size_bytes == len(FILM)
    assert MediaItem.objects.get().etag == storage.facts("A film.mp4").etag


def test_a_name_that_is_taken_gets_a_number(browser: Client, folder: Path) -> None:
    item("A", key="A film.mp4")
    (folder / "A film (2).mp4").write_bytes(b"x")
    assert begin(browser)["key"] == "A film (3).mp4"


def test_of_two_with_one_name_the_second_is_told(browser: Client, folder: Path) -> None:
    begun = begin(browser)
    put(browser, begun["ticket"])
    (folder / "A film.mp4").write_bytes(b"another")
    answer = ask(browser, "media-finish", ticket=begun["ticket"])
    assert answer.status_code == 422
    assert "Upload yours again" in answer.json()["detail"]
    assert (folder / "A film.mp4").read_bytes() == b"another"


@pytest.mark.parametrize(
    ("name", "folder", "words"),
    [
        ("a.exe", "", "no kind of file"),
        ("mp4", "", "no kind of file"),
        (".mp4", "", "no kind of file"),
        ("a.mp4", "prepared/x", "can't be used"),
        ("a.mp4", "../x", "can't be used"),
        ("a.mp4", ".uploads", "x"),
    ],
)
def test_what_is_not_taken(
    browser: Client, tmp_path: Path, settings: Settings, name: str, folder: str, words: str
) -> None:
    settings.MEDIA_ROOT = tmp_path
    answer = ask(browser, "media-begin", name=name, size=4, folder=folder)
    if words == "x":
        # Its dot is taken off: then it is a folder like others.
        assert answer.json()["key"] == "uploads/a.mp4"
        return
    assert answer.status_code == 422
    assert words in answer.json()["detail"]
    assert answer.json()["hopeless"] is True


def test_only_what_can_change_is_to_be_tried_again(
    browser: Client, folder: Path, settings: Settings
) -> None:
    empty = ask(browser, "media-begin", name="a.mp4", size=0, folder="")
    assert empty.status_code == 422
    assert "is empty: there is nothing to upload" in empty.json()["detail"]
    assert empty.json()["hopeless"] is True
    # A disk that is not mounted may be mounted again.
    folder.rmdir()
    folder.touch()
    away = ask(browser, "media-begin", name="a.mp4", size=4, folder="")
    assert away.status_code == 422
    assert away.json()["hopeless"] is False


def test_an_upload_is_its_users_alone(browser: Client, client: Client, folder: Path) -> None:
    ticket = begin(browser)["ticket"]
    client.force_login(user("add_mediaitem", name="eve"))
    for answer in (
        put(client, ticket),
        put(client, ticket[:-2] + "xx"),
        ask(client, "media-finish", ticket=ticket),
        ask(client, "media-abort", ticket=ticket),
        ask(client, "media-address", ticket=ticket, number=1),
    ):
        assert answer.status_code == 422
    client.force_login(user("view_mediaitem", name="mallory"))
    assert put(client, ticket).status_code == 403
    assert ask(client, "media-begin", name="a.mp4", size=1, folder="").status_code == 403


def test_a_part_needs_the_token_against_forgery(folder: Path) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(user("add_mediaitem"))
    assert put(strict, "x").status_code == 403


def test_a_cancelled_upload_leaves_nothing(browser: Client, folder: Path) -> None:
    begun = begin(browser)
    put(browser, begun["ticket"])
    assert ask(browser, "media-abort", ticket=begun["ticket"]).status_code == 200
    assert not list((folder / UPLOADS).iterdir())
    assert ask(browser, "media-finish", ticket=begun["ticket"]).status_code == 422


# ---- syncs -----------------------------------------------------------------------------------


@pytest.fixture
def keeper(client: Client) -> Client:
    client.force_login(user("view_syncrun", "add_syncrun", "view_mediaitem"))
    return client


@pytest.mark.django_db(transaction=True)
def test_a_sync_is_started_watched_and_listed(keeper: Client, folder: Path) -> None:
    (folder / "a.mp4").write_bytes(FILM)
    (folder / "a.srt").write_text("Subtitles")
    status = reverse("media-sync-status")
    assert keeper.get(status).json() == {"sync": None}
    assert keeper.get(reverse("media-sync")).status_code == 405
    page = keeper.post(reverse("media-sync"), follow=True).content.decode()
    assert "The sync begins." in page
    run = SyncRun.objects.get()
    assert (run.started_by, run.dry) == ("ada", False)
    told = keeper.get(status)
    assert told.json()["sync"]["status"] == "running"
    assert keeper.get(status, headers={"if-none-match": told["ETag"]}).status_code == 304
    runner.run(run.pk)
    told = keeper.get(status).json()["sync"]
    assert (told["status"], told["seen"], told["added"]) == ("done", 2, 1)
    assert told["other_kinds"] == 1
    page = keeper.post(reverse("media-sync-dry"), follow=True).content.decode()
    assert "what would change" in page
    assert SyncRun.objects.first().dry  # type: ignore[union-attr]


def test_a_second_sync_is_refused_in_words(keeper: Client, folder: Path) -> None:
    SyncRun.objects.create(claim="")
    page = keeper.post(reverse("media-sync"), follow=True).content.decode()
    assert SyncRun.objects.count() == 1
    assert "sync" in page.lower()


def test_what_the_brake_stopped_goes_on_after_a_question(keeper: Client, folder: Path) -> None:
    SyncRun.objects.create(status="stopped", fault="All 900 items would go.", dry=False)
    page = keeper.get("/admin/media_library/syncrun/").content.decode()
    assert "Accept it: go on" in page
    asked = keeper.post(reverse("media-sync-accept")).content.decode()
    assert "All 900 items would go." in asked
    assert "<h2>Accept what" not in asked
    assert SyncRun.objects.count() == 1
    keeper.post(reverse("media-sync-accept"), {"confirmed": "1"})
    assert SyncRun.objects.filter(status="running", accept_gone=True).exists()


def test_the_connection_is_tested(keeper: Client, folder: Path) -> None:
    page = keeper.post(reverse("media-connection")).content.decode()
    for check in ("Folder", "List", "Write", "Read", "Delete"):
        assert check in page
    folder.rmdir()
    page = keeper.post(reverse("media-connection")).content.decode()
    assert "does not exist: make it" in page


def test_who_may_not_sync(client: Client) -> None:
    client.force_login(user("view_syncrun"))
    assert client.post(reverse("media-sync")).status_code == 403
    assert client.post(reverse("media-sync-accept"), {"confirmed": "1"}).status_code == 403
    assert "Sync now" not in client.get("/admin/media_library/syncrun/").content.decode()
    assert not SyncRun.objects.exists()
    client.force_login(user("view_tag", name="bob"))
    assert client.get(reverse("media-sync-status")).status_code == 403
    assert client.post(reverse("media-connection")).status_code == 403


def test_a_sync_shows_what_it_found_different(keeper: Client) -> None:
    run = SyncRun.objects.create(status="done", dry=True, differences=[["added", "<a>.mp4"]])
    page = keeper.get(f"/admin/media_library/syncrun/{run.pk}/change/").content.decode()
    assert "&lt;a&gt;.mp4" in page
    assert "Done (only shown)" in page
