"""The library in the API: items, uploads, playlists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from media_library.models import MediaItem, Playlist, PreparedCopy, SyncRun, Tag
from streams.tests import rows
from streamsite.api.permissions import KeyPermission
from streamsite.tests.api_calls import ApiCall, api_caller

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture(autouse=True)
def folders(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = settings.RUN_DIR = settings.DATA_DIR = tmp_path
    # Set anew, so that Django forgets the storage it opened.
    settings.STORAGES = dict(settings.STORAGES)


@pytest.fixture
def ask(client: Client) -> ApiCall:
    return api_caller(client, KeyPermission.ADMIN)


def item(key: str, **fields: Any) -> MediaItem:
    fields = {"title": Path(key).stem, "status": "ready", "duration_seconds": 60} | fields
    return MediaItem.objects.create(key=key, **fields)


def titles(answer: tuple[int, Any]) -> list[str]:
    assert answer[0] == 200, answer
    return [row["title"] for row in answer[1]["items"]]


# ---- items -----------------------------------------------------------------------------------
def test_items_are_found(ask: ApiCall) -> None:
    item("films/alien.mp4", duration_seconds=7000, title="Alien")
    item("films/old/metropolis.mp4", duration_seconds=9000, title="Metropolis")
    clip = item("clips/trailer.mp4", title="Alien trailer", status="new")
    clip.tags.add(Tag.objects.create(name="promo"))
    item("unread.mp4", title="Unread", duration_seconds=None)
    assert titles(ask("GET", "media?order=title")) == [
        "Alien",
        "Alien trailer",
        "Metropolis",
        "Unread",
    ]
    assert titles(ask("GET", "media?order=longest")) == ["Metropolis", "Alien", "Alien trailer"]
    assert titles(ask("GET", "media?q=alien&order=shortest")) == ["Alien trailer", "Alien"]
    assert titles(ask("GET", "media?folder=films&order=title")) == ["Alien", "Metropolis"]
    assert titles(ask("GET", "media?folder=/films/old/")) == ["Metropolis"]
    assert titles(ask("GET", "media?tag=promo")) == ["Alien trailer"]
    assert titles(ask("GET", "media?status=new")) == ["Alien trailer"]
    assert titles(ask("GET", "media?longer=7000&shorter=9000")) == ["Alien"]
    assert titles(ask("GET", "media?added_since=2190-01-01T00:00:00Z")) == []
    assert ask("GET", "media?status=odd")[0] == 422


@pytest.mark.parametrize("order", ["title", "newest", "longest", "shortest"])
def test_pages_of_items_have_no_gap(ask: ApiCall, order: str) -> None:
    for number in range(7):
        # Two of each length and title: the cursor tells them apart.
        item(f"{number}.mp4", title=str(number // 2), duration_seconds=number // 2)
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        _, page = ask("GET", f"media?limit=2&order={order}&cursor={cursor}")
        seen += [row["id"] for row in page["items"]]
        cursor = page["next_cursor"]
    assert len(seen) == len(set(seen)) == 7


def test_what_people_know_of_an_item(ask: ApiCall) -> None:
    one = item("films/alien.mp4")
    where = f"media/{one.pk}"
    change = {
        "title": "Alien",
        "age_rating": 16,
        "rights": "Ours.",
        "tags": ["horror", "space"],
    }
    status, changed = ask("PATCH", where, change)
    assert status == 200
    assert changed.items() >= change.items()
    assert ask("GET", where) == (200, changed)
    assert ask("PATCH", where, {"tags": []})[1]["tags"] == []
    for wrong in ({"age_rating": 15}, {"title": ""}, {"status": "ready"}, {"tags": [""]}):
        assert ask("PATCH", where, wrong)[0] == 422
    assert ask("GET", "media/999999")[0] == 404
    assert ask("GET", "media/none")[0] == 422


def test_preparing_and_trying_again(ask: ApiCall) -> None:
    channel = rows.channel(playlist=None)
    one = item("films/alien.mp4", etag="e1")
    status, copy = ask("POST", f"media/{one.pk}/prepare", {"channel": "demo"})
    assert (status, copy["status"], copy["house_format"]) == (
        202,
        "queued",
        channel.house_format.signature,
    )
    assert ask("GET", f"media/{one.pk}")[1]["copies"] == [copy]
    PreparedCopy.objects.update(status="fault", fault="No.")
    assert ask("POST", f"media/{one.pk}/retry")[0] == 202
    assert PreparedCopy.objects.get().status == "queued"
    broken = item("broken.mp4", status="fault", fault="It has no picture.")
    status, refused = ask("POST", f"media/{broken.pk}/prepare", {"channel": "demo"})
    assert (status, refused["type"]) == (422, "urn:streamsite:problem:refused")
    assert "It has no picture." in refused["detail"]
    assert ask("POST", f"media/{one.pk}/prepare", {"channel": "none"})[0] == 404


def test_an_item_is_entered_looked_into_and_forgotten(ask: ApiCall) -> None:
    status, made = ask("POST", "media", {"key": "films/new.mp4", "title": "New"})
    assert (status, made["status"]) == (201, "new")
    where = f"media/{made['id']}"
    assert ask("POST", "media", {"key": "films/new.mp4", "title": "Twice"})[0] == 422
    assert ask("GET", f"{where}/thumb.jpg")[0] == 404
    status, refused = ask("POST", f"{where}/cancel")
    assert (status, refused["type"]) == (409, "urn:streamsite:problem:conflict")
    PreparedCopy.objects.create(item_id=made["id"], house_format="h", source_etag="e")
    assert ask("POST", f"{where}/cancel")[0] == 202
    assert PreparedCopy.objects.get().status == "cancelled"
    MediaItem.objects.update(status="probed")
    assert ask("POST", f"{where}/look-again")[0] == 202
    assert MediaItem.objects.get().status == "new"
    assert ask("DELETE", where) == (204, None)
    assert ask("GET", where)[0] == 404


def test_tags_are_renamed_and_deleted(ask: ApiCall) -> None:
    one = item("films/alien.mp4")
    ask("PATCH", f"media/{one.pk}", {"tags": ["horor"]})
    (tag,) = ask("GET", "tags?q=HOR")[1]["items"]
    assert ask("PATCH", f"tags/{tag['id']}", {"name": "horror"})[1]["name"] == "horror"
    assert ask("GET", f"media/{one.pk}")[1]["tags"] == ["horror"]
    assert ask("POST", "tags", {"name": "horror"})[0] == 422
    assert ask("DELETE", f"tags/{tag['id']}")[0] == 204
    assert ask("GET", f"media/{one.pk}")[1]["tags"] == []


# ---- the storage -----------------------------------------------------------------------------
def test_a_sync_is_ordered_and_told(ask: ApiCall) -> None:
    status, made = ask("POST", "syncs", {"dry": True})
    assert (status, made["status"], made["dry"]) == (202, "running", True)
    assert made["started_by"] == "API key Robot"
    assert ask("GET", f"syncs/{made['id']}") == (200, made)
    assert ask("GET", "syncs?status=running")[1]["items"] == [made]
    status, refused = ask("POST", "syncs", {})
    assert (status, refused["type"]) == (409, "urn:streamsite:problem:conflict")
    SyncRun.objects.update(differences=[["added", "films/a.mp4"]], status="done")
    assert ask("GET", "syncs")[1]["items"][0]["differences"] == [["added", "films/a.mp4"]]


def test_the_storage_is_tried(ask: ApiCall, tmp_path: Path) -> None:
    status, told = ask("POST", "storage/test")
    assert (status, told["ok"]) == (200, True)
    assert all(each["sentence"] for each in told["checks"])


# ---- uploads ---------------------------------------------------------------------------------
def test_a_file_is_uploaded_through_here(client: Client, ask: ApiCall, tmp_path: Path) -> None:
    content = b"a film" * 1000
    new = {"name": "Film.mp4", "size_bytes": len(content), "folder": "films"}
    status, upload = ask("POST", "media/uploads", new)
    assert (status, upload["key"], upload["parts"]) == (201, "films/Film.mp4", 1)
    shown = {"ticket": upload["ticket"]}
    status, part = ask("POST", "media/uploads/part-url", shown | {"number": 1})
    assert (status, part["here"]) == (200, True)
    where = part["url"].removeprefix("/api/v1/")
    ticket = {"X-Upload-Ticket": upload["ticket"]}
    assert ask("PUT", where, content[:-1], **ticket)[0] == 422
    # Another key's ticket is nothing to this one.
    other = api_caller(client, KeyPermission.ADMIN)
    assert other("PUT", where, content, **ticket)[0] == 422
    assert ask("PUT", where, content, **ticket)[0] == 200
    assert ask("PUT", where, content)[0] == 422
    assert other("POST", "media/uploads/finish", shown)[0] == 422
    status, made = ask("POST", "media/uploads/finish", shown)
    assert (status, made["key"]) == (201, "films/Film.mp4")
    assert (tmp_path / "films" / "Film.mp4").read_bytes() == content
    assert ask("POST", "media/uploads/part-url", shown | {"number": 2})[0] == 422


def test_an_upload_is_given_up_or_refused(ask: ApiCall, tmp_path: Path) -> None:
    new = {"name": "Film.mp4", "size_bytes": 7}
    _, upload = ask("POST", "media/uploads", new)
    assert ask("POST", "media/uploads/abort", {"ticket": upload["ticket"]})[0] == 200
    assert not MediaItem.objects.exists()
    assert ask("POST", "media/uploads", new | {"name": "film.exe"})[0] == 422
    assert ask("POST", "media/uploads", new | {"size_bytes": 0})[0] == 422
    assert ask("POST", "media/uploads/finish", {"ticket": "made up"})[0] == 422


# ---- playlists -------------------------------------------------------------------------------
def test_a_playlist_is_made_ordered_and_deleted(ask: ApiCall) -> None:
    first, second = item("1.mp4"), item("2.mp4", duration_seconds=None)
    status, made = ask("POST", "playlists", {"name": "Night"})
    assert (status, made["entry_count"], made["seconds"]) == (201, 0, 0)
    where = f"playlists/{made['id']}"
    status, told = ask("POST", f"{where}/entries", {"item_ids": [first.pk, second.pk]})
    assert (status, told["version"]) == (201, 1)
    one, two = told["entries"]
    order = [{"id": two["id"], "item_id": second.pk}, {"item_id": second.pk}]
    status, told = ask("PUT", f"{where}/entries", {"version": 1, "entries": order})
    assert (status, [entry["title"] for entry in told["entries"]]) == (200, ["2", "2"])
    assert told["entries"][0]["id"] == two["id"]
    assert ask("GET", f"{where}/entries") == (200, told)
    status, refused = ask("PUT", f"{where}/entries", {"version": 1, "entries": []})
    assert (status, refused["type"]) == (409, "urn:streamsite:problem:changed-meanwhile")
    unknown = {"version": 2, "entries": [{"item_id": 999999}]}
    assert ask("PUT", f"{where}/entries", unknown)[0] == 422
    gone = {"version": 2, "entries": [{"id": one["id"], "item_id": first.pk}]}
    assert ask("PUT", f"{where}/entries", gone)[0] == 409
    assert ask("PATCH", where, {"name": "Day"})[1]["entry_count"] == 2
    assert titles_of(ask("GET", "playlists?q=da")) == ["Day"]
    assert ask("DELETE", where) == (204, None)
    assert MediaItem.objects.count() == 2


def titles_of(answer: tuple[int, Any]) -> list[str]:
    return [row["name"] for row in answer[1]["items"]]


def test_a_playlist_in_use_stays(ask: ApiCall) -> None:
    channel = rows.channel()
    status, refused = ask("DELETE", f"playlists/{channel.playlist_id}")
    assert (status, refused["type"]) == (409, "urn:streamsite:problem:in-use")
    assert "Demo" in refused["detail"]
    assert Playlist.objects.exists()
    name = {"name": Playlist.objects.get().name}
    assert ask("POST", "playlists", name)[0] == 422


# ---- out and in ------------------------------------------------------------------------------
def test_a_playlist_goes_out_and_comes_in(ask: ApiCall) -> None:
    first, second = item("1.mp4", title="One"), item("2.mp4", title="Two")
    night = ask("POST", "playlists", {"name": "Night"})[1]["id"]
    ask("POST", f"playlists/{night}/entries", {"item_ids": [second.pk, first.pk]})
    status, m3u = ask("GET", f"playlists/{night}/export")
    assert (status, m3u.decode().splitlines()[0]) == (200, "#EXTM3U")
    assert "1.mp4" in ask("GET", f"playlists/{night}/export?form=csv")[1].decode()
    assert ask("GET", f"playlists/{night}/export?form=doc")[0] == 422
    wanted = {"content": m3u.decode() + "lost.mp4\n", "name": "Copy"}
    status, told = ask("POST", "playlists/import", wanted | {"dry": True})
    assert (status, told["matched"], told["playlist_id"]) == (200, 2, None)
    assert not Playlist.objects.filter(name="Copy").exists()
    status, told = ask("POST", "playlists/import", wanted)
    assert (status, told["entries"]) == (200, 2)
    assert [problem["line"] for problem in told["problems"]] == [7]
    copied = ask("GET", f"playlists/{told['playlist_id']}/entries")[1]["entries"]
    assert [entry["title"] for entry in copied] == ["Two", "One"]
    assert ask("POST", "playlists/import", {"content": "x", "into": 999_999})[0] == 404
    assert ask("POST", "playlists/import", {"content": "a.mp4\n" * 20_001})[0] == 422


def test_who_may_not_make_playlists_brings_none_in(client: Client) -> None:
    client.force_login(rows.user("media_library.change_mediaitem"))
    answer = client.post(
        "/api/v1/playlists/import", {"content": "1.mp4"}, content_type="application/json"
    )
    assert (answer.status_code, answer.json()["type"]) == (
        403,
        "urn:streamsite:problem:permission",
    )
