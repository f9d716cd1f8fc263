"""A machine that was switched off: channels that were on return without a person."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import suppress

import pytest
from django.utils import timezone

from streams.models import ChannelState, Incident, Run
from streams.monitoring.report import report
from streams.tests.bench.clips import TEST_FORMAT, Clip
from streams.tests.bench.node import Bench
from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.waiting import until
from streamsite.tests.figures import Figures

pytestmark = pytest.mark.slow

KEY = "k-reboot"
#: Maximum seconds from the start of the services to video.
BOUND = 60


def power_cut(node: Bench) -> None:
    """Everything ends at once and memory is lost: the run directory is tmpfs."""
    pids = node.pids()
    node.kill_cluster()
    for pid in pids | node.pids():
        # A player may have ended just before.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not node.pids(), 10, "nothing runs")
    shutil.rmtree(node.run_dir)


@pytest.mark.measured
def test_after_a_reboot_it_is_on_air_within_a_minute(
    node: Bench,
    server: RtmpServer,
    shelf: dict[int, Clip],
    figures: Figures,
) -> None:
    items = (node.item(shelf[1]), node.item(shelf[2]))
    # A storage with nothing but prepared copies counts as emptied.
    for item in items:
        original = node.media / item.key
        original.parent.mkdir(exist_ok=True)
        original.touch()
    channel = node.channel(*items)
    node.output(channel, server.address, KEY)
    node.air(channel)
    run = Run.objects.get()
    power_cut(node)
    assert server.sessions(KEY) == 1

    booted, began = timezone.now(), time.monotonic()
    node.start()
    back = ChannelState.objects.filter(measured_at__gt=booted, state="on_air")
    until(back.exists, BOUND, "it is on air")
    until(lambda: server.sessions(KEY) == 2, BOUND, "its destination is connected")
    took = time.monotonic() - began
    figures.record("seconds_from_boot_to_air", round(took, 1))
    assert took < figures.within(BOUND)
    server.until_sent(KEY, 2, TEST_FORMAT.video_bitrate, 15)

    # The run continues, and the history contains the gap with its cause.
    assert Run.objects.get() == run
    gap = Incident.objects.get(subject="channel")
    assert "the machine or its playout processes had stopped" in gap.cause
    assert gap.opened_at < booted
    until(lambda: Incident.objects.filter(closed_at=None).count() == 0, 15, "it is over")
    run.refresh_from_db()
    checks = {check["check"]: check["ok"] for check in run.checks}
    assert checks.pop("storage") is True
    assert all(checks.values()), checks
    node.halt(channel)


def test_a_failed_preflight_after_the_reboot_is_retried_until_it_passes(
    node: Bench, shelf: dict[int, Clip]
) -> None:
    channel = node.channel(node.item(shelf[1]))
    node.air(channel)
    power_cut(node)
    missing = node.folder / "ffmpeg"
    node.extra["FFMPEG_PATH"] = str(missing)
    node.start()

    def shown() -> str:
        (one,) = report(timezone.now()).channels
        return f"{one.state}: {one.cause}"

    until(lambda: "FFmpeg is missing" in shown(), 60, "it is reported")
    assert shown().startswith("starting")
    for name in ("ffmpeg", "ffprobe"):
        program = shutil.which(name)
        assert program
        (node.folder / name).symlink_to(program)
    fixed = timezone.now()
    until(
        lambda: ChannelState.objects.filter(state="on_air", measured_at__gt=fixed).exists(),
        90,
        "it is on air",
    )
    node.halt(channel)
