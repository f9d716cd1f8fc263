"""Plays hours across the wraps of MPEG-TS's clock, as fast as the machine can.

The clock wraps after 26.5 h. The suite begins half an hour before the first wrap, with shorter
items; deploy/bench.sh begins at nothing and plays across two.
"""

from __future__ import annotations

import asyncio
import mmap
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from media_library.conform import commands, conform
from media_library.house_format import HouseFormat
from streams.playout.channel.channel import Channel
from streams.playout.contract import ledger
from streams.playout.contract.fence import Claims
from streams.playout.contract.ledger import Note, Snapshot
from streams.playout.contract.plan import Assignment, ChannelPlan, OutputPlan, Policy, Tools
from streams.playout.ffmpeg import process
from streams.playout.node.supervisor import Supervisor
from streams.playout.player.machine import State
from streams.playout.player.timeline import Timeline
from streams.programme.item import Item, Kind, Mode
from streams.programme.model import Entry, Programme, Rotation
from streams.tests.bench.engine import FileSources
from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.waiting import until
from streamsite.security.secret import Secret
from streamsite.tests.figures import Figures

pytestmark = [pytest.mark.slow, pytest.mark.measured]

#: The smallest bit rates that H.264 and AAC allow.
TINY = HouseFormat(96, 64, 25, 10_000, 16_000)
KEY = "k-soak"


def clip(folder: Path, minutes: int) -> tuple[Path, int]:
    """A prepared item, black and silent, because that is quick to make."""
    frames = TINY.frames_on_grid(Fraction(minutes) * 60)
    sight, sound = commands.video(TINY, frames), commands.audio(TINY, frames)
    command = (
        *commands.head("ffmpeg"),
        *("-f", "lavfi", "-i", f"color=s={TINY.width}x{TINY.height}:r={TINY.fps}"),
        *commands.silent_input(),
        *("-filter_complex", f"[0:v:0]{sight}[v];[1:a:0]{sound}[a]"),
        *("-map", "[v]", "-map", "[a]", *commands.encoder(TINY)),
    )
    path = folder / "clip.mp4"
    conform.write(command, TINY, frames, path, tools=conform.Tools())
    return path, frames


class MemoryLedger:
    """A ledger in memory with one channel, until it is stopped."""

    def __init__(self, assignment: Assignment) -> None:
        self.assignment: Assignment | None = assignment
        self.notes: list[Note] = []
        self.last_exchange = (0.0, 0)
        self.claims = Claims()

    def exchange(
        self, at: float, snapshots: Sequence[Snapshot], notes: Sequence[Note]
    ) -> dict[int, Assignment]:
        self.notes += notes
        self.last_exchange = (at, len(snapshots))
        return {} if self.assignment is None else {self.assignment.plan.pk: self.assignment}

    def aired(self) -> int:
        return sum(isinstance(note, ledger.Aired) for note in self.notes)

    def ended(self) -> bool:
        return any(isinstance(note, ledger.RunEnded) for note in self.notes)


@dataclass
class Track:
    """One kind of FLV tag: count, first and last timestamp, odd steps (at, step), in ms."""

    frame: float
    count: int = 0
    first: int = 0
    last: int = 0
    odd: list[tuple[int, int]] = field(default_factory=list)

    def take(self, when: int) -> None:
        if not self.count:
            self.first = when
        elif abs(when - self.last - self.frame) > 1:
            self.odd.append((when, when - self.last))
        self.last = when
        self.count += 1

    @property
    def begin(self) -> float:
        """Its start, calculated back from its end by its frames."""
        return self.last - (self.count - 1) * self.frame


def tracks(path: Path) -> tuple[Track, Track]:
    """Video and audio of an FLV file.

    Parsed by hand: a demuxer in Python takes minutes for fifteen million packets.
    """
    sound, picture = Track(1024 / 48), Track(1000 / TINY.fps)
    kinds = {8: sound, 9: picture}
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at, end = 13, len(data)
        while at + 12 < end:
            # 0 is a sequence header, 2 the end of a sequence: neither shows anything.
            if data[at] in kinds and data[at + 12] == 1:
                when = int.from_bytes(data[at + 7 : at + 8] + data[at + 4 : at + 7])
                kinds[data[at]].take(when)
            at += 15 + int.from_bytes(data[at + 1 : at + 4])
    return picture, sound


def test_hours_of_playout_end_with_video_and_audio_in_sync(
    server: RtmpServer,
    tmp_path: Path,
    ffmpeg: str,
    figures: Figures,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hours, minutes = 58.0, 20
    if not figures.exact:
        hours, minutes = 1.2, 5
        begun = State(timeline=Timeline(head=Fraction(26) * 3600))
        monkeypatch.setattr("streams.playout.player.playback.State", lambda: begun)
    path, frames = clip(tmp_path, minutes)
    media = Item("Clip", str(path), Mode.PREPARED, entry=1, frames=frames)
    slate = Item("Slate", str(path), Mode.PREPARED, kind=Kind.SLATE, frames=frames)
    output = OutputPlan(1, "Main", server.address, Secret(KEY), "1")
    loop = Rotation((Entry(media, TINY.seconds(frames)),))
    plan = ChannelPlan(1, "soak", TINY, Programme(loop, ZoneInfo("UTC")), (output,), slate)
    book = MemoryLedger(Assignment(plan, run=1))
    # The pusher waits for a segment's length when it has sent everything; meanwhile the hub
    # gets hours ahead, so the window holds 22 of them.
    policy = Policy(paced=False, segment=20, segments=4000, stall=60)

    run_dir = tmp_path / "run"
    run_dir.mkdir()
    supervisor = Supervisor(Tools(ffmpeg, run_dir), policy, book, FileSources())
    thread = threading.Thread(target=lambda: asyncio.run(supervisor.run()))
    thread.start()

    def sent() -> float:
        """Hours received by the server, as its pusher reports them."""
        channel = supervisor.channels.get(1)
        role = channel.pushers.roles.get(1) if isinstance(channel, Channel) else None
        seconds = 0.0 if role is None else (role.progress.out_time_us or 0) / 1_000_000
        return seconds / 3600

    try:
        until(lambda: book.aired() > 1, 60, "the first items")
        until(lambda: sent() >= hours, 500, f"{hours} hours are sent")
        book.assignment = None
        until(book.ended, 30, "the run is closed")
    finally:
        supervisor.stop()
        thread.join(10)
        process.stop_everything(run_dir)

    assert server.sessions(KEY) == 1
    picture, sound = tracks(server.recordings(KEY)[0])
    assert min(picture.last, sound.last) > hours * 3_600_000
    assert (picture.odd, sound.odd) == ([], [])
    # The end is a cut during playout, where one of them is ahead in the interleaving. So each
    # is compared with its own frame count, from their common start.
    assert abs(picture.first - sound.first) < 25
    assert abs(picture.begin - sound.begin) < 25
