"""API routes of the library: items, uploads and playlists."""

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
    # Set again, so that Django discards the storage object it has opened.
    settings.STORAGES = dict(settings.STORAGES)


@pytest.fixture
def call(client: Client) -> ApiCall:
    return api_caller(client, KeyPermission.ADMIN)


def item(key: str, **fields: Any) -> MediaItem:
    fields = {"title": Path(key).stem, "status": "ready", "duration_seconds": 60} | fields
    return MediaItem.objects.create(key=key, **fields)


def titles(answer: tuple[int, Any]) -> list[str]:
    assert answer[0] == 200, answer
    return [row["title"] for row in answer[1]["items"]]


# ---- items -----------------------------------------------------------------------------------
def test_items_are_searched_and_filtered(call: ApiCall) -> None:
    item("films/alien.mp4", duration_seconds=7000, title="Alien")
    item("films/old/metropolis.mp4", duration_seconds=9000, title="Metropolis")
    clip = item("clips/trailer.mp4", title="Alien trailer", status="new")
    clip.tags.add(Tag.objects.create(name="promo"))
    item("unread.mp4", title="Unread", duration_seconds=None)
    assert titles(call("GET", "media?order=title")) == [
        "Alien",
        "Alien trailer",
        "Metropolis",
        "Unread",
    ]
    assert titles(call("GET", "media?order=longest")) == [
        "Metropolis",
        "Alien",
        "Alien trailer",
    ]
    assert titles(call("GET", "media?q=alien&order=shortest")) == ["Alien trailer", "Alien"]
    assert titles(call("GET", "media?folder=films&order=title")) == ["Alien", "Metropolis"]
    assert titles(call("GET", "media?folder=/films/old/")) == ["Metropolis"]
    assert titles(call("GET", "media?tag=promo")) == ["Alien trailer"]
    assert titles(call("GET", "media?status=new")) == ["Alien trailer"]
    assert titles(call("GET", "media?longer=7000&shorter=9000")) == ["Alien"]
    assert titles(call("GET", "media?added_since=2190-01-01T00:00:00Z")) == []
    assert call("GET", "media?status=odd")[0] == 422


