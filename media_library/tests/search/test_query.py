"""Search by words."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from media_library.models import MediaItem
from media_library.search import query
from media_library.search.query import matching

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture(params=["few match", "many match"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of searching, whatever the sample shows."""
    monkeypatch.setattr(query, "MANY_SHARE", 2.0 if request.param == "few match" else 0.0)


def add(key: str, title: str = "", *, titled: bool | None = None) -> None:
    item = MediaItem.objects.create(key=key, title=title or search_title(key))
    if titled is not None:
        MediaItem.objects.filter(pk=item.pk).update(titled=titled)


def search_title(key: str) -> str:
    return key.rsplit("/", 1)[-1].rsplit(".", 1)[0].replace("_", " ")


def keys_of(text: str) -> list[str]:
    items = matching(MediaItem.objects.order_by("key"), text)
    return list(items.values_list("key", flat=True))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("fine", ["shows/a_fine_day.mp4", "x/1.mp4"]),
        ("FINE day", ["shows/a_fine_day.mp4"]),
        ("day shows", ["shows/a_fine_day.mp4"]),
        ("wine x/", ["x/1.mp4"]),
        ("ay", ["shows/a_fine_day.mp4"]),
        ("серия", ["кино/Серия_1.mkv"]),
        ("Кино серия", ["кино/Серия_1.mkv"]),
        ("Кино/", ["кино/Серия_1.mkv"]),
        ("100%", ["100%_sure.mp4"]),
        ("_sure", ["100%_sure.mp4"]),
        ("it's", ["it's.mp4"]),
        ('"OR" NEAR(', []),
        ("* - ^", []),
        ("a\0b\\", []),
        ("nothing", []),
    ],
)
def test_all_words_are_matched_in_title_or_key(text: str, keys: list[str]) -> None:
    add("shows/a_fine_day.mp4")
    add("x/1.mp4", "Fine wine")
    add("кино/Серия_1.mkv")
    add("100%_sure.mp4")
    add("it's.mp4")
    assert keys_of(text) == keys


def test_an_empty_text_matches_all() -> None:
    add("a.mp4")
    assert keys_of("  ") == ["a.mp4"]


@pytest.mark.usefixtures("way")
def test_a_title_by_a_person_is_matched_however_it_was_written() -> None:
    for key in ("a.mp4", "b.mp4", "c.mp4"):
        add(key, titled=False)
    first, second, third = MediaItem.objects.order_by("key")
    first.title = "Morning"
    first.save()
    MediaItem.objects.filter(pk=second.pk).update(title="Good morning")
    third.title = "morning news"
    MediaItem.objects.bulk_update([third], ["title"])
    assert keys_of("morning") == ["a.mp4", "b.mp4", "c.mp4"]
    first.title = "a"
    first.save(update_fields=["title"])
    first.refresh_from_db()
    assert not first.titled
    assert keys_of("a.mp4") == ["a.mp4"]


def test_a_rare_word_reads_no_rows() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL has trigrams.")
    with CaptureQueriesContext(connection) as queries:
        keys_of("rare")
    plan = connection.cursor().execute(
        "EXPLAIN QUERY PLAN " + queries.captured_queries[-1]["sql"]
    )
    steps = [row[-1] for row in plan.fetchall()]
    walks = [step for step in steps if step.startswith("SCAN")]
    assert walks
    assert all("COVERING INDEX" in step for step in walks), steps


def test_postgresql_uses_the_trigrams() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no trigrams.")
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm'")
        if cursor.fetchone() is None:
            pytest.skip("This PostgreSQL has no pg_trgm.")
        # A few rows would be read completely.
        cursor.execute("SET LOCAL enable_seqscan = off")
    plan = matching(MediaItem.objects.order_by(), "серия").explain()
    assert "item_words" in plan
