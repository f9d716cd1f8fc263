"""Tests live feeds read like MediaMTX's, from GStreamer's RTSP server; no database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from streams.playout.contract.ledger import Aired
from streams.playout.contract.live_feed import LOST_S
from streams.playout.contract.plan import OutputPlan
from streams.programme.item import Kind
from streams.tests.bench import clips
from streams.tests.bench.audit import Audit, audit
from streams.tests.bench.clips import TEST_FORMAT, Clip
from streams.tests.bench.engine import Engine, assignment, item
from streams.tests.bench.feeds import GSTREAMER, LiveLedger, RtspFeeds
from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.waiting import until
from streamsite.security.secret import Secret

pytestmark = [
    pytest.mark.slow,
    pytest.mark.measured,
    pytest.mark.skipif(not GSTREAMER.exists(), reason="Debian's gir1.2-gst-rtsp-server-1.0"),
]

KEY = "k-rtsp"
OWNER = 9
VIDEO = {
    "h264": ("-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-b:v", "800k"),
    "h265": (
        *("-c:v", "libx265", "-preset", "ultrafast", "-b:v", "800k"),
        *("-x265-params", "log-level=none:keyint=60:open-gop=0:repeat-headers=1"),
    ),
}
SOUND = {
    "aac": ("-c:a", "aac", "-ar", "44100"),
    "opus": ("-c:a", "libopus", "-ar", "48000"),
    "none": ("-an",),
}


class Air(NamedTuple):
    engine: Engine
    book: LiveLedger
    server: RtmpServer

    def titles(self) -> list[str]:
        notes = list(self.book.notes)
        return [note.turn.item.title for note in notes if isinstance(note, Aired)]

    def until_on(self, title: str, within: float = 30) -> None:
        until(
            lambda: self.engine.alive() and self.titles()[-1:] == [title],
            within,
            f"{title} is on air",
        )

    def audited(self) -> Audit:
        """Audit of the destination's single session."""
        self.engine.end()
        assert self.server.sessions(KEY) == 1
        (recording,) = self.server.recordings(KEY)
        return audit(recording, TEST_FORMAT)


@pytest.fixture
def air(shelf: dict[int, Clip], server: RtmpServer, tmp_path: Path) -> Iterator[Air]:
    """A channel on air that may be taken over."""
    output = OutputPlan(7, "Main", server.address, Secret(KEY), "1")
    made = assignment(shelf[4], slate=shelf[1], outputs=(output,))
    trouble = replace(item(shelf[2], 0), title="Trouble", kind=Kind.SLATE, entry=None)
    book = LiveLedger({1: replace(made, plan=replace(made.plan, trouble=trouble))})
    book.hold = 6
    engine = Engine(tmp_path / "run", book)
    engine.run_dir.mkdir()
    engine.start()
    engine.until_state("on_air", 40)
    yield Air(engine, book, server)
    engine.end()


def show(folder: Path, video: str, sound: str) -> Path:
    path = folder / f"{video}-{sound}.ts"
    encoders = (*VIDEO[video], *SOUND[sound], "-f", "mpegts")
    return clips.raw(path, TEST_FORMAT, OWNER, 60, *encoders)


@pytest.mark.parametrize(("video", "sound"), [("h265", "opus"), ("h264", "none")])
def test_a_feed_goes_on_air_with_any_codecs(
    air: Air, tmp_path: Path, video: str, sound: str
) -> None:
    file = show(tmp_path, video, sound)
    feeds = RtspFeeds(air.book, video, sound)
    owner = feeds.publish(file)
    try:
        air.until_on("Live: Ada")
        on = time.monotonic()
        until(lambda: time.monotonic() - on > 4, 60, "it is on for a while")
        owner.end()
        air.until_on("Clip 4")
    finally:
        owner.end()
        feeds.stop()
    if sound != "none":
        # Before viewers would have seen the announcement. Without audio the feed is read twice
        # unless the ingest server knows the tracks, and GStreamer is slow at that.
        assert "Slate" not in air.titles()
    result = air.audited()
    assert result.errors == []
    assert result.video.longest < 2 * TEST_FORMAT.frame, result.video.anomalies


def test_a_paused_publisher_returns_and_a_killed_one_does_not(air: Air, tmp_path: Path) -> None:
    """Its readers stay for 10 s. Frames they held back when it ended are not shown."""
    file = show(tmp_path, "h264", "aac")
    feeds = RtspFeeds(air.book)
    owner = feeds.publish(file)
    try:
        air.until_on("Live: Ada")
        for _ in range(2):
            owner.freeze()
            air.until_on("Trouble")
            owner.resume()
            air.until_on("Live: Ada")
        owner.kill()
        air.until_on("Clip 4")
        back = len(air.titles())
        gone = time.monotonic()
        until(lambda: time.monotonic() - gone > 2 * LOST_S, 60, "it could have come again")
    finally:
        owner.end()
        feeds.stop()
    assert "Live: Ada" not in air.titles()[back:]
    result = air.audited()
    assert result.errors == []
    assert result.video.longest < 2 * TEST_FORMAT.frame, result.video.anomalies
    assert result.audio.longest < 3 * TEST_FORMAT.frame, result.audio.anomalies


def test_an_unreadable_codec_is_named_and_not_retried(air: Air, tmp_path: Path) -> None:
    feeds = RtspFeeds(air.book, "odd", "aac")
    owner = feeds.publish(show(tmp_path, "h264", "aac"))
    try:
        until(
            lambda: air.book.count_log_lines("can't read its video codec"),
            40,
            "the log reports it",
        )
        channel = air.engine.channel()
        assert channel is not None
        until(lambda: not list(channel.live.roles()), 20, "nobody reads it")
        reported_at = time.monotonic()
        until(
            lambda: time.monotonic() - reported_at > LOST_S,
            60,
            "it could have been tried again",
        )
        assert not list(channel.live.roles())
    finally:
        owner.end()
        feeds.stop()
    # On a busy machine "going live soon" may appear before the codec is known.
    assert set(air.titles()) <= {"Clip 4", "Slate"}
    assert air.book.count_log_lines("Ada: This server") == 1
