"""Filters, pages and folders of the library."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from media_library.models import MediaItem, Tag
from media_library.search import listing
from media_library.tests.rows import item

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def titles(items: listing.Items) -> list[str]:
    return [row.title for row in items.order_by("title")]


@pytest.fixture
def library() -> listing.Items:
    now = timezone.now()
    item("A", status="new", duration_seconds=None, audio_codec="")
    item("B", status="fault", fault="It is broken.", duration_seconds=30, age_rating=16)
    item("C", duration_seconds=600, audio_codec="")
    item("D", key="films/d.mp4", duration_seconds=7200, age_rating=0)
    MediaItem.objects.filter(title="A").update(added_at=now - timedelta(days=3))
    return MediaItem.objects.all()


def test_the_filters(library: listing.Items) -> None:
    now = timezone.now()
    assert titles(listing.with_status(library, "fault")) == ["B"]
    assert titles(listing.rated(library, 0)) == ["D"]
    assert titles(listing.rated(library, None)) == ["A", "C"]
    assert titles(listing.within_days(library, "1", now)) == ["B", "C", "D"]
    assert titles(listing.within_days(library, "7", now)) == ["A", "B", "C", "D"]
    assert titles(listing.lasting(library, 600, 7200)) == ["C"]
    assert titles(listing.lasting(library, 7200, None)) == ["D"]
    assert titles(listing.with_audio(library, present=False)) == ["C"]
    assert titles(listing.with_audio(library, present=True)) == ["B", "D"]
    both = listing.lasting(listing.with_status(library, "ready"), None, 3600)
    assert titles(both) == ["C"]


@pytest.mark.parametrize("few", [0, 50_000])
def test_folders_and_tags_whether_few_match_or_many(
    library: listing.Items, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(listing, "MAX_SORTED_ROWS", few)
    item("E", key="shows.mp4")
    item("F", key="shows0/f.mp4")
    tag = Tag.objects.create(name="night")
    tag.items.set(MediaItem.objects.filter(title__in=["B", "C"]))
    assert titles(listing.in_folder(library, "shows/")) == ["A", "B", "C"]
    assert titles(listing.tagged(library, "night")) == ["B", "C"]
    assert titles(listing.not_tagged(library, "night")) == ["A", "D", "E", "F"]
    assert titles(listing.tagged(listing.with_status(library, "fault"), "night")) == ["B"]


def keys(*names: str) -> None:
    MediaItem.objects.bulk_create(MediaItem(key=name, title=name) for name in names)


def test_folders_are_listed_between_files() -> None:
    keys(
        "a/1.mp4", "a/2.mp4", "a b/1.mp4", "b.mp4", "b/c/d.mp4", "b/c/e.mp4", "b/f.mp4", "z.mp4"
    )
    assert listing.folders("") == (["a b", "a", "b"], False)
    assert listing.folders("b/") == (["c"], False)
    assert listing.folders("b/c/") == ([], False)
    assert listing.folders("none/") == ([], False)


def test_many_files_hide_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "SCAN_KEYS", 10)
    keys(*(f"m{n:03}.mp4" for n in range(45)), "m020/x.mp4", "n/x.mp4")
    assert listing.folders("") == (["m020", "n"], False)


def test_the_search_for_folders_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    keys(*(f"{n:03}/a.mp4" for n in range(6)), *(f"{n:03}.mp4" for n in range(100, 150)))
    monkeypatch.setattr(listing, "MAX_FOLDERS", 4)
    assert listing.folders("") == (["000", "001", "002", "003"], True)
    monkeypatch.setattr(listing, "MAX_FOLDERS", 100)
    monkeypatch.setattr(listing, "SCAN_KEYS", 10)
    monkeypatch.setattr(listing, "MAX_SCANNED_KEYS", 30)
    assert listing.folders("") == ([f"{n:03}" for n in range(6)], True)


def test_rows_keep_their_order_without_deleted_items() -> None:
    a, b, c = item("A"), item("B"), item("C")
    b_pk = b.pk
    b.delete()
    assert [row.title for row in listing.rows([c.pk, b_pk, a.pk], "title")] == ["C", "A"]
