"""The difference of two sorted lists in one merge, compared with a comparison of two sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_library.models.titles import title_of
from media_library.storage.keys import GROWING, is_left_out, is_media
from media_library.storage.list_objects import Listed
from media_library.sync.diff import Row, Verdict, compare, deletion_guard

#: Few letters, so that both sides meet; the last two have another order in UTF-16 than in
#: UTF-8.
NAMES = st.text("a/é\uffee😀", min_size=1, max_size=4)
LISTED = st.dictionaries(NAMES, st.sampled_from(["e1", "e2"]))
ROWS = st.dictionaries(
    NAMES, st.tuples(st.sampled_from(["e1", "e2"]), st.integers(0, 2), st.booleans())
)


def in_bytes(names: dict[str, object]) -> list[str]:
    return sorted(names, key=str.encode)


@given(LISTED, ROWS)
def test_every_key_gets_one_correct_verdict_in_order(
    listed: dict[str, str], noted: dict[str, tuple[str, int, bool]]
) -> None:
    objects = [Listed(key, 1, listed[key]) for key in in_bytes(dict(listed))]
    rows = [
        Row(key, etag, 1, number, misses, missing)
        for number, key in enumerate(in_bytes(dict(noted)))
        for etag, misses, missing in [noted[key]]
    ]
    verdicts = list(compare(objects, rows))
    keys = [side.key for _, listed, row in verdicts if (side := listed or row)]
    assert keys == in_bytes(dict.fromkeys([*listed, *noted]))
    for key, (verdict, _, _) in zip(keys, verdicts, strict=True):
        assert verdict is expected(key, listed, noted)


def expected(
    key: str, listed: dict[str, str], noted: dict[str, tuple[str, int, bool]]
) -> Verdict:
    if key not in noted:
        return Verdict.ADDED
    etag, misses, missing = noted[key]
    if key not in listed:
        return Verdict.MISSING if missing else Verdict.ABSENT
    if listed[key] != etag:
        return Verdict.CHANGED
    return Verdict.BACK if misses or missing else Verdict.SAME


@given(st.lists(st.text(max_size=5)))
def test_strings_sort_as_their_bytes_do(names: list[str]) -> None:
    assert sorted(names) == sorted(names, key=lambda name: name.encode(errors="surrogatepass"))


def test_another_size_is_another_content() -> None:
    row = Row("a", "e", 1, 1, 0, missing=False)
    assert next(compare([Listed("a", 2, "e")], [row]))[0] is Verdict.CHANGED
    assert next(compare([Listed("a", 1, "e")], [row]))[0] is Verdict.SAME
    # Never inspected yet.
    assert (
        next(compare([Listed("a", 1, "e")], [row._replace(size_bytes=None)]))[0]
        is Verdict.CHANGED
    )


@pytest.mark.parametrize(
    ("seen", "items_before", "absent", "words"),
    [
        (0, 0, 0, ""),
        (9, 0, 0, ""),
        (100, 100, 20, ""),
        (
            100,
            100,
            21,
            "21 of 100 items are not in the storage any more, which is more than 20%",
        ),
        (0, 5, 5, "The storage lists no object, but the library has 5 items"),
        (3, 1, 1, "1 of 1 items"),
    ],
)
def test_the_deletion_guard(seen: int, items_before: int, absent: int, words: str) -> None:
    fault = deletion_guard(seen=seen, items_before=items_before, absent=absent)
    assert fault.startswith(words)
    assert bool(fault) == bool(words)
    assert not fault or "--accept, or" in fault


@pytest.mark.parametrize(
    ("items_before", "changed", "stops"),
    [
        (1300, 1300, True),
        (100, 21, True),
        (100, 20, False),
        # Few changes in a small library are allowed: they are replacements.
        (5, 5, False),
        (19, 19, False),
        (0, 50, False),
    ],
)
def test_the_deletion_guard_detects_a_mass_change(
    items_before: int, changed: int, *, stops: bool
) -> None:
    fault = deletion_guard(
        seen=items_before, items_before=items_before, absent=0, changed=changed
    )
    assert bool(fault) is stops
    assert not stops or fault.startswith(
        f"{changed} of {items_before} items have another version"
    )


@pytest.mark.parametrize(
    ("key", "left_out"),
    [
        ("._x.mp4", True),
        (".hidden", True),
        ("shows/._x.mp4", True),
        (".Trash-1000/files/x.mp4", True),
        ("films/@eaDir/x.mp4/SYNO.mp4", True),
        ("#recycle/x.mp4", True),
        ("lost+found/x.mp4", True),
        (".stversions/x.mp4", True),
        ("$RECYCLE.BIN/S-1-5/x.mp4", True),
        ("System Volume Information/x.mp4", True),
        ("films/", False),
        ("films/x.mp4", False),
        ("a.b/x..mp4", False),
        ("recycle/lost and found.mp4", False),
        ("#1/@home/$100.mp4", False),
        # Invalid names are handled elsewhere.
        ("a/../b.mp4", False),
    ],
)
def test_hidden_files_and_trash_are_skipped(key: str, *, left_out: bool) -> None:
    assert is_left_out(key) is left_out


def test_a_growing_file_waits_and_keeps_its_row() -> None:
    new = Listed("a.mp4", 10, "e1", GROWING)
    old = Listed("b.mp4", 10, "e2", GROWING)
    row = Row("b.mp4", "e1", 9, 7, 0, missing=False)
    verdicts = list(compare([new, old], [row]))
    assert verdicts == [(Verdict.WAITING, new, None), (Verdict.WAITING, old, row)]
    # A file that was only touched a moment ago is unchanged.
    same = row._replace(etag="e2", size_bytes=10)
    assert list(compare([old], [same])) == [(Verdict.SAME, old, same)]


@pytest.mark.parametrize(
    ("key", "title"),
    [
        ("shows/a_fine-day.part.1.mp4", "a fine day part 1"),
        ("plain", "plain"),
        (".hidden", "hidden"),
        ("x/___.mp4", "___.mp4"),
        ("кино/Серия_1.mkv", "Серия 1"),
        ("a" * 300 + ".mp4", "a" * 255),
    ],
)
def test_a_title_is_made_of_the_files_name(key: str, title: str) -> None:
    assert title_of(key) == title


@pytest.mark.parametrize(
    ("key", "media"),
    [("a.mp4", True), ("a.MP4", True), ("mp4", False), ("a.mp4/b", False), ("a.txt", False)],
)
def test_media_is_recognised_by_its_extension(key: str, *, media: bool) -> None:
    assert is_media(key, frozenset({"mp4"})) is media
