"""FFmpeg may oversleep; the supervisor itself keeps time."""

from __future__ import annotations

from pathlib import Path

from streams.playout.contract.plan import Tools
from streams.playout.ffmpeg import process
from streams.playout.ffmpeg.timer_slack import SLACK_S
from streams.tests.bench.waiting import until


def slack_s(task: str) -> float:
    return int(Path(f"/proc/{task}/timerslack_ns").read_text()) / 1_000_000_000


def test_started_processes_oversleep_and_the_supervisor_does_not(tmp_path: Path) -> None:
    before = slack_s("self")
    started = process.spawn(
        Tools("sleep", tmp_path), tmp_path, process.HUB, lambda _: ("sleep", "60")
    )
    try:
        assert slack_s(str(started.pid)) == SLACK_S
        assert slack_s("self") == before != SLACK_S
    finally:
        process.terminate_all([started.pid], [], within=1)
        until(started.exited, 60, "it is gone")
        started.close()
