"""Which items are cached, in which order, and where the engine reads them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from media_library.location import LocalFile
from media_library.storage.read_ahead import ObjectVersion, ReadAhead
from streams.node.sources import Sources, by_turns, cache_key, line
from streams.programme.item import Item, Kind, Mode
from streams.programme.model import BASE, Cursor
from streams.tests.bench.engine import programme

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SLATE = Item("Slate", "/slate.mp4", Mode.PREPARED, Kind.SLATE)


def item(name: str, entry: int, kind: Kind = Kind.ITEM) -> Item:
    return Item(name, f"{name}.mp4", Mode.PREPARED, kind, entry=entry, edition="1")


def soon(names: str, fillers: str = "", after: int | None = None) -> list[Item]:
    of = programme(
        *(item(name, entry) for entry, name in enumerate(names, 1)),
        filler=tuple(item(name, e, Kind.FILLER) for e, name in enumerate(fillers, 1)),
    )
    return line(of, NOON, {BASE: Cursor(after)})


def titles(items: object) -> str:
    return "".join(item.title for item in items)  # type: ignore[attr-defined]  # items, typed as objects


def test_the_next_items_come_first_and_the_filler_soon_after() -> None:
    assert titles(soon("abcd", "xy")) == "abxycd"
    assert titles(soon("abcd", "xy", after=2)) == "cdxyab"


def test_channels_are_served_by_turns() -> None:
    lines = [soon(names) for names in ("abc", "de", "")]
    assert titles(by_turns(lines)) == "adbec"


def test_a_cached_item_is_played_from_the_disk(tmp_path: Path) -> None:
    ahead = ReadAhead(tmp_path, 1_000_000)
    sources = Sources(ahead)
    video = item("a", 1)
    assert not sources.is_local(video)
    (tmp_path / cache_key(video).name).write_bytes(b"film")
    assert sources.is_local(video)
    assert sources.locate(video) == LocalFile(tmp_path / cache_key(video).name)
    # It was read from the bucket while it was cached: this prevents an interruption.
    sources.report_failure(video, local=False)
    assert sources.is_local(video)
    sources.report_failure(video, local=True)
    assert not sources.is_local(video)


def test_the_slate_is_always_local(tmp_path: Path) -> None:
    sources = Sources(ReadAhead(tmp_path, 0))
    assert sources.is_local(SLATE)
    assert sources.locate(SLATE) == LocalFile(Path("/slate.mp4"))


def test_a_folder_needs_no_cache_and_is_always_reachable() -> None:
    sources = Sources(None)
    assert sources.fault() == ""
    assert not sources.is_local(item("a", 1))


def test_every_edition_has_its_own_file() -> None:
    assert ObjectVersion("a.mp4", "1").name != ObjectVersion("a.mp4", "2").name


@pytest.mark.parametrize("name", ["a.mp4", "a", "a.ünï", "a." + "x" * 300])
def test_a_file_of_the_cache_has_a_short_plain_name(name: str) -> None:
    assert len(ObjectVersion(name, "").name) < 60
    assert ObjectVersion(name, "").name.isascii()
