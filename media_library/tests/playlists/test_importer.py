"""Imports: their requests to the storage, their locks, and the largest files."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import Client

from media_library import storage
from media_library.models import MediaItem, Playlist, Tag
from media_library.playlists import importer
from media_library.playlists.m3u_csv import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_LINE_CHARS,
    MAX_LINES,
    ExchangeError,
    read,
)
from media_library.storage import Facts, NotInStorageError, StorageError
from media_library.tests.rows import item, others_may_write

pytestmark = pytest.mark.django_db
IMPORT = "/api/v1/playlists/import"


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool, bool]]:
    """Records each request to the storage: the key, `brisk`, and whether others could write."""
    recorded: list[tuple[str, bool, bool]] = []
    facts = storage.facts

    def noted(key: str, *, brisk: bool = False) -> Facts:
        recorded.append((key, brisk, others_may_write()))
        return facts(key, brisk=brisk)

    monkeypatch.setattr(storage, "facts", noted)
    return recorded


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("options", [{"dry": True}, {}])
def test_no_writer_waits_for_the_requests_to_the_storage(
    folder: Path,
    lookups: list[tuple[str, bool, bool]],
    admin_client: Client,
    options: dict[str, bool],
) -> None:
    (folder / "new.mp4").write_bytes(b"film")
    body = {"content": "#EXTM3U\n#PLAYLIST:A\nnew.mp4\nnone.mp4\n", **options}
    answer = admin_client.post(IMPORT, body, "application/json")
    assert answer.json()["matched"] == 1
    assert lookups == [("new.mp4", True, True), ("none.mp4", True, True)]
    assert MediaItem.objects.exists() is Playlist.objects.exists() is not bool(options)


@pytest.mark.parametrize("options", [{"dry": True}, {}])
@pytest.mark.parametrize("content", ["# streamsite\n\nKeeps on air.\n", "gone.mp4\n"])
def test_a_wrong_file_empties_no_playlist(
    folder: Path, admin_client: Client, content: str, options: dict[str, bool]
) -> None:
    target = Playlist.objects.create(name="Night")
    target.entries.create(item=item("A"), position=1)
    body = {"content": content, "into": target.pk, **options}
    answer = admin_client.post(IMPORT, body, "application/json")
    assert "so “Night” is unchanged" in answer.json()["detail"]
    assert target.entries.count() == 1


def failing(error: StorageError) -> Callable[..., Facts]:
    def facts(key: str, *, brisk: bool = False) -> Facts:
        calls.append(key)
        raise error

    calls: list[str] = []
    facts.calls = calls  # type: ignore[attr-defined]  # noted on the function itself
    return facts


@pytest.mark.parametrize(
    ("error", "questions"),
    [(StorageError("It does not answer."), 1), (NotInStorageError("It is not there."), 3)],
)
def test_an_unavailable_storage_gets_one_request(
    monkeypatch: pytest.MonkeyPatch, error: StorageError, questions: int
) -> None:
    item("A")
    monkeypatch.setattr(storage, "facts", facts := failing(error))
    outcome = importer.run(read(b"#EXTM3U\nx.mp4\ny.mp4\na.mp4\nz.mp4\n"))
    assert len(facts.calls) == questions  # type: ignore[attr-defined]  # noted on the function itself
    assert outcome.matched == 1
    problems = [str(problem) for problem in outcome.problems]
    assert len(problems) == 3
    assert all(("does not answer" in problem) is not error.permanent for problem in problems)


def test_requests_to_a_slow_storage_have_a_time_limit(
    folder: Path, lookups: list[tuple[str, bool, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 7))
    monkeypatch.setattr(importer, "monotonic", lambda: float(next(clock)))
    outcome = importer.run(read("#EXTM3U\n{0}1.mp4\n{0}2.mp4\n{0}3.mp4\n".format("x").encode()))
    assert len(lookups) == 2
    assert len(outcome.problems) == 3


def test_an_item_deleted_meanwhile_is_reported_and_the_rest_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item("A"), item("B")

    def meanwhile(key: str, *, brisk: bool = False) -> Facts:
        MediaItem.objects.filter(key="shows/a.mp4").delete()
        item("Came", key=key)
        return Facts(1, "x")

    monkeypatch.setattr(storage, "facts", meanwhile)
    outcome = importer.run(read(b"#EXTM3U\n#PLAYLIST:N\na.mp4\nb.mp4\nc.mp4\n"))
    assert [str(problem) for problem in outcome.problems] == [
        "Line 3: a.mp4 was deleted from the library just now."
    ]
    assert (outcome.matched, outcome.entries, outcome.created) == (2, 2, 0)
    assert outcome.playlist is not None
    listed = outcome.playlist.entries.values_list("item__title", flat=True)
    assert list(listed) == ["B", "Came"]


def test_the_last_line_of_an_item_wins(folder: Path) -> None:
    a, b = item("A"), item("B")
    b.tags.add(Tag.objects.create(name="old"))
    outcome = importer.run(
        read(b"key,title,tags,source\na.mp4,X,n,\nb.mp4,B,,tape\na.mp4,Y,m;n,\na.mp4,Y,n;m,\n")
    )
    assert outcome.updated == 3
    a.refresh_from_db()
    b.refresh_from_db()
    assert (a.title, b.title, b.source) == ("Y", "B", "tape")
    assert {tag.name for tag in a.tags.all()} == {"m", "n"}
    assert not b.tags.exists()


# ---- limits ----------------------------------------------------------------------------------

LONG = "a/" * MAX_LINE_CHARS


@pytest.mark.parametrize(
    "text",
    [
        f"#EXTM3U\n{LONG}b.mp4\na.mp4\n",
        f"#EXTM3U\n#EXTINF:1,{LONG}\na.mp4\n",
        f"key,title\n{LONG}b.mp4,B\na.mp4,\n",
        f"key,title\nb.mp4,{LONG}\na.mp4,\n",
        f"key,title\nb.mp4,{LONG * 10}\na.mp4,\n",
        "key,title\nb.mp4" + "," * 1_000_000 + "\na.mp4,\n",
    ],
)
def test_an_overlong_line_is_reported_and_the_rest_is_read(text: str) -> None:
    contents = read(text.encode())
    assert [line.text for line in contents.lines] == ["a.mp4"]
    (problem,) = contents.problems
    assert str(problem).startswith("Line 2: ")
    assert "is longer than 4,096 characters: shorten it." in str(problem)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#EXTM3U\n" * (MAX_LINES + 1), "more than 20,000 lines"),
        ("key\n" + "a\n" * (MAX_LINES + 1), "more than 20,000 lines"),
        ("#EXTM3U\n" + " " * MAX_BYTES, "larger than 4 MiB"),
        ("key," + "x" * 200_000, "first line"),
        ('key,"' + "x\n" * 100_000, "first line can't be read"),
    ],
)
def test_a_file_that_is_too_large_is_refused(text: str, words: str) -> None:
    with pytest.raises(ExchangeError, match=words):
        read(text.encode())


def test_an_invalid_address_is_reported() -> None:
    (problem,) = read(b"#EXTM3U\nhttp://[a/b.mp4\n").problems
    assert "no valid URL" in str(problem)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["a/", "abcd%20\\x/", "\U0001f600/"])
def test_the_largest_file_needs_little_memory(part: str) -> None:
    room = MAX_BYTES // MAX_LINES - 20
    line = part * (room // len(part.encode()))
    text = "#EXTM3U\n" + "\n".join(f"{i:05}/{line}x.mp4" for i in range(MAX_LINES - 1))
    content = text.encode()
    assert len(content) > 0.8 * MAX_BYTES
    del text
    tracemalloc.start()
    try:
        contents = read(content)
        names = contents.lines[-1].names
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(contents.lines) == MAX_LINES - 1
    assert len(names) <= 4 * MAX_DEPTH
    assert "x.mp4" in names
    assert peak < 64e6
