"""Conformers: signs of life, and what they learn about the feed.

FFmpeg is replaced by a shell script that repeats real output.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from media_library.house_format import HouseFormat
from streams.playout.contract.live_feed import LOST_S, LiveFeed
from streams.playout.contract.moment import Now
from streams.playout.contract.plan import Tools
from streams.playout.ffmpeg import process
from streams.playout.ffmpeg.pipe import MAX_PIPE_BYTES, FeedPipe
from streams.playout.journal.journal import Journal
from streams.playout.takeover.conformer import Reader
from streams.programme.item import Mode
from streams.tests.bench.waiting import until
from streamsite.security.secret import Secret

ADA = LiveFeed(1, 10, "Ada", Secret("rtsp://127.0.0.1/live/ada"), requested_at=0)


class ReaderBench:
    """A reader with a controlled clock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "ffmpeg"
        self.runs("exec sleep 60")
        self.report = Journal(1, "demo", 1, ())
        pipe = FeedPipe.open(folder / "live.fifo", MAX_PIPE_BYTES)
        self.reader = Reader(Mode.TRANSCODE, pipe, moved=0)
        self.now = 100.0

    def runs(self, script: str) -> None:
        self.program.write_text(f"#!/bin/sh\n{script}\n")
        self.program.chmod(0o755)

    def start(self, feed: LiveFeed = ADA) -> None:
        tools = Tools(str(self.program), self.folder)
        self.reader.start(tools, self.folder, "conformer-1", feed, HouseFormat(), self.now)

    def read(self, passed: float = 0.25) -> None:
        self.now += passed
        self.reader.read(self.folder, self.report, Now(self.now, self.now))

    def gives(self, data: bytes, frames: int, counted: str = "frame") -> None:
        """Simulate output of FFmpeg, and its report."""
        role = self.reader.role
        assert role is not None
        os.write(self.reader.pipe.fd, data)
        with process.progress_socket() as sock:
            port = role.process.record.port
            report = f"{counted}={frames}\nprogress=continue\n"
            sock.sendto(report.encode(), ("127.0.0.1", port))

    def until_gone(self) -> None:
        role = self.reader.role
        assert role is not None
        until(role.process.exited, 30, "it is gone")


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[ReaderBench]:
    made = ReaderBench(tmp_path)
    yield made
    until(lambda: made.reader.end(tmp_path, time.monotonic()), 30, "it is ended")
    made.reader.close()


def test_arriving_video_is_a_sign_of_life(bed: ReaderBench, stream: bytes) -> None:
    bed.start()
    bed.read()
    assert (bed.reader.alive, bed.reader.moved) == (False, 0)
    bed.gives(stream, 30)
    bed.read()
    assert bed.reader.alive
    assert (bed.reader.moved, bed.reader.since) == (bed.now, bed.now)
    began = bed.now
    bed.gives(stream, 60)
    bed.read()
    assert (bed.reader.moved, bed.reader.since) == (bed.now, began)


@pytest.mark.parametrize("counted", ["frame", "out_time_us"])
def test_a_copying_reader_is_alive_by_either_count(
    bed: ReaderBench, stream: bytes, counted: str
) -> None:
    """FFmpeg 6.1 does not count copied frames."""
    bed.reader.mode = Mode.COPY
    bed.start()
    bed.gives(stream, 1_000_000, counted)
    bed.read()
    assert (bed.reader.alive, bed.reader.moved) == (True, bed.now)
    bed.gives(b"", 1_000_000, counted)
    bed.read(LOST_S)
    assert bed.reader.moved == bed.now - LOST_S


def test_output_at_the_end_is_no_sign_of_life(bed: ReaderBench, stream: bytes) -> None:
    bed.start()
    bed.gives(stream, 30)
    bed.read()
    moved = bed.reader.moved
    bed.gives(stream, 45)
    role = bed.reader.role
    assert role is not None
    role.kill(bed.now)
    bed.until_gone()
    bed.read(10)
    assert (bed.reader.alive, bed.reader.moved) == (False, moved)


def test_audio_alone_is_no_sign_of_life(bed: ReaderBench, stream: bytes) -> None:
    """For a feed without audio, the added silence continues when the video stops."""
    bed.start(replace(ADA, has_audio=False))
    bed.gives(stream, 30)
    bed.read()
    moved = bed.reader.moved
    bed.gives(b"", 30)
    bed.read(LOST_S)
    assert bed.reader.moved == moved


def test_after_a_gap_a_relay_starts_with_later_video(bed: ReaderBench, stream: bytes) -> None:
    bed.start()
    bed.gives(stream, 30)
    bed.read()
    bed.read(LOST_S + 1)
    bed.gives(b"", 31)
    bed.read()
    assert not bed.reader.alive
    assert bed.reader.pipe.waiting_bytes() == 0
    bed.gives(stream, 90)
    bed.read()
    assert bed.reader.alive


@pytest.mark.parametrize("named", ["0:a:0", ""])
def test_a_feed_without_audio_gets_silence_at_once(bed: ReaderBench, named: str) -> None:
    bed.runs(f"echo \"[fatal] Stream map '{named}' matches no streams.\" >&2; exit 1")
    bed.start()
    bed.until_gone()
    bed.read()
    assert bed.reader.silent
    assert not bed.reader.fault
    bed.runs('echo "$@" >args; exec sleep 60'.replace("args", str(bed.folder / "args")))
    bed.start(replace(ADA, has_audio=False))
    assert bed.reader.role is not None
    until((bed.folder / "args").exists, 30, "it is started")
    until(lambda: "anullsrc" in (bed.folder / "args").read_text(), 30, "with silence")


def test_a_feed_whose_tracks_are_reported_late_is_restarted_without_audio(
    bed: ReaderBench,
) -> None:
    """By RTMP it searches for audio for five seconds."""
    bed.start()
    bed.start(replace(ADA, has_audio=False))
    bed.until_gone()
    bed.read()
    bed.start(replace(ADA, has_audio=False))
    assert bed.reader.role is not None


def test_an_unreadable_feed_is_not_retried(bed: ReaderBench) -> None:
    bed.runs('echo "Decoder (codec av1) not found for input stream #0:0" >&2; exit 1')
    bed.start()
    bed.until_gone()
    bed.read()
    assert "(av1)" in bed.reader.fault
    bed.now += 3600
    bed.start()
    assert bed.reader.role is None


def test_a_broken_feed_is_retried_after_a_pause(bed: ReaderBench) -> None:
    bed.runs('echo "[error] /dev/fd/3: Connection refused" >&2; exit 1')
    bed.start()
    bed.until_gone()
    bed.read()
    assert (bed.reader.fault, bed.reader.silent) == ("", False)
    bed.start()
    assert bed.reader.role is None
    bed.now += 10
    bed.start()
    assert bed.reader.role is not None
