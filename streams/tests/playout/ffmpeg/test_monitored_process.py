"""What the reports of a process show about its pace."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.playout.contract.plan import Tools
from streams.playout.ffmpeg import process
from streams.playout.ffmpeg.monitored_process import MonitoredProcess
from streams.tests.bench.waiting import until

BEGAN = 1000.0


@pytest.fixture
def role(tmp_path: Path) -> Iterator[MonitoredProcess]:
    started = process.spawn(
        Tools("sleep", tmp_path), tmp_path, process.PUSHER, lambda _: ("sleep", "60")
    )
    made = MonitoredProcess(started, now=BEGAN)
    yield made
    made.kill(BEGAN)
    until(started.exited, 5, "it has ended")
    made.close()


def report(role: MonitoredProcess, at: float, output_s: float) -> None:
    """Send a report as FFmpeg does, and have it read at that moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        text = f"out_time_us={round(output_s * 1_000_000)}\nprogress=continue\n"
        sock.sendto(text.encode(), ("127.0.0.1", role.process.record.port))
    until(lambda: role.read(at), 5, "the report is read")


@pytest.mark.parametrize(
    ("speed", "slow_from", "slowed"),
    [(1.0, 99, 30), (0.6, 12, 13), (0.9, 12, 17), (0.6, 0, 1)],
)
def test_the_moment_at_which_a_process_slowed_down_is_dated(
    role: MonitoredProcess, speed: float, slow_from: int, slowed: int
) -> None:
    output = 1.0
    for second in range(31):
        report(role, BEGAN + second, output)
        output += speed if second >= slow_from else 1.0
    at = role.slowed_at()
    assert at is not None
    assert at - BEGAN == pytest.approx(slowed)


def test_a_late_report_slows_nothing(role: MonitoredProcess) -> None:
    for second in range(20):
        report(role, BEGAN + second + (0.4 if second % 3 else 0.0), 1.0 + second)
    assert role.slowed_at() == BEGAN + 19.4
