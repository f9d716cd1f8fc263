"""The pipe: what waits in it is taken out from the front, or cut behind a beginning."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.playout.feed import LARGEST, Feed


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[Feed]:
    made = Feed.open(tmp_path / "feed.fifo", LARGEST)
    yield made
    made.close()


def test_the_front_is_skipped_and_the_rest_stays(feed: Feed) -> None:
    os.write(feed.fd, b"old" * 50_000 + b"new")
    assert feed.skip(lambda data: data.index(b"new"))
    assert feed.peek() == b"new"
    assert not feed.skip(lambda _: None)
    assert feed.peek() == b"new"


def test_nothing_is_waited_for_in_an_empty_pipe(feed: Feed) -> None:
    assert feed.skip(len)
    assert feed.shorten(lambda data: data) == b""


@pytest.mark.parametrize("size", [1, 4096, 300_000, LARGEST])
def test_what_is_kept_is_what_is_read_next(feed: Feed, size: int) -> None:
    data = bytes(number % 251 for number in range(size))
    os.write(feed.fd, data)
    kept = feed.shorten(lambda waiting: waiting[: size // 2])
    assert kept == data[: size // 2]
    assert feed.peek() == kept
    assert feed.level() == size // 2
