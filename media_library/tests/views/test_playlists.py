"""Picker, editor, exports and imports, as the pages' scripts request them."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from media_library.models import MediaItem, Playlist, Tag
from media_library.tests.rows import item, playlist, titles, user

pytestmark = pytest.mark.django_db

ITEMS = "/api/v1/media"
SECONDS = "duration_seconds"


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
    cursor = ""
    while cursor is not None:
        answer = browser.get(f"{ITEMS}?order={order}&cursor={cursor}&limit=60").json()
        shown += answer["items"]
        cursor = answer["next_cursor"]
    assert len(shown) == 130
    assert {entry["id"] for entry in shown} == set(
        MediaItem.objects.values_list("pk", flat=True)
    )
    column = {"title": "title", "longest": SECONDS, "shortest": SECONDS}.get(order)
    if column:
        values = [entry[column] for entry in shown]
        assert values == sorted(values, reverse=order == "longest")


def test_the_filters_of_the_picker(browser: Client) -> None:
    a = item("A")
    a.tags.add(Tag.objects.create(name="night"))
    item("B", status="fault", fault="It is broken.", key="films/b.mp4", duration_seconds=7200)
    item("C", duration_seconds=None)

    def titles_of(**query: str) -> set[str]:
        answer = browser.get(ITEMS, query).json()
        return {entry["title"] for entry in answer["items"]}

    assert titles_of() == {"A", "B", "C"}
    assert titles_of(status="fault") == {"B"}
    assert titles_of(longer="7200") == {"B"}
    assert titles_of(folder="films") == {"B"}
    assert titles_of(tag="night") == {"A"}
    assert titles_of(order="longest") == {"A", "B"}
    answer = browser.get(ITEMS, {"cursor": "nonsense"})
    assert (answer.status_code, answer.json()["detail"][:10]) == (400, "The cursor")
    below = browser.get(f"{ITEMS}/folders").json()
    assert below == {"folders": ["films", "shows"], "more": False}
    assert browser.get(f"{ITEMS}/folders", {"parent": "films"}).json()["folders"] == []


# ---- editor ----------------------------------------------------------------------------------


def entries(of: Playlist) -> str:
    return f"/api/v1/playlists/{of.pk}/entries"


def save(browser: Client, of: Playlist, body: object) -> Any:
    return browser.put(entries(of), body, content_type="application/json")


def test_an_order_is_read_changed_and_saved(browser: Client) -> None:
    a, b = item("A"), item("B", status="fault", fault="It is broken.")
    evening = playlist(a, b)
    read = browser.get(entries(evening)).json()
    first, second = read["entries"]
    assert (second["title"], second["fault"], second[SECONDS]) == ("B", "It is broken.", 60)
    places = ((second["id"], b.pk), (first["id"], a.pk), (None, b.pk))
    order = [{"id": entry, "item_id": item_id} for entry, item_id in places]
    answer = save(browser, evening, {"version": read["version"], "entries": order})
    assert answer.status_code == 200
    assert answer.json()["version"] == 1
    assert titles(evening) == ["B", "A", "B"]
    again = save(browser, evening, {"version": 0, "entries": []})
    assert again.status_code == 409
    assert "was changed meanwhile" in again.json()["detail"]
    unknown = save(browser, evening, {"version": 1, "entries": [{"item_id": 999_999}]})
    assert unknown.status_code == 422
    assert titles(evening) == ["B", "A", "B"]


def test_view_permissions(client: Client) -> None:
    evening = playlist(item("A"))
    client.force_login(user("view_playlist"))
    assert client.get(reverse("media-import", args=[evening.pk])).status_code == 403
    assert client.get(reverse("media-import-new")).status_code == 403
    page = client.get(f"/admin/media_library/playlist/{evening.pk}/change/").content.decode()
    assert "data-save-order" not in page


def test_the_page_of_a_long_playlist_needs_few_queries(browser: Client) -> None:
    def query_count(of: Playlist) -> int:
        with CaptureQueriesContext(connection) as queries:
            browser.get(entries(of))
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


def bring(browser: Client, content: str, **more: object) -> Any:
    """The result of an import."""
    body = {"content": content, **more}
    answer = browser.post("/api/v1/playlists/import", body, content_type="application/json")
    return answer.json()


@pytest.mark.parametrize("kind", ["m3u8", "csv"])
def test_an_export_can_be_imported(browser: Client, kind: str, folder: Path) -> None:
    a = item('=A, "quoted"', key="shows/#1 é.mp4", age_rating=12, source="-tape")
    a.tags.set([Tag.objects.create(name=name) for name in ("night", "x;y")])
    evening = playlist(a, item("B"), a)
    answer = browser.get(f"/api/v1/playlists/{evening.pk}/export?form={kind}&bom=true")
    # Without it, Excel assumes the local code page.
    assert answer.content.startswith(b"\xef\xbb\xbf")
    assert f'filename="evening.{kind}"' in answer["Content-Disposition"]
    text = answer.content.decode("utf-8-sig")
    MediaItem.objects.filter(pk=a.pk).update(title="X", age_rating=None, source="")
    a.tags.clear()
    assert bring(browser, text, name="Copy")["matched"] == 3
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
    result = bring(
        browser,
        "#EXTM3U\n/mnt/a.mp4\nnone.mp4\ntwice.mp4\nhttp://example.com/a.mp4\n"
        "#EXTINF:1,New one\nnew.mp4\n",
        into=evening.pk,
    )
    assert (result["matched"], result["created"], result["playlist_name"]) == (
        2,
        1,
        evening.name,
    )
    lines = [(problem["line"], problem["sentence"]) for problem in result["problems"]]
    for (number, sentence), (line, beginning) in zip(
        lines,
        [
            (3, "none.mp4 is not in the library"),
            (4, "twice.mp4: several files have this name, such as one/twice.mp4"),
            (5, "http://example.com/… is on another host"),
        ],
        strict=True,
    ):
        assert (number, sentence[: len(beginning)]) == (line, beginning)
    assert titles(evening) == ["A", "New one"]
    new = MediaItem.objects.get(key="new.mp4")
    assert (new.status, new.size_bytes) == ("new", 4)


def test_an_import_has_a_dry_run_and_can_append(browser: Client, folder: Path) -> None:
    a = item("A")
    evening = playlist(a)
    text = "key,title,age_rating\nshows/a.mp4,New,17\n"
    result = bring(browser, text, into=evening.pk, dry=True)
    assert result["updated"] == 1
    assert "17 is no age rating" in result["problems"][0]["sentence"]
    a.refresh_from_db()
    assert a.title == "A"
    bring(browser, text, into=evening.pk, append=True)
    assert titles(evening) == ["New", "New"]


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
