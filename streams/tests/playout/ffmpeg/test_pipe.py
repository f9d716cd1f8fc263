"""The pipe: skipping its front, or cutting everything behind a beginning."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from media_library.house_format import HouseFormat
from streams.playout.contract.plan import Tools
from streams.playout.contract.turn import TAKEOVER, Turn
from streams.playout.ffmpeg import commands, process
from streams.playout.ffmpeg.capability import abilities
from streams.playout.ffmpeg.monitored_process import MonitoredProcess
from streams.playout.ffmpeg.pipe import MAX_PIPE_BYTES, FeedPipe
from streams.playout.ffmpeg.progress import Progress
from streams.playout.player.splice import AUDIO_FRAME, end_of, observe_end
from streams.playout.player.timeline import Slot, on_frame
from streams.programme.item import Item, Kind, Mode
from streams.tests.bench import clips
from streams.tests.bench.waiting import until


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[FeedPipe]:
    made = FeedPipe.open(tmp_path / "feed.fifo", MAX_PIPE_BYTES)
    yield made
    made.close()


def test_the_front_is_skipped_and_the_rest_stays(feed: FeedPipe) -> None:
    os.write(feed.fd, b"old" * 50_000 + b"new")
    assert feed.skip(lambda data: data.index(b"new"))
    assert feed.peek() == b"new"
    assert not feed.skip(lambda _: None)
    assert feed.peek() == b"new"


def test_data_taken_by_another_reader_is_not_waited_for(feed: FeedPipe) -> None:
    os.write(feed.fd, b"old")
    assert not feed.skip(lambda data: 2 * len(data))
    assert feed.waiting_bytes() == 0


def test_nothing_is_waited_for_in_an_empty_pipe(feed: FeedPipe) -> None:
    assert feed.skip(len)
    assert feed.cut(lambda data: data) == b""


@pytest.mark.parametrize("size", [1, 4096, 300_000, MAX_PIPE_BYTES])
def test_the_kept_data_is_read_next(feed: FeedPipe, size: int) -> None:
    data = bytes(number % 251 for number in range(size))
    os.write(feed.fd, data)
    kept = feed.cut(lambda waiting: waiting[: size // 2])
    assert kept == data[: size // 2]
    assert feed.peek() == kept
    assert feed.waiting_bytes() == size // 2


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[MonitoredProcess]:
    """Represents a killed relay: only its reports matter here."""
    tools = Tools("sleep", tmp_path)
    started = process.spawn(tools, tmp_path, process.PLAYER, lambda _: ("sleep", "60"))
    made = MonitoredProcess(started, now=0)
    made.kill(0)
    until(made.process.exited, 60, "it is gone")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("reported", "sent"),
    [
        # The hub has been waiting for data.
        (5_010_000, Fraction(60)),
        # The reported data is waiting at the hub.
        (5_010_000, Fraction(14)),
        (5_010_000, None),
    ],
)
def test_a_killed_relay_whose_pipe_is_empty_ends_where_it_reported_last(
    feed: FeedPipe, relay: MonitoredProcess, reported: int, sent: Fraction | None
) -> None:
    """A later end would leave a gap, an earlier one would repeat timestamps."""
    slot = Slot(Turn(Item("Live", "live-1", Mode.TRANSCODE, Kind.LIVE), TAKEOVER), Fraction(10))
    relay.written = reported
    # Video whose audio never arrived: it is still in the muxer.
    relay.progress = Progress(out_time_us=reported + 500_000)
    # The first whole frame after the reported end, less an audio frame that may be missing.
    end = slot.start + on_frame(Fraction("5.01") - AUDIO_FRAME, HouseFormat().frame)
    assert end_of(feed, slot, relay, HouseFormat(), sent=sent) == end


def test_a_relays_end_stays_valid_once_observed_in_the_pipe(
    feed: FeedPipe, relay: MonitoredProcess, stream: bytes
) -> None:
    """Its last report is still valid, because nothing was written since."""
    slot = Slot(Turn(Item("Live", "live-1", Mode.TRANSCODE, Kind.LIVE), TAKEOVER), Fraction(9))
    relay.written, relay.progress = 5_000_000, Progress(out_time_us=3_500_000, total_size=900)
    assert observe_end(feed, slot, relay, HouseFormat()) is None
    os.write(feed.fd, stream)
    seen = observe_end(feed, slot, relay, HouseFormat())
    # Two seconds, starting at the tenth.
    assert seen is not None
    assert abs(seen.end - 12) < HouseFormat().frame
    assert feed.skip(len)
    assert end_of(feed, slot, relay, HouseFormat(), seen=seen) == seen.end
    relay.progress = Progress(out_time_us=3_600_000, total_size=901)
    assert end_of(feed, slot, relay, HouseFormat(), seen=seen) > slot.start + 4


@pytest.mark.slow
@pytest.mark.usefixtures("ffmpeg")
def test_a_relay_reports_a_burst_up_to_its_end(feed: FeedPipe, tmp_path: Path) -> None:
    """As when a conformer ends and outputs held-back frames: nothing follows them."""
    video = tmp_path / "video.ts"
    sound = ("-c:a", "aac", "-ar", "48000", "-f", "mpegts")
    clips.raw(video, clips.TEST_FORMAT, 5, 3, "-c:v", "libx264", "-tune", "zerolatency", *sound)
    source = FeedPipe.open(tmp_path / "live.fifo", MAX_PIPE_BYTES)
    by_clock = abilities("ffmpeg").by_clock
    role = MonitoredProcess(
        process.spawn(
            Tools("ffmpeg", tmp_path),
            tmp_path,
            process.PLAYER,
            lambda port: commands.relay(
                "ffmpeg", port, clips.TEST_FORMAT, Fraction(0), by_clock=by_clock
            ),
            stdin=source.fd,
            stdout=feed.fd,
        ),
        now=0,
    )
    try:
        assert source.write_now(video.read_bytes())

        def end() -> bool:
            role.read(0)
            return (role.progress.out_time_us or 0) > 2_900_000

        until(end, 20, "its last frames are reported")
    finally:
        role.kill(0)
        until(role.process.exited, 60, "it is gone")
        role.close()
        source.close()


def test_a_killed_relay_without_output_leaves_no_slot(
    feed: FeedPipe, relay: MonitoredProcess
) -> None:
    slot = Slot(Turn(Item("Live", "live-1", Mode.TRANSCODE, Kind.LIVE), TAKEOVER), Fraction(10))
    assert end_of(feed, slot, relay, HouseFormat(), sent=Fraction(12)) == slot.start
