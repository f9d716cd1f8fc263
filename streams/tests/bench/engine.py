"""The engine alone: a supervisor with real FFmpeg and a ledger in memory."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

from media_library.location import LocalFile, Location
from streams.playout.channel.channel import Channel
from streams.playout.contract.engine import Engine as Opened
from streams.playout.contract.fence import FILE, Claims, Fence
from streams.playout.contract.ledger import (
    IncidentClosed,
    IncidentOpened,
    Logged,
    Note,
    Released,
    RunEnded,
    Snapshot,
)
from streams.playout.contract.plan import (
    Assignment,
    ChannelPlan,
    OutputPlan,
    Policy,
    SourceError,
    Tools,
)
from streams.playout.ffmpeg import process
from streams.playout.node.supervisor import Supervisor
from streams.playout.player import launcher
from streams.programme.item import Item, Kind, Mode
from streams.programme.model import Entry, Programme, Rotation
from streams.tests.bench.clips import TEST_FORMAT, Clip
from streams.tests.bench.waiting import until


def item(clip: Clip, entry: int) -> Item:
    return Item(clip.title, str(clip.path), Mode.PREPARED, entry=entry, frames=clip.frames)


def programme(*items: Item, filler: tuple[Item, ...] = (), seconds: int = 10) -> Programme:
    """These items in a loop. `seconds`: the length of items without a frame count."""

    def rotation(some: tuple[Item, ...]) -> Rotation:
        lengths = [item.length(TEST_FORMAT) for item in some]
        return Rotation(
            tuple(
                Entry(item, length or Fraction(seconds), exact=length is not None)
                for item, length in zip(some, lengths, strict=True)
            )
        )

    return Programme(rotation(items), ZoneInfo("UTC"), filler=rotation(filler))


def assignment(
    *clips: Clip, slate: Clip, outputs: tuple[OutputPlan, ...] = (), run: int = 1
) -> Assignment:
    """An assignment of channel 1 with these clips."""
    items = tuple(item(clip, entry) for entry, clip in enumerate(clips, 1))
    still = replace(item(slate, 0), title="Slate", kind=Kind.SLATE, entry=None)
    return Assignment(
        ChannelPlan(1, "test", TEST_FORMAT, programme(*items), outputs, still), run
    )


@dataclass
class MemoryLedger:
    """A ledger in memory: returns its assignment and keeps all notes."""

    assignments: dict[int, Assignment] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    snapshots: dict[int, Snapshot] = field(default_factory=dict)
    #: Called in every exchange after its result is known; may block.
    trouble: Callable[[], object] = lambda: None
    at: float = 0.0
    exchanges: int = 0
    claims: Claims = field(default_factory=Claims)

    def exchange(
        self, at: float, snapshots: Sequence[Snapshot], notes: Sequence[Note]
    ) -> dict[int, Assignment]:
        self.at, self.exchanges = at, self.exchanges + 1
        self.notes += notes
        self.snapshots = {shot.channel: shot for shot in snapshots}
        for note in notes:
            if isinstance(note, RunEnded):
                self.ended(note)
            elif isinstance(note, Released):
                del self.assignments[note.channel]
        answer = dict(self.assignments)
        self.trouble()
        return answer

    def ended(self, note: RunEnded) -> None:
        """As in the real ledger, an order that stands gets another run."""
        old = self.assignments.get(note.channel)
        if old is not None and old.run == note.run:
            self.assignments[note.channel] = replace(
                old, run=old.run + 1, restarts_done=old.restarts, measured_at=None
            )

    def count_log_lines(self, words: str) -> int:
        """The number of log lines that contain these words."""
        return sum(isinstance(n, Logged) and words in n.text for n in list(self.notes))

    def incidents(self) -> set[str]:
        """Subjects of the open incidents."""
        subjects: set[str] = set()
        for note in list(self.notes):
            if isinstance(note, IncidentOpened):
                subjects.add(note.subject)
            elif isinstance(note, IncidentClosed):
                subjects.discard(note.subject)
        return subjects


class FileSources:
    """Sources for items whose keys are paths. Nothing fails unless a test requests it."""

    def __init__(self) -> None:
        #: Keys of items whose bytes can't be located.
        self.away: set[str] = set()
        #: Why the storage is unreachable.
        self.out_of_reach: str | None = ""
        #: Keys of items that need no storage, and of those that failed nevertheless.
        self.kept: set[str] = set()
        #: Distrusted items, each with whether it counts as damaged.
        self.distrusted: list[tuple[str, bool]] = []

    def locate(self, item: Item) -> Location:
        if item.key in self.away:
            raise SourceError("it is away")
        return LocalFile(Path(item.key))

    def is_local(self, item: Item) -> bool:
        return item.key in self.kept or item.kind is Kind.SLATE

    def fault(self) -> str | None:
        return self.out_of_reach

    def report_failure(self, item: Item, *, local: bool) -> None:
        self.distrusted.append((item.key, local))


class Engine:
    """Runs a supervisor in a thread until `leave`; its processes keep playing until `end`."""

    def __init__(self, run_dir: Path, book: MemoryLedger, policy: Policy | None = None) -> None:
        self.run_dir = run_dir
        self.book = book
        self.policy = policy or Policy()
        self.ffmpeg = "ffmpeg"
        self.failed: BaseException | None = None
        self.sources = FileSources()
        self.supervisor: Supervisor
        self.thread: threading.Thread | None = None
        #: Fences of all supervisors so far: their guards are also children of this process.
        self.fences: list[Fence] = []
        #: Processes that outlived a supervisor are still children of this process.
        self.children: list[subprocess.Popen[bytes] | None] = []

    def start(self) -> None:
        tools = Tools(self.ffmpeg, self.run_dir)
        self.supervisor = Supervisor(tools, self.policy, self.book, self.sources)
        self.fences.append(self.supervisor.fence)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            asyncio.run(self.supervisor.run())
        except BaseException as error:  # noqa: BLE001 - shown by the test that waits
            self.failed = error

    def leave(self) -> None:
        if self.thread is not None:
            self.supervisor.stop()
            self.thread.join(60)
            self.thread = None
            for channel in self.supervisor.channels.values():
                self.keep(channel)

    def keep(self, channel: Opened) -> None:
        assert isinstance(channel, Channel)
        self.children += [process._child for process in channel.handles()]

    def end(self) -> None:
        self.leave()
        process.stop_everything(self.run_dir)
        # A guard ends within a second after its file is removed.
        (self.run_dir / FILE).unlink(missing_ok=True)
        for fence in self.fences:
            until(lambda fence=fence: not fence.guarded, 10, "its guard has ended")  # type: ignore[misc]  # mypy infers no default of a lambda
        for child in self.children:
            if child is not None:
                child.wait(10)

    # ---- observations

    def alive(self) -> bool:
        if self.failed is not None:
            raise AssertionError("The supervisor has ended.") from self.failed
        return True

    def channel(self) -> Channel | None:
        engine = self.supervisor.channels.get(1)
        assert engine is None or isinstance(engine, Channel)
        return engine

    def until_state(self, state: str, within: float = 15) -> None:
        until(lambda: self.alive() and self.state() == state, within, f"it is {state}")

    def state(self) -> str:
        channel = self.channel()
        return "" if channel is None else channel.state.value

    def pids(self) -> set[int]:
        """The processes that are active, without those that wait."""
        return {pid for pid in process.marked_pids(self.run_dir) if not launcher.waits(pid)}
