"""Starts many channels at once and counts healthy items that are cut for their source.

python -m streams.tests.bench_channels [CHANNELS [SECONDS [LENGTH]]]

CHANNELS (50) channels start at the same moment on this machine, with prepared items of LENGTH
(120) s, each to a recording RTMP server, and play for SECONDS (300). Prints how many items were
on air, how many of them were cut or failed, how often a stand-in played, and how long the start
took.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from streams.playout.contract.ledger import Aired, IncidentOpened, RunOnAir
from streams.playout.contract.plan import OutputPlan
from streams.programme.item import Kind
from streams.tests.bench import clips
from streams.tests.bench.engine import Engine, MemoryLedger, assignment, programme
from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.waiting import until
from streamsite.security.secret import Secret

#: Debian's path.
MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")


def main(channels: int = 50, seconds: int = 300, length: int = 120) -> int:
    """Return the number of items that were cut or failed, or were replaced by a stand-in."""
    with tempfile.TemporaryDirectory(prefix="bench-channels-") as name:
        folder = Path(name)
        (folder / "run").mkdir()
        made = [clips.prepared(folder, number, length) for number in (1, 2)]
        slate = clips.prepared(folder, 3, 5)
        one = assignment(*made, slate=slate)
        items = [entry.item for entry in one.plan.programme.base.entries]
        book = MemoryLedger()
        server = RtmpServer(folder / "rtmp", MODULE)
        server.start()
        for pk in range(1, channels + 1):
            # Neither in the same order nor ending in the same second.
            listed = items if pk % 2 else items[::-1]
            output = OutputPlan(pk, "Main", server.address, Secret(f"k{pk}"), "1")
            plan = replace(
                one.plan,
                pk=pk,
                slug=f"c{pk}",
                programme=programme(*listed),
                outputs=(output,),
            )
            book.assignments[pk] = replace(one, plan=plan, run=pk)
        engine = Engine(folder / "run", book)
        began, load = time.monotonic(), os.getloadavg()[0]

        def on_air() -> int:
            return sum(isinstance(note, RunOnAir) for note in list(book.notes))

        try:
            engine.start()
            until(lambda: engine.alive() and on_air() == channels, 240, "all are on air")
            started = time.monotonic() - began
            time.sleep(seconds)  # the measured period
            engine.alive()
            notes = list(book.notes)
            sessions = sum(server.sessions(f"k{pk}") for pk in book.assignments)
        finally:
            engine.end()
            server.stop()
    aired = [note for note in notes if isinstance(note, Aired)]
    endings = Counter(note.previous_ending for note in aired if note.previous_ending)
    stood_in = sum(note.turn.item.kind is not Kind.ITEM for note in aired)
    causes = Counter(note.cause for note in notes if isinstance(note, IncidentOpened))
    for line in (
        f"{channels} channels on {os.cpu_count()} cores, load {load:.1f} before",
        f"on air after {started:.1f} s, then watched for {seconds} s",
        f"items on air: {len(aired) - stood_in}, stood in: {stood_in}",
        f"endings: {dict(endings)}",
        f"RTMP sessions: {sessions}",
        f"incidents: {dict(causes)}",
    ):
        print(line)
    return sum(number for ending, number in endings.items() if ending != "whole") + stood_in


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in sys.argv[1:])) > 0)