@pytest.mark.parametrize("order", ["title", "newest", "longest", "shortest"])
def test_pages_of_items_are_complete(call: ApiCall, order: str) -> None:
    for number in range(7):
        # Two items share each length and title: the cursor must distinguish them.
        item(f"{number}.mp4", title=str(number // 2), duration_seconds=number // 2)
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        _, page = call("GET", f"media?limit=2&order={order}&cursor={cursor}")
        seen += [row["id"] for row in page["items"]]
        cursor = page["next_cursor"]
    assert len(seen) == len(set(seen)) == 7


def test_item_metadata_is_edited(call: ApiCall) -> None:
    one = item("films/alien.mp4")
    where = f"media/{one.pk}"
    change = {
        "title": "Alien",
        "age_rating": 16,
        "rights": "Ours.",
        "tags": ["horror", "space"],
    }
    status, changed = call("PATCH", where, change)
    assert status == 200
    assert changed.items() >= change.items()
    assert call("GET", where) == (200, changed)
    assert call("PATCH", where, {"tags": []})[1]["tags"] == []
    for wrong in ({"age_rating": 15}, {"title": ""}, {"status": "ready"}, {"tags": [""]}):
        assert call("PATCH", where, wrong)[0] == 422
    assert call("GET", "media/999999")[0] == 404
    assert call("GET", "media/none")[0] == 422


def test_an_item_is_prepared_and_retried(call: ApiCall) -> None:
    channel = rows.channel(playlist=None)
    one = item("films/alien.mp4", etag="e1")
    status, copy = call("POST", f"media/{one.pk}/prepare", {"channel": "demo"})
    assert (status, copy["status"], copy["house_format"]) == (
        202,
        "queued",
        channel.house_format.signature,
    )
    assert call("GET", f"media/{one.pk}")[1]["copies"] == [copy]
    PreparedCopy.objects.update(status="fault", fault="No.")
    assert call("POST", f"media/{one.pk}/retry")[0] == 202
    assert PreparedCopy.objects.get().status == "queued"
    broken = item("broken.mp4", status="fault", fault="It has no picture.")
    status, refused = call("POST", f"media/{broken.pk}/prepare", {"channel": "demo"})
    assert (status, refused["type"]) == (422, "urn:streamsite:problem:refused")
    assert "It has no picture." in refused["detail"]
    assert call("POST", f"media/{one.pk}/prepare", {"channel": "none"})[0] == 404


def test_an_item_is_added_inspected_and_deleted(call: ApiCall) -> None:
    status, made = call("POST", "media", {"key": "films/new.mp4", "title": "New"})
    assert (status, made["status"]) == (201, "new")
    where = f"media/{made['id']}"
    assert call("POST", "media", {"key": "films/new.mp4", "title": "Twice"})[0] == 422
    assert call("GET", f"{where}/thumb.jpg")[0] == 404
    status, refused = call("POST", f"{where}/cancel")
    assert (status, refused["type"]) == (409, "urn:streamsite:problem:conflict")
    PreparedCopy.objects.create(item_id=made["id"], house_format="h", source_etag="e")
    assert call("POST", f"{where}/cancel")[0] == 202
    assert PreparedCopy.objects.get().status == "cancelled"
    MediaItem.objects.update(status="probed")
    assert call("POST", f"{where}/look-again")[0] == 202
    assert MediaItem.objects.get().status == "new"
    assert call("DELETE", where) == (204, None)
    assert call("GET", where)[0] == 404


def test_tags_are_renamed_and_deleted(call: ApiCall) -> None:
    one = item("films/alien.mp4")
    call("PATCH", f"media/{one.pk}", {"tags": ["horor"]})
    (tag,) = call("GET", "tags?q=HOR")[1]["items"]
    assert call("PATCH", f"tags/{tag['id']}", {"name": "horror"})[1]["name"] == "horror"
    assert call("GET", f"media/{one.pk}")[1]["tags"] == ["horror"]
    assert call("POST", "tags", {"name": "horror"})[0] == 422
    assert call("DELETE", f"tags/{tag['id']}")[0] == 204
    assert call("GET", f"media/{one.pk}")[1]["tags"] == []


# ---- the storage -----------------------------------------------------------------------------
def test_a_sync_is_started_and_reported(call: ApiCall) -> None:
    status, made = call("POST", "syncs", {"dry": True})
    assert (status, made["status"], made["dry"]) == (202, "running", True)
    assert made["started_by"] == "API key Robot"
    assert call("GET", f"syncs/{made['id']}") == (200, made)
    assert call("GET", "syncs?status=running")[1]["items"] == [made]
    status, refused = call("POST", "syncs", {})
    assert (status, refused["type"]) == (409, "urn:streamsite:problem:conflict")
    SyncRun.objects.update(differences=[["added", "films/a.mp4"]], status="done")
    assert call("GET", "syncs")[1]["items"][0]["differences"] == [["added", "films/a.mp4"]]


def test_the_storage_is_tested(call: ApiCall, tmp_path: Path) -> None:
    status, body = call("POST", "storage/test")
    assert (status, body["ok"]) == (200, True)
    assert all(check["sentence"] for check in body["checks"])


# ---- uploads ---------------------------------------------------------------------------------
def test_a_file_is_uploaded_through_the_server(
    client: Client, call: ApiCall, tmp_path: Path
) -> None:
    content = b"a film" * 1000
    new = {"name": "Film.mp4", "size_bytes": len(content), "folder": "films"}
    status, upload = call("POST", "media/uploads", new)
    assert (status, upload["key"], upload["parts"]) == (201, "films/Film.mp4", 1)
    shown = {"ticket": upload["ticket"]}
    status, part = call("POST", "media/uploads/part-url", shown | {"number": 1})
    assert (status, part["here"]) == (200, True)
    where = part["url"].removeprefix("/api/v1/")
    ticket = {"X-Upload-Ticket": upload["ticket"]}
    assert call("PUT", where, content[:-1], **ticket)[0] == 422
    # Another key's ticket is not accepted.
    other = api_caller(client, KeyPermission.ADMIN)
    assert other("PUT", where, content, **ticket)[0] == 422
    assert call("PUT", where, content, **ticket)[0] == 200
    assert call("PUT", where, content)[0] == 422
    assert other("POST", "media/uploads/finish", shown)[0] == 422
    status, made = call("POST", "media/uploads/finish", shown)
    assert (status, made["key"]) == (201, "films/Film.mp4")
    assert (tmp_path / "films" / "Film.mp4").read_bytes() == content
    assert call("POST", "media/uploads/part-url", shown | {"number": 2})[0] == 422


def test_an_upload_is_cancelled_or_refused(call: ApiCall, tmp_path: Path) -> None:
    new = {"name": "Film.mp4", "size_bytes": 7}
    _, upload = call("POST", "media/uploads", new)
    assert call("POST", "media/uploads/abort", {"ticket": upload["ticket"]})[0] == 200
    assert not MediaItem.objects.exists()
    assert call("POST", "media/uploads", new | {"name": "film.exe"})[0] == 422
    assert call("POST", "media/uploads", new | {"size_bytes": 0})[0] == 422
    assert call("POST", "media/uploads/finish", {"ticket": "made up"})[0] == 422


# ---- playlists -------------------------------------------------------------------------------
def test_a_playlist_is_created_reordered_and_deleted(call: ApiCall) -> None:
    first, second = item("1.mp4"), item("2.mp4", duration_seconds=None)
    status, made = call("POST", "playlists", {"name": "Night"})
    assert (status, made["entry_count"], made["seconds"]) == (201, 0, 0)
    where = f"playlists/{made['id']}"
    status, body = call("POST", f"{where}/entries", {"item_ids": [first.pk, second.pk]})
    assert (status, body["version"]) == (201, 1)
    one, two = body["entries"]
    order = [{"id": two["id"], "item_id": second.pk}, {"item_id": second.pk}]
    status, body = call("PUT", f"{where}/entries", {"version": 1, "entries": order})
    assert (status, [entry["title"] for entry in body["entries"]]) == (200, ["2", "2"])
    assert body["entries"][0]["id"] == two["id"]
    assert call("GET", f"{where}/entries") == (200, body)
    status, refused = call("PUT", f"{where}/entries", {"version": 1, "entries": []})
    assert (status, refused["type"]) == (409, "urn:streamsite:problem:changed-meanwhile")
    unknown = {"version": 2, "entries": [{"item_id": 999999}]}
    assert call("PUT", f"{where}/entries", unknown)[0] == 422
    gone = {"version": 2, "entries": [{"id": one["id"], "item_id": first.pk}]}
    assert call("PUT", f"{where}/entries", gone)[0] == 409
    assert call("PATCH", where, {"name": "Day"})[1]["entry_count"] == 2
    assert titles_of(call("GET", "playlists?q=da")) == ["Day"]
    assert call("DELETE", where) == (204, None)
    assert MediaItem.objects.count() == 2


def titles_of(answer: tuple[int, Any]) -> list[str]:
    return [row["name"] for row in answer[1]["items"]]


def test_a_playlist_in_use_is_not_deleted(call: ApiCall) -> None:
    channel = rows.channel()
    status, refused = call("DELETE", f"playlists/{channel.playlist_id}")
    assert (status, refused["type"]) == (409, "urn:streamsite:problem:in-use")
    assert "Demo" in refused["detail"]
    assert Playlist.objects.exists()
    name = {"name": Playlist.objects.get().name}
    assert call("POST", "playlists", name)[0] == 422


# ---- out and in ------------------------------------------------------------------------------
def test_a_playlist_is_exported_and_imported(call: ApiCall) -> None:
    first, second = item("1.mp4", title="One"), item("2.mp4", title="Two")
    night = call("POST", "playlists", {"name": "Night"})[1]["id"]
    call("POST", f"playlists/{night}/entries", {"item_ids": [second.pk, first.pk]})
    status, m3u = call("GET", f"playlists/{night}/export")
    assert (status, m3u.decode().splitlines()[0]) == (200, "#EXTM3U")
    assert "1.mp4" in call("GET", f"playlists/{night}/export?form=csv")[1].decode()
    assert call("GET", f"playlists/{night}/export?form=doc")[0] == 422
    request = {"content": m3u.decode() + "lost.mp4\n", "name": "Copy"}
    status, body = call("POST", "playlists/import", request | {"dry": True})
    assert (status, body["matched"], body["playlist_id"]) == (200, 2, None)
    assert not Playlist.objects.filter(name="Copy").exists()
    status, body = call("POST", "playlists/import", request)
    assert (status, body["entries"]) == (200, 2)
    assert [problem["line"] for problem in body["problems"]] == [7]
    copied = call("GET", f"playlists/{body['playlist_id']}/entries")[1]["entries"]
    assert [entry["title"] for entry in copied] == ["Two", "One"]
    assert call("POST", "playlists/import", {"content": "x", "into": 999_999})[0] == 404
    assert call("POST", "playlists/import", {"content": "a.mp4\n" * 20_001})[0] == 422


def test_importing_a_playlist_needs_the_permission(client: Client) -> None:
    client.force_login(rows.user("media_library.change_mediaitem"))
    answer = client.post(
        "/api/v1/playlists/import", {"content": "1.mp4"}, content_type="application/json"
    )
    assert (answer.status_code, answer.json()["type"]) == (
        403,
        "urn:streamsite:problem:permission",
    )
