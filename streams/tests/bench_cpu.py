"""Prints the CPU of channels with their supervision beside bare loops of FFmpeg.

python -m streams.tests.bench_cpu [SECONDS [CHANNELS ...]]

For each number of CHANNELS (10, 25, 50), as many bare loops send one item of 120 s at 720p30
with 3 Mbit/s to an RTMP server for SECONDS (240); after them, as many channels do. The channels
are a node's own: its supervisor, with a database, and its FFmpeg. Prints CPU per role in
percent of a core, and how many times the loops' it is.
"""

# Django is set up for the database that is made here, so imports are late.
from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from conftest import RTMP_MODULE
from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.waiting import until

if TYPE_CHECKING:
    from streams.tests.bench.node import Bench

LENGTH_S: Final = 120


def main(seconds: int = 240, *channels: int) -> int:
    """Returns 0: the figures are for people."""
    # If ended early, nothing is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-cpu-")))
        server = RtmpServer(folder / "rtmp", RTMP_MODULE)
        server.start()
        stack.callback(server.stop)
        for name in ("media", "data", "run"):
            (folder / name).mkdir()
        os.environ |= {
            "DATABASE_URL": f"sqlite:///{folder}/data/db.sqlite3",
            "ENV_FILE": "/dev/null",
            "DJANGO_SETTINGS_MODULE": "streamsite.settings",
            "MEDIA_FOLDER": str(folder / "media"),
            "STORAGE_PROVIDER": "local",
            "DATA_DIR": str(folder / "data"),
            "RUN_DIR": str(folder / "run"),
        }
        _measured(folder, server, seconds, channels or (10, 25, 50))
    return 0


def _measured(folder: Path, server: RtmpServer, seconds: int, numbers: tuple[int, ...]) -> None:
    import django

    django.setup()
    from django.core.management import call_command

    from media_library.house_format import HouseFormat
    from streams.models import Channel
    from streams.tests.bench import clips
    from streams.tests.bench.node import Bench

    call_command("migrate", verbosity=0)
    house_format = HouseFormat(1280, 720, 30, 3_000_000, 128_000)
    source = folder / "raw-1.mkv"
    clips.run(
        *("-f", "lavfi", "-i", "testsrc2=s=1280x720:r=30,noise=c0s=12:c0f=t"),
        *("-f", "lavfi", "-i", clips.tone(1), "-t", str(LENGTH_S)),
        *("-c:v", "libx264", "-preset", "ultrafast", "-crf", "20", "-c:a", "pcm_s16le"),
        f"file:{source}",
    )
    clip = clips.conformed(source, 1, house_format)
    node = Bench(folder / "run", folder / "media", folder)
    item = node.item(clip)
    for number in numbers:
        plain = bare(clip.path, server.address, number, seconds)
        for count in range(Channel.objects.count(), number):
            channel = node.channel(item, slug=f"c{count}")
            node.output(channel, server.address, f"c{count}")
        size = {"width": 1280, "height": 720, "video_bitrate": house_format.video_bitrate}
        Channel.objects.update(**size)
        node.start()
        try:
            parts = on_air(node, seconds)
        finally:
            node.end()
        total = sum(parts.values())
        shares = {role: round(used / seconds / number * 100, 2) for role, used in parts.items()}
        print(
            f"{number} channels: {total / seconds:.1%} of a core, the bare loops "
            f"{plain / seconds:.1%}: {total / plain:.2f} times. Each: loop "
            f"{plain / seconds / number:.2%}, {shares}. Looking at all of them: "
            f"{parts['air'] / seconds:.2%}",
            flush=True,
        )


def used(process: psutil.Process) -> float:
    """Seconds of CPU, with those of ended children."""
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def bare(path: Path, address: str, number: int, seconds: int) -> float:
    """Seconds of CPU of so many loops, once all are at work."""
    loop = ("-re", "-stream_loop", "-1", "-i", str(path), "-c", "copy", "-f", "flv")
    loops = [
        subprocess.Popen(
            ("ffmpeg", "-nostdin", "-v", "error", *loop, f"{address}/bare-{one}"),
            stdin=subprocess.DEVNULL,
        )
        for one in range(number)
    ]
    try:
        time.sleep(10)  # the start of all
        before = sum(used(psutil.Process(one.pid)) for one in loops)
        time.sleep(seconds)  # the measured period
        return sum(used(psutil.Process(one.pid)) for one in loops) - before
    finally:
        for one in loops:
            one.send_signal(signal.SIGTERM)
        for one in loops:
            one.wait(10)


def on_air(node: Bench, seconds: int) -> dict[str, float]:
    """Start all channels; return the seconds of CPU of each role in the measured period."""
    from django.utils import timezone

    from streams.control import actions
    from streams.models import Channel, ChannelState

    for channel in Channel.objects.filter(desired_state=Channel.DesiredState.OFF):
        actions.start(channel, by="bench", now=timezone.now())
    total = Channel.objects.count()
    until(lambda: ChannelState.objects.filter(state="on_air").count() == total, 300, "on air")
    time.sleep(10)  # the start of all
    before = _parts(node)
    time.sleep(seconds)  # the measured period
    return {role: used - before[role] for role, used in _parts(node).items()}


def _parts(node: Bench) -> dict[str, float]:
    """Seconds of CPU by role so far. Players that ended are counted where they were reaped."""
    from streams.models import Channel

    assert node.cluster is not None
    cluster = psutil.Process(node.cluster.pid)
    parts: dict[str, float] = defaultdict(float)
    own = cluster.cpu_times()
    parts["Python"] = own.user + own.system
    parts["player"] = own.children_user + own.children_system
    for child in cluster.children(recursive=True):
        if child.pid not in node.pids():
            watches = any(part.endswith("air_decoder.py") for part in child.cmdline())
            parts["air" if watches else "Python"] += used(child)
    for channel in Channel.objects.all():
        for record in node.records(channel).values():
            # One that has just ended is counted where it was reaped.
            with suppress(psutil.NoSuchProcess):
                parts[record.role] += used(psutil.Process(record.pid))
    return parts


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in sys.argv[1:])))
