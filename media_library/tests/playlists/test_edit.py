"""The order of a playlist: entries keep their ids, and concurrent changes are detected."""

from __future__ import annotations

import pytest

from media_library.models import Playlist
from media_library.playlists import edit
from media_library.playlists.edit import (
    ChangedMeanwhileError,
    Place,
    TooLongError,
    UnknownItemError,
)
from media_library.tests.rows import item, playlist, titles

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def evening() -> Playlist:
    return playlist(item("A"), item("B"), item("C"))


def places(of: Playlist) -> list[Place]:
    return [Place(entry.pk, entry.item_id) for entry in of.entries.all()]


def test_entries_that_stay_keep_their_ids(evening: Playlist) -> None:
    a, b, c = places(evening)
    ids = edit.reorder(evening, 0, [c, Place(None, a.item), a, Place(None, c.item)])
    assert titles(evening) == ["C", "A", "A", "C"]
    assert [entry.pk for entry in evening.entries.all()] == ids
    assert (ids[0], ids[2]) == (c.entry, a.entry)
    assert b.entry not in ids
    assert evening.version == 1


def test_an_old_version_changes_nothing(evening: Playlist) -> None:
    edit.reorder(evening, 0, places(evening)[::-1])
    with pytest.raises(ChangedMeanwhileError, match="was changed meanwhile"):
        edit.reorder(evening, 0, [])
    assert titles(evening) == ["C", "B", "A"]


@pytest.mark.parametrize("wrong", ["unknown", "twice", "of another item", "of another list"])
def test_a_foreign_entry_is_refused(evening: Playlist, wrong: str) -> None:
    a, b, _ = places(evening)
    other = places(playlist(item("D"), name="Night"))[0]
    order = {
        "unknown": [Place(999_999, a.item)],
        "twice": [a, a],
        "of another item": [Place(a.entry, b.item)],
        "of another list": [other],
    }[wrong]
    with pytest.raises(ChangedMeanwhileError):
        edit.reorder(evening, 0, order)
    evening.refresh_from_db()
    assert (titles(evening), evening.version) == (["A", "B", "C"], 0)


def test_a_missing_item_is_refused(evening: Playlist) -> None:
    with pytest.raises(UnknownItemError, match="1 of the items"):
        edit.reorder(evening, 0, [*places(evening), Place(None, 999_999)])
    with pytest.raises(UnknownItemError):
        edit.append(evening, [999_999])
    evening.refresh_from_db()
    assert (titles(evening), evening.version) == (["A", "B", "C"], 0)


def test_a_playlist_has_a_maximum_length(
    evening: Playlist, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edit, "MAX_ENTRIES", 4)
    one = places(evening)[0].item
    edit.append(evening, [one])
    with pytest.raises(TooLongError, match="at most 4 entries"):
        edit.append(evening, [one])
    with pytest.raises(TooLongError):
        edit.reorder(evening, 1, [Place(None, one)] * 5)
    assert titles(evening) == ["A", "B", "C", "A"]


def test_appended_items_come_last_in_their_order(evening: Playlist) -> None:
    new = [item(title).pk for title in ("E", "D")]
    edit.append(evening, new)
    assert titles(evening) == ["A", "B", "C", "E", "D"]
    assert evening.version == 1


def test_a_replaced_order_keeps_existing_entries(evening: Playlist) -> None:
    a, _, c = places(evening)
    edit.replace(evening, [c.item, item("D").pk, a.item, a.item])
    assert titles(evening) == ["C", "D", "A", "A"]
    kept = [entry.pk for entry in evening.entries.all()]
    assert (kept[0], kept[2]) == (c.entry, a.entry)
