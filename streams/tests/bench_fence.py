"""Measures for how long two nodes both send a channel when one loses the database.

python -m streams.tests.bench_fence [TIMES]

Runs as root: each node lives in a network namespace of its own, with one link to the PostgreSQL
database and one to an RTMP server, both on this machine. TIMES (20) times the sending node
loses its link to the database; every third time its supervisor is also frozen, every third time
killed. Pushers are counted in both nodes' run directories, fifty times a second. Prints for
each time: seconds until the first stopped and the second started, and seconds in which both
ran.
"""

# Django is set up for the database that is started here, so imports are late.
# ruff: noqa: PLR0915 - a script whose processes choose Django's settings first
from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from streams.tests.bench.namespaces import (
    MODULE,
    RECORDER,
    Counter,
    Net,
    Nodes,
    postgres,
    recorder_address,
)
from streams.tests.bench.waiting import until

KEY = "k-fence"


def main(times: int = 20) -> int:
    """Return the number of runs in which two pushers overlapped."""
    # If ended early, nothing is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-fence-")))
        folder.chmod(0o755)
        nets = [stack.enter_context(Net(number)) for number in (1, 2)]
        port = stack.enter_context(postgres(folder / "postgres"))
        os.environ |= {
            "DATABASE_URL": f"postgres://streamsite:none@127.0.0.1:{port}/postgres",
            "ENV_FILE": "/dev/null",
            "DJANGO_SETTINGS_MODULE": "streamsite.settings",
            "MEDIA_FOLDER": str(folder / "media"),
            "STORAGE_PROVIDER": "local",
            "DATA_DIR": str(folder / "data"),
        }
        return _measured(times, stack, folder, nets, port)


def _measured(times: int, stack: ExitStack, folder: Path, nets: list[Net], port: int) -> int:
    import django

    django.setup()
    from django.core.management import call_command

    from streams.control import actions
    from streams.models import Channel
    from streams.tests.bench import clips
    from streams.tests.bench.node import Bench
    from streams.tests.bench.rtmp import RtmpServer

    call_command("migrate", verbosity=0)
    server = RtmpServer(folder / "rtmp", MODULE, listen="0.0.0.0")  # noqa: S104 - each node's link
    server.start()
    stack.callback(server.stop)
    stack.enter_context(recorder_address())
    for net in nets:
        net.route()
    media = folder / "media"
    media.mkdir(exist_ok=True)
    nodes = Nodes(nets, folder, port)
    bench = Bench(nodes.run_dirs[0], media, folder)
    channel = bench.channel(bench.item(clips.prepared(folder, 1, 10.0)))
    bench.output(channel, f"rtmp://{RECORDER}:{server.port}/live", KEY)
    counter = Counter(nodes.run_dirs)
    failed = 0
    try:
        for number in (0, 1):
            nodes.start(number)
        counter.start()
        actions.start(Channel.objects.get(), by="bench", now=django.utils.timezone.now())
        for number in range(times):
            sender = counter.until_one()
            time.sleep(6)  # both have seen each other's rows
            how = ("cut", "cut and frozen", "killed")[number % 3]
            counter.both = counter.gap = 0.0
            began = time.monotonic()
            if how == "killed":
                nodes.kill(sender)
            else:
                nets[sender].database("down")
                if how == "cut and frozen":
                    nodes.signal(sender, signal.SIGSTOP)
            until(lambda: not counter.now[sender], 60, "the first has stopped")  # noqa: B023 - called within the turn
            stopped = time.monotonic() - began
            until(lambda: counter.now[1 - sender], 90, "the second sends")  # noqa: B023 - called within the turn
            second = time.monotonic() - began
            if how == "killed":
                nodes.start(sender)
            else:
                nets[sender].database("up")
                if how == "cut and frozen":
                    nodes.signal(sender, signal.SIGCONT)
            time.sleep(20)  # the first is back, and must not send
            failed += counter.both > 0
            print(
                f"{number + 1}: node {sender + 1} {how}: stopped after {stopped:.1f} s, the "
                f"other sent after {second:.1f} s; two for {counter.both:.2f} s (polled at "
                f"every {counter.gap:.2f} s at the least); refused by the server: "
                f"{server.log().count('already publishing')}",
                flush=True,
            )
    finally:
        nodes.end()
    print(f"two pushers in {failed} of {times}")
    return failed


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in sys.argv[1:])) > 0)
