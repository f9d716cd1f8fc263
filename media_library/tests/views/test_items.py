"""The list of items, its actions, an item's page, the thumbnails."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django import DjangoCaptureOnCommitCallbacks

from media_library.admin import bulk
from media_library.house_format import HouseFormat, Logo
from media_library.models import MediaItem, Playlist, PreparedCopy, Tag
from media_library.search import listing
from media_library.tests.rows import item, playlist, titles, user

pytestmark = pytest.mark.django_db

LIST = "/admin/media_library/mediaitem/"
#: The library has no channels of its own, but its playlists are used by channels.
Channel: Any = apps.get_model("streams", "Channel")


@pytest.fixture
def browser(admin_client: Client) -> Client:
    return admin_client


def shown(browser: Client, **query: str | int) -> list[str]:
    answer = browser.get(LIST, query)
    assert answer.status_code == 200, answer.headers.get("Location")
    return [row.title for row in answer.context["cl"].result_list]


def act(browser: Client, action: str, *chosen: MediaItem, query: str = "", **more: Any) -> Any:
    sent = {"action": action, "index": 0, "_selected_action": [item_.pk for item_ in chosen]}
    return browser.post(LIST + query, sent | more, follow=True)


# ---- the list --------------------------------------------------------------------------------


def test_the_list_is_ordered_and_paged(
    browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now()
    for n in range(120):
        made = item(f"Item {n:03}", duration_seconds=1000 - n)
        MediaItem.objects.filter(pk=made.pk).update(added_at=now - timedelta(hours=n))
    assert shown(browser)[:2] == ["Item 000", "Item 001"]
    assert shown(browser, p=4) == [f"Item {n:03}" for n in range(90, 120)]
    assert shown(browser, o="2", p=2)[0] == "Item 030"
    assert shown(browser, o="-2")[0] == "Item 119"
    assert shown(browser, o="4")[0] == "Item 119"
    assert shown(browser, o="-4", p=4)[-1] == "Item 119"
    assert browser.get(LIST, {"p": 5}).status_code == 302
    # Only that many items of a filtered list can be reached, and the page shows it.
    monkeypatch.setattr(listing, "MAX_REACHABLE", 100)
    answer = browser.get(LIST, {"status": "ready"})
    assert answer.context["cl"].result_count == 100
    assert "narrow them down" in answer.content.decode()


def test_a_longer_page_needs_no_more_queries(browser: Client) -> None:
    def query_count() -> int:
        with CaptureQueriesContext(connection) as queries:
            shown(browser)
        return len(queries)

    probed = {"width": 1280, "height": 720, "fps": "30000/1001", "video_codec": "h264"}
    item("A", probed_at=timezone.now(), **probed)
    query_count()
    few = query_count()
    for n in range(20):
        item(f"B {n}", probed_at=timezone.now(), thumbnails="thumbnails/x.jpg", **probed)
    assert query_count() == few


def test_the_filters_of_the_list(browser: Client) -> None:
    item("Night")
    broken = item("Broken", status="fault", fault="It ends in the middle.", age_rating=16)
    broken.tags.add(Tag.objects.create(name="old"))
    item("Film", key="films/night/f.mp4", duration_seconds=7000, audio_codec="")
    assert set(shown(browser, status="fault")) == {"Broken"}
    assert set(shown(browser, rating="16")) == {"Broken"}
    assert set(shown(browser, rating="none")) == {"Night", "Film"}
    assert len(shown(browser, added="7")) == 3
    assert set(shown(browser, length="film")) == {"Film"}
    assert set(shown(browser, sound="no")) == {"Film"}
    assert set(shown(browser, tag="old")) == {"Broken"}
    assert set(shown(browser, untagged="old")) == {"Night", "Film"}
    assert set(shown(browser, folder="films")) == {"Film"}
    assert shown(browser, folder="films", status="fault") == []
    assert set(shown(browser, q="n")) == {"Night", "Broken", "Film"}
    assert set(shown(browser, q="N", status="ready")) == {"Night", "Film"}
    assert shown(browser, q="night", folder="films") == ["Film"]
    page = browser.get(LIST, {"folder": "films"}).content.decode()
    assert "?folder=films%2Fnight" in page
    assert "It ends in the middle." in browser.get(LIST).content.decode()


def test_a_copy_that_is_made_shows_its_progress(browser: Client) -> None:
    begun = timezone.now() - timedelta(minutes=10)
    PreparedCopy.objects.create(
        item=item("A", status="preparing"),
        house_format="h",
        source_etag="",
        status="running",
        percent=25,
        claimed_at=begun,
    )
    assert "25 %, 30 min left" in " ".join(browser.get(LIST).content.decode().split())


def test_permissions_of_the_list(client: Client) -> None:
    assert client.get(LIST).status_code == 302
    client.force_login(user("view_tag"))
    assert client.get(LIST).status_code == 403
    client.force_login(user("view_mediaitem", name="bob"))
    a = item("A")
    assert client.get(LIST).status_code == 200
    act(client, "rate", a, apply=1, rating=16)
    act(client, "delete_selected", a, post="yes")
    a.refresh_from_db()
    assert a.age_rating is None


# ---- actions ---------------------------------------------------------------------------------


def test_items_are_added_to_a_new_and_to_an_existing_playlist(browser: Client) -> None:
    a, b = item("A"), item("B")
    response = act(browser, "to_playlist", a, b)
    assert "2 items" in response.content.decode()
    refused = act(browser, "to_playlist", a, b, apply=1, name="")
    assert "name the new one" in refused.content.decode()
    act(browser, "to_playlist", a, b, apply=1, name="Evening", query="?o=2")
    evening = Playlist.objects.get()
    assert titles(evening) == ["A", "B"]
    act(browser, "to_playlist", a, apply=1, playlist=evening.pk)
    assert titles(evening) == ["A", "B", "A"]
    taken = act(browser, "to_playlist", a, apply=1, name="Evening")
    assert "There is already a playlist" in taken.content.decode()


def test_playlists_require_the_permission(client: Client) -> None:
    client.force_login(user("view_mediaitem", "change_mediaitem"))
    act(client, "to_playlist", item("A"), apply=1, name="Evening")
    assert not Playlist.objects.exists()


def test_tags_and_ratings_of_all_that_match(browser: Client) -> None:
    for n in range(60):
        item(f"A {n}")
    other = item("B", status="new")
    act(browser, "add_tag", query="?status=ready", select_across=1, apply=1, tag="night",
        _selected_action=[0])  # fmt: skip
    assert Tag.objects.get().items.count() == 60
    some = list(MediaItem.objects.filter(status="ready")[:2])
    act(browser, "remove_tag", *some, apply=1, tag="night")
    assert Tag.objects.get().items.count() == 58
    act(browser, "rate", other, apply=1, rating="18")
    other.refresh_from_db()
    assert other.age_rating == 18
    act(browser, "rate", other, apply=1, rating="")
    other.refresh_from_db()
    assert other.age_rating is None


def test_too_many_items_are_refused_with_a_sentence(
    browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MAX_WORK_ITEMS", 2)
    chosen = [item(title) for title in "ABC"]
    answer = act(browser, "prepare", *chosen)
    assert "More than 2 items are selected" in answer.content.decode()
    assert not PreparedCopy.objects.exists()


def test_prepare_cancel_and_retry(browser: Client) -> None:
    a, b = item("A", etag="1"), item("B", status="fault", fault="It is broken.")
    Channel.objects.create(name="D", slug="d", playlist=playlist(a), width=640, height=360)
    act(browser, "prepare", a, b)
    copy = PreparedCopy.objects.get()
    assert copy.item == a
    assert copy.house_format == Channel.objects.get().house_format.signature
    act(browser, "cancel", a, b)
    copy.refresh_from_db()
    assert copy.status == "cancelled"
    act(browser, "retry", a, b)
    copy.refresh_from_db()
    b.refresh_from_db()
    assert (copy.status, b.status) == ("queued", "new")


def test_many_files_are_inspected_again_by_the_pool(
    browser: Client, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    """By rows, not by one message per item: no more at once than there are slots."""
    now = timezone.now()
    a = item("A", probed_at=now, probe_claimed_at=now, probe_attempts=2)
    b, c = item("B", status="fault", fault="It is broken."), item("C")
    with django_capture_on_commit_callbacks(execute=True):
        act(browser, "inspect_again", a, b)
    assert [message.func() for message in OrmQ.objects.all()] == [
        "media_library.tasks.probe_new"
    ]
    for item_ in (a, b, c):
        item_.refresh_from_db()
    assert [item_.status for item_ in (a, b, c)] == ["new", "new", "ready"]
    assert (a.probed_at, a.probe_claimed_at, a.probe_attempts) == (now, None, 0)


def test_a_deletion_warns_about_the_file_and_channels_on_air(browser: Client) -> None:
    a = item("A")
    Channel.objects.create(name="D", slug="d", playlist=playlist(a), desired_state="on")
    for page in (
        act(browser, "delete_selected", a),
        browser.get(f"{LIST}{a.pk}/delete/"),
    ):
        text = page.content.decode()
        assert "The file stays in the storage" in text
        assert "played by a channel that is on air" in text
    assert MediaItem.objects.exists()
    act(browser, "delete_selected", a, post="yes")
    assert not MediaItem.objects.exists()


# ---- an item's page --------------------------------------------------------------------------


def test_a_save_writes_only_peoples_columns(browser: Client) -> None:
    a = item("A", etag="1", source="tape")
    tag = Tag.objects.create(name="night")
    MediaItem.objects.filter(pk=a.pk).update(status="preparing")
    sent = {"title": "B", "tags": [tag.pk], "age_rating": "12", "source": "", "rights": "Ours"}
    answer = browser.post(f"{LIST}{a.pk}/change/", sent | {"key": "x", "status": "fault"})
    assert answer.status_code == 302
    a.refresh_from_db()
    assert (a.title, a.age_rating, a.source, a.rights) == ("B", 12, "", "Ours")
    assert (a.key, a.status, a.etag) == ("shows/a.mp4", "preparing", "1")
    assert [tag_.name for tag_ in a.tags.all()] == ["night"]


def test_the_page_shows_all_properties(browser: Client) -> None:
    a = item(
        "A", size_bytes=2_500_000_000, width=1280, height=720, fps="30000/1001",
        video_codec="h264", sample_rate=48000, channels=2, loudness_lufs=-16.34,
        keyframe_seconds=2.0, probed_at=timezone.now(),
    )  # fmt: skip
    PreparedCopy.objects.create(
        item=a, house_format="720p30", source_etag="", status="fault", fault="The disk is full."
    )
    evening = playlist(a)
    page = " ".join(browser.get(f"{LIST}{a.pk}/change/").content.decode().split())
    for words in (
        "2.5 GB", "1280×720, 29.97 fps, h264", "aac, 48 kHz, 2 channels", "about -16.3 LUFS",
        "at most 2.0 s", "720p30", "The disk is full.", evening.name,
    ):  # fmt: skip
        assert words in page


def test_a_copys_house_format_is_readable(browser: Client) -> None:
    a = item("A")
    with_logo = HouseFormat(logo=Logo("686e0123456789ab")).signature
    for signature, frames in (
        (with_logo, 912),
        (HouseFormat(fps=25, video_bitrate=2_500_000).signature, 0),
    ):
        PreparedCopy.objects.create(
            item=a, house_format=signature, source_etag="", frames=frames or None, key="k",
            status="ready" if frames else "queued",
        )  # fmt: skip
    page = " ".join(browser.get(f"{LIST}{a.pk}/change/").content.decode().split())
    assert "<td>1280×720, 30 fps, 3 Mbit/s, with logo</td>" in page
    assert '<td class="sx-n">0:30</td>' in page
    assert "<td>1280×720, 25 fps, 2.5 Mbit/s</td>" in page


def test_unknown_values_are_dashes_and_present_items_are_not_missing(browser: Client) -> None:
    def fields(item_: MediaItem) -> dict[str, str]:
        form = browser.get(f"{LIST}{item_.pk}/change/").context["adminform"]
        shown = [
            field
            for fieldset in form
            for line in fieldset
            for field in line
            if field.is_readonly
        ]
        page = browser.get(f"{LIST}{item_.pk}/change/").content.decode()
        values = {field.field["name"]: str(field.contents()) for field in shown}
        # The theme decides what is empty: the text on the page counts.
        assert page.count("No audio") == [*values.values()].count("No audio")
        return values

    unknown = fields(item("A", audio_codec=""))
    assert (unknown["sound"], unknown["loudness"]) == ("–", "–")
    # Columns and computed figures show the same dash.
    assert (unknown["probed_at"], unknown["etag"], unknown["colour"]) == ("–", "–", "–")
    assert "missing_since" not in unknown
    silent = fields(item("B", audio_codec="", probed_at=timezone.now()))
    assert (silent["sound"], silent["loudness"]) == ("No audio", "No audio")
    assert "missing_since" in fields(item("C", missing_since=timezone.now()))


def test_buttons_of_the_page(browser: Client) -> None:
    a = item("A")
    copies = [
        PreparedCopy.objects.create(item=a, house_format=name, source_etag="") for name in "gh"
    ]
    page = browser.get(f"{LIST}{a.pk}/change/").content.decode()
    cancel = f"/api/v1/media/{a.pk}/cancel?copy_id={copies[1].pk}"
    assert f'data-api="POST {cancel}"' in page
    assert f'data-api="POST /api/v1/media/{a.pk}/look-again"' in page
    assert browser.post(cancel, {}, "application/json").status_code == 202
    assert [copy.status for copy in a.copies.order_by("pk")] == ["queued", "cancelled"]
    retry = f"/api/v1/media/{a.pk}/retry"
    assert f'data-api="POST {retry}"' in browser.get(f"{LIST}{a.pk}/change/").content.decode()
    browser.post(retry, {}, "application/json")
    assert {copy.status for copy in a.copies.all()} == {"queued"}


# ---- thumbnails ------------------------------------------------------------------------------


def test_a_thumbnail_of_a_folder(client: Client, folder: Path) -> None:
    (folder / "thumbnails").mkdir()
    (folder / "thumbnails/a.jpg").write_bytes(b"\xff\xd8picture")
    a = item("A", thumbnails="thumbnails/a.jpg")
    url = f"/api/v1/media/{a.pk}/thumb.jpg"
    assert client.get(url).status_code == 401
    client.force_login(user("view_mediaitem"))
    answer: Any = client.get(url)
    assert b"".join(answer.streaming_content) == b"\xff\xd8picture"
    assert answer["Content-Type"] == "image/jpeg"
    assert "private" in answer["Cache-Control"]
    for other in (item("B"), item("C", thumbnails="thumbnails/gone.jpg")):
        assert client.get(f"/api/v1/media/{other.pk}/thumb.jpg").status_code == 404


def test_a_thumbnail_of_a_bucket(admin_client: Client, bucket: None, s3_server: str) -> None:
    a = item("A", thumbnails="thumbnails/a.jpg")
    answer = admin_client.get(f"/api/v1/media/{a.pk}/thumb.jpg")
    assert answer.status_code == 302
    assert answer["Location"].startswith(f"{s3_server}/films/thumbnails/a.jpg?")
    assert "X-Amz-Expires=3600" in answer["Location"]
    assert answer["Cache-Control"].startswith("private")
    page = admin_client.get(LIST)
    policy = page["Content-Security-Policy"]
    assert f"img-src 'self' data: blob: {s3_server}" in policy
