"""Items that end while no supervisor is running: the next players are already queued."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from media_library.location import LocalFile
from streams.playout.contract.plan import Tools
from streams.playout.contract.turn import Turn
from streams.playout.ffmpeg import commands, process
from streams.playout.ffmpeg.pipe import FeedPipe
from streams.playout.ffmpeg.process import Process
from streams.playout.player import launcher
from streams.playout.player.launcher import Launcher, frames_of
from streams.playout.player.timeline import Slot
from streams.programme.item import Item, Kind, Mode
from streams.tests.bench import clips
from streams.tests.bench.clips import TEST_FORMAT, Clip
from streams.tests.bench.engine import FileSources, item, programme
from streams.tests.bench.restarts import KEY, Away
from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.waiting import until

#: An uptime in the past.
AT_ONCE = 0
#: Maximum bytes between player and hub.
PIPE = 1 << 20


# ---- items that may be followed


@pytest.mark.parametrize(
    ("change", "frames"),
    [
        ({}, 64),
        ({"kind": Kind.FILLER}, 64),
        # A stand-in may no longer be needed at its end; a feed has no length.
        ({"kind": Kind.SLATE}, None),
        ({"kind": Kind.LIVE, "mode": Mode.COPY, "frames": None}, None),
        ({"mode": Mode.COPY, "frames": None}, None),
        ({"mode": Mode.TRANSCODE, "frames": None}, None),
    ],
)
def test_only_an_exact_end_can_be_waited_for(
    change: dict[str, object], frames: int | None
) -> None:
    made = Item("A", "a", Mode.PREPARED, frames=64)
    assert frames_of(Turn(replace(made, **change)), TEST_FORMAT) == frames  # type: ignore[arg-type]  # fields of any type, or wrong on purpose


@pytest.mark.parametrize(
    ("into", "limit", "frames"),
    [
        (Fraction(0), Fraction(1), 30),
        (Fraction(2), None, 4),
        # Up to a moment between two frames, both are sent.
        (Fraction(0), Fraction(61, 60), 31),
    ],
)
def test_the_frame_count_of_a_part(into: Fraction, limit: Fraction | None, frames: int) -> None:
    turn = Turn(Item("A", "a", Mode.PREPARED, frames=64), into=into, limit=limit)
    assert frames_of(turn, TEST_FORMAT) == frames


# ---- waiting


@pytest.fixture
def starter(tmp_path: Path, ffmpeg: str) -> Iterator[Launcher]:
    feed = FeedPipe.open(tmp_path / "feed.fifo", PIPE)
    yield Launcher(Tools(ffmpeg, tmp_path), tmp_path, feed, FileSources())
    feed.close()


@pytest.fixture
def started() -> Iterator[list[Process]]:
    processes: list[Process] = []
    yield processes
    for child in processes:
        child.signal(signal.SIGKILL)
        until(child.exited, 30, "it is gone")
        child.close()


def of(clip: Clip) -> Turn:
    return Turn(item(clip, 1))


def test_a_queued_player_starts_when_the_previous_one_has_ended_whole(
    starter: Launcher, started: list[Process], shelf: dict[int, Clip]
) -> None:
    first = starter.player(Slot(of(shelf[1]), Fraction(10)), TEST_FORMAT)
    second = starter.behind(first, Slot(of(shelf[1]), Fraction(12)), TEST_FORMAT, AT_ONCE)
    started += [first, second]
    until(first.exited, 30, "the first has ended")
    assert first.code() == 0
    whole = starter.feed.waiting_bytes()
    until(lambda: not launcher.waits(second.pid), 30, "the second has begun")
    until(lambda: starter.feed.waiting_bytes() > whole, 30, "the second is fed")


def test_a_queued_player_ends_when_the_previous_one_is_killed(
    starter: Launcher, started: list[Process], shelf: dict[int, Clip]
) -> None:
    # Longer than the pipe, so it can't have ended.
    first = starter.player(Slot(of(shelf[4]), Fraction(10)), TEST_FORMAT)
    second = starter.behind(first, Slot(of(shelf[1]), Fraction(35)), TEST_FORMAT, AT_ONCE)
    third = starter.behind(second, Slot(of(shelf[1]), Fraction(37)), TEST_FORMAT, AT_ONCE)
    started += [first, second, third]
    until(starter.feed.waiting_bytes, 30, "the first plays")
    assert launcher.waits(second.pid)
    first.signal(signal.SIGKILL)
    until(lambda: second.exited() and third.exited(), 30, "none waits")
    assert (second.code(), third.code()) == (
        commands.GATE_SHUT_STATUS,
        commands.GATE_SHUT_STATUS,
    )


def test_a_queued_player_ends_when_the_previous_one_breaks_off(
    starter: Launcher, started: list[Process], shelf: dict[int, Clip], tmp_path: Path
) -> None:
    """FFmpeg exits with 0 if a file is shorter than it should be."""
    turn = of(shelf[1])
    longer = replace(turn, item=replace(turn.item, frames=shelf[1].frames + 16))
    first = starter.player(Slot(longer, Fraction(10)), TEST_FORMAT)
    second = starter.behind(first, Slot(turn, Fraction(13)), TEST_FORMAT, AT_ONCE)
    started += [first, second]
    until(second.exited, 30, "none waits")
    assert (first.code(), second.code()) == (0, commands.GATE_SHUT_STATUS)


def test_a_player_that_was_just_started_counts_as_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel shows no arguments of a process whose program it is just loading."""
    monkeypatch.setattr(launcher, "_arguments", lambda _pid: [b""])
    child = subprocess.Popen(("sleep", "60"))
    assert launcher.waits(child.pid)
    child.kill()
    until(lambda: not launcher.waits(child.pid), 30, "it is gone, though nobody has its status")
    child.wait()


