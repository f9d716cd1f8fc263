"""M3U and CSV: exports can be imported again, and files of other programs are understood."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_library.playlists.m3u_csv import (
    COLUMNS,
    ExchangeError,
    Row,
    join_tags,
    read,
    read_csv,
    read_m3u,
    split_tags,
    write_csv,
    write_m3u,
)
from streamsite.security.text import one_line

#: All text that a column accepts: PostgreSQL has no NUL, and lone surrogates are no text.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
keys = texts.filter(lambda key: key and not key.startswith("/") and ".." not in key.split("/"))
tags = st.lists(
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1),
    max_size=3,
    unique=True,
)


def row(key: str, title: str = "A") -> Row:
    return Row(key=key, title=title)


@given(st.lists(st.tuples(keys, texts, tags, texts), max_size=5))
def test_a_csv_comes_back_as_it_was(drawn: list[tuple[str, str, list[str], str]]) -> None:
    rows = [
        Row(key=key, title=title, tags=named, age_rating=12, source=title, rights=rights)
        for key, title, named, rights in drawn
    ]
    back = read(write_csv(rows).encode("utf-8-sig"))
    assert back.problems == ()
    assert [line.names[0] for line in back.lines] == [row_.key for row_ in rows]
    for line, sent in zip(back.lines, rows, strict=True):
        assert line.values["title"] == sent.title
        assert line.values["rights"] == sent.rights
        assert split_tags(line.values["tags"]) == list(sent.tags)


@given(texts)
def test_no_cell_is_a_formula(text: str) -> None:
    for cell in list(csv.reader(io.StringIO(write_csv([row("k", text)]), newline="")))[1]:
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


@given(st.lists(st.tuples(keys, texts), max_size=5), texts)
def test_an_m3u_comes_back_as_it_was(drawn: list[tuple[str, str]], name: str) -> None:
    rows = [row(key, title) for key, title in drawn]
    back = read_m3u(write_m3u(name, rows))
    assert back.problems == ()
    assert back.name == one_line(name)
    assert len(back.lines) == len(rows)
    for line, sent in zip(back.lines, rows, strict=True):
        assert sent.key in line.names
        assert line.values.get("title", "") == one_line(sent.title)


@given(tags)
def test_tags_come_back(named: list[str]) -> None:
    assert split_tags(join_tags(named)) == named


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_with_a_sentence(content: bytes) -> None:
    try:
        read(content)
    except ExchangeError as refusal:
        if not str(refusal):
            pytest.fail("It was refused without a reason.")


M3U = (
    "#EXTM3U\r\n#PLAYLIST:Evening\r\n#EXTINF:61,Night, river\r\nshows/night.mp4\r\n"
    "#EXTVLCOPT:start-time=3\r\n\r\nC:\\Media\\shows\\b.mp4\r\n"
)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_an_m3u_of_windows(mark: str) -> None:
    contents = read((mark + M3U).encode())
    assert contents.is_playlist
    assert contents.name == "Evening"
    first, second = contents.lines
    assert first.names[0] == "shows/night.mp4"
    assert first.values == {"title": "Night, river"}
    assert {"Media/shows/b.mp4", "shows/b.mp4", "b.mp4"} <= set(second.names)
    assert (first.number, second.number) == (4, 7)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("b.mp4", "shows/b.mp4"),
        ("./b.mp4", "b.mp4"),
        ("/mnt/bucket/shows/b.mp4", "shows/b.mp4"),
        ("file:///mnt/bucket/shows/a%20b.mp4", "shows/a b.mp4"),
        ("shows/a%20b.mp4", "shows/a b.mp4"),
        ("https://s3.example.org/films/shows/a%20b.mp4?X-Amz-Signature=1", "shows/a b.mp4"),
    ],
)
def test_candidates_of_a_line(line: str, key: str) -> None:
    contents = read_m3u(f"#EXTM3U\n{line}\n", folder="shows/", host="s3.example.org")
    assert key in contents.lines[0].names


def test_another_hosts_address_is_refused_and_the_rest_is_read() -> None:
    contents = read_m3u("#EXTM3U\nhttps://example.com/a.mp4?token=s3cr3t\nb.mp4\n")
    assert [line.names[0] for line in contents.lines] == ["b.mp4"]
    assert str(contents.problems[0]) == (
        "Line 2: https://example.com/… is on another host: only files of the library can "
        "be played. Upload it first."
    )


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_csv_of_any_spreadsheet(mark: str) -> None:
    text = f"Title{mark}KEY{mark}Shelf\r\nA film{mark}a.mp4{mark}3\r\n{mark}{mark}4\r\n"
    contents = read(text.encode())
    assert not contents.is_playlist
    assert contents.lines[0].names == ("a.mp4",)
    assert contents.lines[0].values == {"title": "A film"}
    assert [str(problem) for problem in contents.problems] == ["Line 3: It has no key."]


def test_a_csv_without_keys_is_refused() -> None:
    with pytest.raises(ExchangeError, match="no column “key”"):
        read_csv("title,tags\nA,b\n")


def test_a_csv_is_safe_for_a_spreadsheet() -> None:
    text = write_csv([Row(key="a.mp4", title="=1+1", tags=["b", "c;d"], seconds=61.5)])
    assert text.splitlines() == [
        ",".join(COLUMNS),
        'a.mp4,\'=1+1,"b;""c;d""",,,,61.500',
    ]
