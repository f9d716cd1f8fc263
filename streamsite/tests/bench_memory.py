"""Prints the memory of an installation with one channel on air, and with more.

python -m streamsite.tests.bench_memory [CHANNELS [SECONDS]]

Serves a first run with its Demo channel to a recording RTMP server, adds copies of the channel
until CHANNELS (3) are on air, and prints a table of the processes SECONDS (90) after each
start: by then each job has run once.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from conftest import RTMP_MODULE
from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.waiting import until
from streamsite.tests.memory import installation, mb, table
from streamsite.tests.processes.test_serve import ROOT, Site, a_site

#: Adds a channel on air with the Demo's programme.
ANOTHER = """
from django.utils import timezone
from streams.control.actions import start
from streams.models import Channel
from streamsite.security.secret import Secret
number = Channel.objects.count()
demo = Channel.objects.get(slug="demo")
output = demo.outputs.get()
demo.pk, demo.name, demo.slug = None, f"Demo {number}", f"demo-{number}"
demo.desired_state = "off"
demo._state.adding = True
demo.save()
output.pk, output.channel, output.key = None, demo, Secret(f"k{number}")
output._state.adding = True
output.save()
start(demo, by="bench", now=timezone.now())
"""


def main(channels: int = 3, seconds: int = 90) -> int:
    """Returns 0: the figures are for people."""
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as name:
        folder = Path(name)
        server = RtmpServer(folder / "rtmp", RTMP_MODULE)
        server.start()
        try:
            with a_site(folder / "site") as place:
                measure(place, server, channels, seconds)
        finally:
            server.stop()
    return 0


def measure(place: Site, server: RtmpServer, channels: int, seconds: int) -> None:
    place.start("deploy/run.sh", YOUTUBE_STREAM_KEY="k0", YOUTUBE_RTMP_URL=server.address)
    assert place.process is not None
    before = 0.0
    for number in range(1, channels + 1):
        if number > 1:
            subprocess.run(
                (sys.executable, "manage.py", "shell", "--command", ANOTHER),
                cwd=ROOT, env=place.environment(), check=True,
            )  # fmt: skip
        until(partial(are_on_air, place, number), 400, f"{number} on air")
        time.sleep(seconds)  # the measured period
        processes = installation(place.process.pid, place.run_dir)
        playout = sum(mb(one.pss) for one in processes if one.on_air)
        print(f"\n{number} on air; the channel's part: {playout - before:.1f} MB")
        print(table(processes), flush=True)
        before = playout


def are_on_air(place: Site, number: int) -> bool:
    states = [channel["state"] for channel in place.health().get("channels", ())]
    return states == ["on_air"] * number


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in sys.argv[1:])))