def test_a_player_queued_too_late_does_not_wait(
    starter: Launcher, started: list[Process], shelf: dict[int, Clip]
) -> None:
    first = starter.player(Slot(of(shelf[1]), Fraction(10)), TEST_FORMAT)
    started.append(first)
    until(first.exited, 30, "the first has ended")
    second = starter.behind(first, Slot(of(shelf[1]), Fraction(12)), TEST_FORMAT, AT_ONCE)
    started.append(second)
    until(second.exited, 30, "it does not wait")
    assert second.code() == commands.GATE_SHUT_STATUS


def test_an_item_of_low_bit_rate_is_followed_on_time(
    starter: Launcher, started: list[Process], shelf: dict[int, Clip]
) -> None:
    first = starter.player(Slot(of(shelf[1]), Fraction(10)), TEST_FORMAT)
    begin = int(launcher.uptime()) + 5
    second = starter.behind(first, Slot(of(shelf[1]), Fraction(12)), TEST_FORMAT, begin)
    started += [first, second]
    until(lambda: not launcher.waits(second.pid), 60, "the second has begun")
    assert launcher.uptime() >= begin


def test_a_signed_url_is_not_visible(shelf: dict[int, Clip]) -> None:
    """A queued player shows its final command line, which contains no secret."""
    turn = of(shelf[1])
    place = LocalFile(shelf[1].path)
    command = commands.player("ffmpeg", 1, turn, place, TEST_FORMAT, Fraction(10))
    waiting = commands.waiting(commands.witnessed(command, turn, 7, 64), AT_ONCE)
    assert waiting[3:6] == (commands.WAITING_SHELL, "0", "ffmpeg")
    assert waiting[-2:] == ("framecrc", "pipe:7")
    assert command == waiting[5 : 5 + len(command)]


# ---- on air


@pytest.fixture
def away(tmp_path: Path, server: RtmpServer, shelf: dict[int, Clip]) -> Iterator[Away]:
    # Longer than the pipe's contents: an item fed completely before it was on air is unknown to
    # the next supervisor.
    lengths = {1: 4.3, 2: 5.0, 3: 4.7}
    made = Away.of(
        tmp_path,
        server,
        *(clips.prepared(tmp_path, number, seconds) for number, seconds in lengths.items()),
        slate=shelf[4],
    )
    yield made
    made.engine.end()


def waiting(away: Away) -> int:
    channel = away.engine.channel()
    return 0 if channel is None else len(channel.playback.queue.waiting)


