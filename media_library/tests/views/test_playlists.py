"""Picker, editor, exports and imports, as the pages' scripts request them."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from media_library.models import MediaItem, Playlist, Tag
from media_library.tests.rows import item, playlist, titles, user

pytestmark = pytest.mark.django_db

JSON = {"accept": "application/json"}


@pytest.fixture
def browser(admin_client: Client) -> Client:
    return admin_client


# ---- picker ----------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["newest", "title", "longest", "shortest"])
def test_the_scroll_returns_every_item_once(browser: Client, order: str) -> None:
    for n in range(130):
        # Many items with the same title and length: then the id decides.
        item(f"Item {n % 3}", key=f"shows/{n}.mp4", duration_seconds=n % 4)
    shown: list[dict[str, Any]] = []
    after = ""
    while after is not None:
        answer = browser.get(reverse("media-items"), {"order": order, "after": after}).json()
        shown += answer["items"]
        after = answer["next"]
    assert len(shown) == 130
    assert {entry["item"] for entry in shown} == set(
        MediaItem.objects.values_list("pk", flat=True)
    )
    column = {"title": "title", "longest": "seconds", "shortest": "seconds"}.get(order)
    if column:
        values = [entry[column] for entry in shown]
        assert values == sorted(values, reverse=order == "longest")


def test_the_filters_of_the_picker(browser: Client) -> None:
    a = item("A")
    a.tags.add(Tag.objects.create(name="night"))
    item("B", status="fault", fault="It is broken.", key="films/b.mp4", duration_seconds=7200)
    item("C", duration_seconds=None)

    def titles_of(**query: str) -> set[str]:
        answer = browser.get(reverse("media-items"), query).json()
        return {entry["title"] for entry in answer["items"]}

    assert titles_of() == {"A", "B", "C"}
    assert titles_of(status="fault") == {"B"}
    assert titles_of(length="long") == {"B"}
    assert titles_of(folder="films") == {"B"}
    assert titles_of(tag="night") == {"A"}
    assert titles_of(order="longest") == {"A", "B"}
    answer = browser.get(reverse("media-items"), {"after": "nonsense"})
    assert (answer.status_code, answer.json()["detail"][:10]) == (400, "The cursor")
    below = browser.get(reverse("media-folders")).json()
    assert below == {"in": "", "folders": ["films", "shows"], "more": False}


# ---- editor ----------------------------------------------------------------------------------


def save(browser: Client, of: Playlist, body: object) -> Any:
    return browser.post(
        reverse("media-save", args=[of.pk]),
        json.dumps(body),
        content_type="application/json",
        headers=JSON,
    )


def test_an_order_is_read_changed_and_saved(browser: Client) -> None:
    a, b = item("A"), item("B", status="fault", fault="It is broken.")
    evening = playlist(a, b)
    read = browser.get(reverse("media-entries", args=[evening.pk])).json()
    first, second = read["entries"]
    assert (second["title"], second["fault"], second["seconds"]) == ("B", "It is broken.", 60)
    order = [[second["entry"], b.pk], [first["entry"], a.pk], [None, b.pk]]
    answer = save(browser, evening, {"version": read["version"], "entries": order})
    assert answer.status_code == 200
    assert answer.json()["version"] == 1
    assert titles(evening) == ["B", "A", "B"]
    again = save(browser, evening, {"version": 0, "entries": []})
    assert again.status_code == 409
    assert "was changed meanwhile" in again.json()["detail"]
    unknown = save(browser, evening, {"version": 1, "entries": [[None, 999_999]]})
    assert unknown.status_code == 422
    assert titles(evening) == ["B", "A", "B"]


@pytest.mark.parametrize(
    "body",
    [[], {}, {"version": "1", "entries": []}, {"version": 0, "entries": [[1]]},
     {"version": 0, "entries": [[1, "2"]]}, {"version": 0, "entries": "no"}],
)  # fmt: skip
def test_an_order_that_cannot_be_read(browser: Client, body: object) -> None:
    assert save(browser, playlist(item("A")), body).status_code == 400


def test_view_permissions(client: Client) -> None:
    evening = playlist(item("A"))
    client.force_login(user("view_playlist"))
    assert client.get(reverse("media-entries", args=[evening.pk])).status_code == 200
    assert save(client, evening, {"version": 0, "entries": []}).status_code == 403
    assert client.get(reverse("media-items"), headers=JSON).status_code == 403
    assert client.post(reverse("media-import", args=[evening.pk])).status_code == 403
    assert client.get(reverse("media-import-new")).status_code == 403
    page = client.get(f"/admin/media_library/playlist/{evening.pk}/change/").content.decode()
    assert "data-save-order" not in page
    assert titles(evening) == ["A"]
    client.logout()
    assert (
        client.get(reverse("media-entries", args=[evening.pk]), headers=JSON).status_code == 401
    )


def test_the_page_of_a_long_playlist_needs_few_queries(browser: Client) -> None:
    def query_count(of: Playlist) -> int:
        with CaptureQueriesContext(connection) as queries:
            browser.get(reverse("media-entries", args=[of.pk]))
            browser.get(f"/admin/media_library/playlist/{of.pk}/change/")
        return len(queries)

    short = playlist(item("A"))
    long = playlist(*(item(f"B {n}") for n in range(50)), name="Long")
    query_count(short)
    assert query_count(long) == query_count(short)


def test_a_save_of_the_name_leaves_the_version(browser: Client) -> None:
    evening = playlist(item("A"))
    Playlist.objects.filter(pk=evening.pk).update(version=4)
    browser.post(f"/admin/media_library/playlist/{evening.pk}/change/", {"name": "Late"})
    evening.refresh_from_db()
    assert (evening.name, evening.version) == ("Late", 4)


# ---- export and import -----------------------------------------------------------------------


def upload(browser: Client, url: str, text: str, /, **more: object) -> str:
    file = SimpleUploadedFile("list", text.encode())
    return browser.post(url, {"file": file, **more}).content.decode()


@pytest.mark.parametrize("kind", ["m3u8", "csv"])
def test_an_export_can_be_imported(browser: Client, kind: str, folder: Path) -> None:
    a = item('=A, "quoted"', key="shows/#1 é.mp4", age_rating=12, source="-tape")
    a.tags.set([Tag.objects.create(name=name) for name in ("night", "x;y")])
    evening = playlist(a, item("B"), a)
    answer = browser.get(reverse("media-export", args=[evening.pk, kind]))
    assert f'filename="evening.{kind}"' in answer["Content-Disposition"]
    text = answer.content.decode("utf-8-sig")
    MediaItem.objects.filter(pk=a.pk).update(title="X", age_rating=None, source="")
    a.tags.clear()
    page = upload(browser, reverse("media-import-new"), text, name="Copy")
    assert "3 lines matched" in page
    assert titles(Playlist.objects.get(name="Copy")) == ['=A, "quoted"', "B", '=A, "quoted"']
    a.refresh_from_db()
    if kind == "csv":
        assert (a.age_rating, a.source) == (12, "-tape")
        assert {tag.name for tag in a.tags.all()} == {"night", "x;y"}


def test_unmatched_lines_are_reported_and_the_rest_is_applied(
    browser: Client, folder: Path
) -> None:
    a, _ = item("A"), item("Twice", key="one/twice.mp4")
    item("Twice", key="two/twice.mp4")
    (folder / "new.mp4").write_bytes(b"film")
    evening = playlist(a)
    page = upload(
        browser,
        reverse("media-import", args=[evening.pk]),
        "#EXTM3U\n/mnt/a.mp4\nnone.mp4\ntwice.mp4\nhttp://example.com/a.mp4\n"
        "#EXTINF:1,New one\nnew.mp4\n",
    )
    for sentence in (
        "2 lines matched", "1 added", "Line 3: none.mp4 is not in the library",
        "Line 4: twice.mp4: several files have this name, such as one/twice.mp4",
        "Line 5: http://example.com/… is on another host",
    ):  # fmt: skip
        assert sentence in page
    assert titles(evening) == ["A", "New one"]
    new = MediaItem.objects.get(key="new.mp4")
    assert (new.status, new.size_bytes) == ("new", 4)


def test_an_import_has_a_dry_run_and_can_append(browser: Client, folder: Path) -> None:
    a = item("A")
    evening = playlist(a)
    url = reverse("media-import", args=[evening.pk])
    text = "key,title,age_rating\nshows/a.mp4,New,17\n"
    page = upload(browser, url, text, dry="on")
    assert "1 item would be changed" in page
    assert "17 is no age rating" in page
    a.refresh_from_db()
    assert a.title == "A"
    upload(browser, url, text, append="on")
    assert titles(evening) == ["New", "New"]
    assert "not a text file" in upload(browser, url, "a\0b")


def test_the_command(folder: Path) -> None:
    item("A"), item("B", key="shows/b.mp4")
    (folder / "shows").mkdir()
    path = folder / "shows/list.m3u"
    path.write_text("#EXTM3U\n#PLAYLIST:Night\n#EXTINF:60,First\na.mp4\nb.mp4\nc.mp4\n")
    out, err = StringIO(), StringIO()
    call_command("update_media", path, "--dry-run", stdout=out, stderr=err)
    assert not Playlist.objects.exists()
    call_command("update_media", path, stdout=out, stderr=err)
    assert titles(Playlist.objects.get(name="Night")) == ["First", "B"]
    assert "2 lines found, 1 item changed, 0 added, 1 line skipped." in out.getvalue()
    assert "Line 6: c.mp4 is not in the library" in err.getvalue()
    call_command("update_media", path, playlist="Other", stdout=out, stderr=err)
    assert titles(Playlist.objects.get(name="Other")) == ["First", "B"]
    with pytest.raises(CommandError, match="can't be read"):
        call_command("update_media", folder / "none.m3u")
