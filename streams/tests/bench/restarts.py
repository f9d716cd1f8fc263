"""A supervisor that is away while items end: records what reached the destination."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from streams.playout.contract.ledger import Aired
from streams.playout.contract.plan import OutputPlan
from streams.programme.item import Kind
from streams.tests.bench.audit import Audit, audit
from streams.tests.bench.clips import TEST_FORMAT, Clip
from streams.tests.bench.engine import Engine, MemoryLedger, assignment
from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.waiting import until
from streamsite.security.secret import Secret

KEY = "k-away"


@dataclass
class Away:
    """One channel to a recording server, under a supervisor that comes and goes."""

    engine: Engine
    book: MemoryLedger
    server: RtmpServer

    @classmethod
    def of(cls, folder: Path, server: RtmpServer, *clips: Clip, slate: Clip) -> Away:
        run_dir = folder / "run"
        run_dir.mkdir()
        output = OutputPlan(1, "Main", server.address, Secret(KEY), edition="1")
        book = MemoryLedger({1: assignment(*clips, slate=slate, outputs=(output,))})
        return cls(Engine(run_dir, book), book, server)

    def start(self) -> None:
        self.engine.start()
        self.engine.until_state("on_air", 30)
        until(lambda: self.server.bytes_of(KEY), 30, "the server gets data")

    def left(self) -> float:
        """Seconds until the present feed ends, as far as known; a large number if unknown."""
        channel = self.engine.channel()
        slots = () if channel is None else channel.playback.state.timeline.slots
        if channel is None or channel.hub.clock is None or not slots:
            return float("inf")
        slot = slots[-1]
        ends = slot.start + (slot.turn.length(TEST_FORMAT) or 0)
        return float(ends - channel.hub.clock.position(channel.now.mono))

    def aired(self) -> list[str]:
        """Titles on air, in order; a new supervisor reports the first one again."""
        notes: list[Aired] = []
        for note in self.book.notes:
            if isinstance(note, Aired) and not (
                notes
                and notes[-1].turn.item == note.turn.item
                and abs(notes[-1].at - note.at) < 1
            ):
                notes.append(note)
        return [note.turn.item.title for note in notes]

    def audited(self) -> Audit:
        (recording,) = self.server.recordings(KEY)
        return audit(recording, TEST_FORMAT)

    def slates(self) -> int:
        return sum(
            isinstance(note, Aired) and note.turn.item.kind is Kind.SLATE
            for note in self.book.notes
        )

    def stop(self) -> None:
        """End the run, so that the recording is complete."""
        self.book.assignments = {}
        until(lambda: not self.engine.pids(), 30, "everything has ended")

    def restart(self) -> None:
        """Start the next supervisor from the ledger's state."""
        channel = self.book.snapshots[1]
        old = self.book.assignments[1]
        self.book.assignments[1] = replace(
            old, cursors=channel.cursors, on_air_since=channel.on_air_since, state=channel.state
        )
        self.engine.start()
        seen = self.book.exchanges
        until(lambda: self.book.exchanges > seen + 1, 30, "the supervisor is at work")