@pytest.mark.slow
def test_the_absence_of_a_supervisor_while_items_end_leaves_no_trace(away: Away) -> None:
    """Once before an item ends, once after one has started: no step, nothing missing."""
    away.start()
    for near in (True, False):
        until(lambda: waiting(away) >= 4, 60, "some items wait")
        until(lambda near=near: (away.left() < 3.2) is near, 60, "the moment")  # type: ignore[misc]  # mypy infers no default of a lambda
        away.engine.leave()
        time.sleep(10)  # the absence: two items end in it
        away.restart()
    until(lambda: waiting(away) >= 4, 60, "the queue is filled again")
    away.stop()
    assert away.server.sessions(KEY) == 1
    away.audited().assert_unbroken()
    aired = away.aired()
    assert away.book.incidents() == set()
    assert aired == [f"Clip {number % 3 + 1}" for number in range(len(aired))]


@pytest.mark.slow
def test_queued_players_are_revoked_by_a_skip_and_by_a_new_programme(
    away: Away, shelf: dict[int, Clip]
) -> None:
    away.start()
    until(lambda: waiting(away) >= 4, 60, "some items wait")
    before = {p.pid for p in process.records(away.engine.run_dir / "channel-1")}
    plan = away.book.assignments[1].plan
    other = programme(replace(item(shelf[4], 9), title="Other"))
    away.book.assignments[1] = replace(
        away.book.assignments[1], plan=replace(plan, programme=other), skips=1
    )
    until(lambda: "Other" in away.aired(), 60, "the other programme is on")
    until(lambda: waiting(away) >= 1, 60, "another one waits")
    # The players queued for the old programme are gone and have not played.
    kept = {p.pid for p in process.records(away.engine.run_dir / "channel-1")}
    assert len(before & kept) <= 2, "hub and pusher"
    away.stop()
    aired = away.aired()
    assert aired[aired.index("Other") :] == ["Other"] * (len(aired) - aired.index("Other"))
    away.audited().assert_unbroken()


def quiet(folder: Path, number: int, seconds: float) -> Clip:
    """A still image of few bytes: the pipe takes it completely at once."""
    house_format = replace(TEST_FORMAT, video_bitrate=100_000, audio_bitrate=64_000)
    source = folder / f"quiet-{number}.mkv"
    clips.run(
        *(
            "-f",
            "lavfi",
            "-i",
            f"color=c=gray:s={TEST_FORMAT.width}x{TEST_FORMAT.height}:r={TEST_FORMAT.fps}",
        ),
        *("-f", "lavfi", "-i", "anullsrc=r=48000:cl=stereo", "-t", str(seconds)),
        *("-c:v", "libx264", "-preset", "ultrafast", "-c:a", "pcm_s16le", f"file:{source}"),
    )
    clip = clips.conformed(source, number, house_format)
    assert clip.path.stat().st_size < PIPE / 2
    return clip


@pytest.mark.slow
def test_items_of_low_bit_rate_are_followed_whenever_the_supervisor_leaves(
    tmp_path: Path, server: RtmpServer, shelf: dict[int, Clip]
) -> None:
    """Fed completely at once, the player ends seconds before the next one's time."""
    lengths = {1: 7.0, 2: 8.0, 3: 9.0}
    made = [quiet(tmp_path, number, seconds) for number, seconds in lengths.items()]
    away = Away.of(tmp_path, server, *made, slate=shelf[2])
    try:
        away.start()
        for _ in range(3):
            # The player has ended, and the next one waits for its time.
            until(lambda: waiting(away) >= 2 and between(away), 60, "a quiet item is on air")
            away.engine.leave()
            time.sleep(1)  # too short for the item's end
            away.restart()
            away.engine.leave()
            away.restart()
            away.engine.leave()
            time.sleep(12)  # an item or two end in it
            away.restart()
        away.stop()
        assert server.sessions(KEY) == 1
        away.audited().assert_unbroken()
        assert away.book.incidents() == set()
    finally:
        away.engine.end()


def between(away: Away) -> bool:
    channel = away.engine.channel()
    player = None if channel is None else channel.playback.player
    return player is None or player.process.exited()
