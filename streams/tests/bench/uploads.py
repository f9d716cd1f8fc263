"""A channel whose output is an upload by HLS, many times faster than real time."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

from streams.playout.contract.plan import OutputPlan, Policy
from streams.playout.ffmpeg import process
from streams.tests.bench.clips import Clip
from streams.tests.bench.engine import Engine, MemoryLedger, assignment
from streams.tests.bench.waiting import until
from streamsite.security.secret import Secret

KEY = "hls-key-93b1-77aa-04ce"
#: FFmpeg whose hub runs at that speed: without a bound it sends a minute of the clips in 0.4 s.
_FFMPEG = """#!/bin/sh
case "$*" in *hls_segment_filename*) set -- -readrate {speed} "$@" ;; esac
exec ffmpeg "$@"
"""


def playing(
    folder: Path, clip: Clip, slate: Clip, address: str, key: str = KEY, *, speed: int = 20
) -> tuple[Engine, MemoryLedger]:
    output = OutputPlan(1, "Main", address, Secret(key), edition="e1")
    book = MemoryLedger({1: assignment(clip, slate=slate, outputs=(output,))})
    plan = replace(book.assignments[1].plan, house_format=clip.house_format)
    book.assignments[1] = replace(book.assignments[1], plan=plan)
    # The window is 20 s by the clock, as on air.
    policy = Policy(paced=False, segments=10 * speed, stall=4, retry_first=0.1, grace=2)
    engine = Engine(folder, book, policy)
    folder.mkdir()
    engine.ffmpeg = str(folder.parent / "ffmpeg-faster")
    Path(engine.ffmpeg).write_text(_FFMPEG.format(speed=speed))
    Path(engine.ffmpeg).chmod(0o700)
    return engine, book


def pid(engine: Engine, name: str) -> int:
    (record,) = [
        record
        for record in process.read_records(process.channel_folder(engine.run_dir, 1))
        if record.name == name
    ]
    return record.pid


def kill(engine: Engine, name: str) -> None:
    before = pid(engine, name)
    os.kill(before, signal.SIGKILL)
    until(lambda: engine.alive() and pid_or_none(engine, name) not in {before, None}, 20, name)


def pid_or_none(engine: Engine, name: str) -> int | None:
    try:
        return pid(engine, name)
    except ValueError:
        return None
