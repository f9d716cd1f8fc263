"""Point 6: 58 hours over both wraps of MPEG-TS's clock, played as fast as the machine can."""

from __future__ import annotations

import asyncio
import mmap
import threading
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest

from media_library import prepare
from media_library.house import House
from media_library.location import LocalFile, Location
from streams.playout import ledger, process
from streams.playout.ledger import Note, Snapshot
from streams.playout.plan import (
    Assignment,
    ChannelPlan,
    Item,
    Kind,
    Mode,
    OutputPlan,
    Policy,
    Tools,
)
from streams.playout.supervisor import Supervisor
from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.waiting import until
from streamsite.secret import Secret

pytestmark = pytest.mark.slow

#: As few bytes as H.264 and AAC can do with.
TINY = House(96, 64, 25, 10_000, 16_000)
#: Seconds of an item, and how often it plays: 58 hours.
LENGTH = Fraction(1200)
ROUNDS = 174
KEY = "k-soak"


def clip(folder: Path) -> tuple[Path, int]:
    """An item of twenty minutes, prepared as any other."""
    frames = TINY.frames_on_grid(LENGTH)
    sight, sound = prepare.picture(TINY, frames), prepare.audio(TINY, frames, loud=False)
    command = (
        *prepare.head("ffmpeg"),
        *("-f", "lavfi", "-i", f"testsrc=s={TINY.width}x{TINY.height}:r={TINY.fps}"),
        *("-f", "lavfi", "-i", "sine=r=48000"),
        *("-filter_complex", f"[0:v:0]{sight}[v];[1:a:0]{sound}[a]"),
        *("-map", "[v]", "-map", "[a]", *prepare.encoder(TINY)),
    )
    path = folder / "clip.mp4"
    prepare.write(command, TINY, frames, path, tools=prepare.Tools())
    return path, frames


class Book:
    """A ledger in memory: one channel, until told to stop."""

    def __init__(self, assignment: Assignment) -> None:
        self.assignment: Assignment | None = assignment
        self.notes: list[Note] = []
        self.told = (0.0, 0)

    def exchange(
        self, at: float, snapshots: Sequence[Snapshot], notes: Sequence[Note]
    ) -> dict[int, Assignment]:
        self.notes += notes
        self.told = (at, len(snapshots))
        return {} if self.assignment is None else {self.assignment.plan.pk: self.assignment}

    def aired(self) -> int:
        return sum(isinstance(note, ledger.Aired) for note in self.notes)

    def ended(self) -> bool:
        return any(isinstance(note, ledger.RunEnded) for note in self.notes)


def tags(path: Path) -> tuple[dict[int, int], dict[int, list[tuple[int, int]]]]:
    """Last timestamp and odd steps (at, ms) of sound (8) and picture (9) in an FLV file.

    Read by hand: a demuxer in Python takes minutes for fifteen million packets.
    """
    nominal = {8: 1024 / 48, 9: 1000 / TINY.fps}
    last: dict[int, int] = {}
    odd: dict[int, list[tuple[int, int]]] = {8: [], 9: []}
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at, end = 13, len(data)
        while at + 12 < end:
            kind = data[at]
            size = int.from_bytes(data[at + 1 : at + 4])
            # 0 is a sequence header, 2 the end of a sequence: they show nothing.
            if kind in nominal and data[at + 12] == 1:
                when = int.from_bytes(data[at + 7 : at + 8] + data[at + 4 : at + 7])
                if kind in last and abs(when - last[kind] - nominal[kind]) > 1:
                    odd[kind].append((when, when - last[kind]))
                last[kind] = when
            at += 15 + size
    return last, odd


def prune(folder: Path, before: int) -> None:
    """Remove segments that were sent: 58 hours of them are gigabytes."""
    for path in sorted(folder.glob("*.ts"))[:-400]:
        if int(path.stem.rpartition("-")[2]) < before:
            path.unlink()


def test_fifty_eight_hours_end_with_picture_and_sound_in_step(
    server: RtmpServer, tmp_path: Path, ffmpeg: str
) -> None:
    path, frames = clip(tmp_path)
    media = Item("Clip", str(path), Mode.PREPARED, entry=1, frames=frames)
    slate = Item("Slate", str(path), Mode.PREPARED, kind=Kind.SLATE, frames=frames)
    output = OutputPlan(1, "Main", server.address, Secret(KEY), "1")
    book = Book(Assignment(ChannelPlan(1, "soak", TINY, (media,), (output,), slate), run=1))
    policy = Policy(paced=False, segment=30, segments=0, stall=60)

    def locate(item: Item) -> Location:
        return LocalFile(Path(item.key))

    run_dir = tmp_path / "run"
    run_dir.mkdir()
    supervisor = Supervisor(Tools(ffmpeg, run_dir), policy, book, locate)
    thread = threading.Thread(target=lambda: asyncio.run(supervisor.run()))
    thread.start()
    hls = process.channel_folder(run_dir, 1) / "hls"

    def sent() -> float:
        """Hours at the server, as its pusher reports them."""
        channel = supervisor.channels.get(1)
        role = None if channel is None else channel.pushers.roles.get(1)
        seconds = 0.0 if role is None else (role.progress.out_time_us or 0) / 1_000_000
        prune(hls, int(seconds / policy.segment) - 20)
        return seconds / 3600

    try:
        until(lambda: book.aired() > 1, 60, "the first items")
        until(lambda: sent() >= 58, 500, "58 hours are sent")
        book.assignment = None
        until(book.ended, 30, "the run is closed")
    finally:
        supervisor.stop()
        thread.join(10)
        process.stop_everything(run_dir)

    assert server.sessions(KEY) == 1
    last, odd = tags(server.recordings(KEY)[0])
    assert min(last.values()) > 58 * 3_600_000
    assert odd == {8: [], 9: []}
    # Their last frames begin at `last`; each lasts a frame of its kind.
    ends = {8: last[8] + 1024 / 48, 9: last[9] + 1000 / TINY.fps}
    assert abs(ends[8] - ends[9]) < 25
