"""Measures the cost of idle WebSockets, and the delay of a change.

    python -m streamsite.tests.bench_live [SOCKETS] [--rows 10000] [--seconds 20]

gunicorn is started as it is served, over a database of its own on SQLite with so many rows that
do not change. Ends with status 1 when the worker takes more than `ALLOWED` of a core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from typing import Any, Final

import psutil

from streams.tests.bench_auth import free_port, spent, until_calm, until_open

#: Percent of one core, issue 6's bound.
ALLOWED: Final = 5.0


def fill(rows: int) -> str:
    """Channels to listen to, and rows that lie idle; answers with a key."""
    from django.utils import timezone

    from media_library.models import MediaItem
    from streams.models import Channel, Incident
    from streamsite.api import keys
    from streamsite.api.permissions import KeyPermission

    now = timezone.now()
    channels = [Channel.objects.create(name=f"C{n}", slug=f"c{n}") for n in range(10)]
    MediaItem.objects.bulk_create(MediaItem(key=f"k{n}", title=f"T{n}") for n in range(rows))
    Incident.objects.bulk_create(
        Incident(
            channel=channels[n % 10], subject=f"s{n}", severity="lost", cause="x",
            opened_at=now, closed_at=now,
        )
        for n in range(rows)
    )  # fmt: skip
    _, key = keys.mint("bench", KeyPermission.READ_ONLY, by="bench", now=now)
    return key.reveal()


async def listen(
    port: int, sockets: int, seconds: int, key: str, site: int
) -> dict[str, float]:
    from websockets.asyncio.client import connect

    tree = psutil.Process(site)
    headers = {"X-API-Key": key}
    async with AsyncExitStack() as opened:
        lines: list[Any] = [
            await opened.enter_async_context(
                connect(
                    f"ws://127.0.0.1:{port}/ws/channels/c{n % 10}", additional_headers=headers
                )
            )
            for n in range(sockets)
        ]
        for line in lines:
            assert json.loads(await line.recv())["type"] == "snapshot"
        before, begun = spent(tree), time.monotonic()
        await asyncio.sleep(seconds)
        share = 100 * (spent(tree) - before) / (time.monotonic() - begun)
        memory = sum(p.memory_info().rss for p in (tree, *tree.children(recursive=True)))
        written = time.monotonic()
        await asyncio.to_thread(change)
        took = []
        for line in lines[:: max(1, sockets // 20)]:
            # Among the messages is that the line is alive, without data.
            while json.loads(await line.recv()).get("data", {}).get("desired_state") != "on":
                continue
            took.append((time.monotonic() - written) * 1000)
    return {"share": share, "slowest": max(took), "memory": memory / 1e6}


def change() -> None:
    from streams.models import Channel

    Channel.objects.update(desired_state="on")


def main() -> int:
    requests = argparse.ArgumentParser(description=__doc__)
    requests.add_argument("sockets", nargs="?", type=int, default=200)
    requests.add_argument("--rows", type=int, default=10_000, help="of items, and of incidents")
    requests.add_argument("--seconds", type=int, default=20)
    given = requests.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        os.environ |= {
            "ENV_FILE": os.devnull,
            "DJANGO_SETTINGS_MODULE": "streamsite.settings",
            "DATA_DIR": f"{folder}/data",
            "RUN_DIR": f"{folder}/run",
            "PORT": str(port),
        }
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        call_command("collectstatic", verbosity=0, interactive=False)
        key = fill(given.rows)
        site = subprocess.Popen(
            (sys.executable, "-m", "gunicorn", "--config", "python:streamsite.web"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            until_open(port)
            until_calm(site.pid)
            reported = asyncio.run(listen(port, given.sockets, given.seconds, key, site.pid))
        finally:
            site.send_signal(signal.SIGTERM)
            site.wait(30)
    print(
        f"{given.sockets} WebSockets, {2 * given.rows} idle rows, {given.seconds} s: "
        f"{reported['share']:.2f} % of a core (allowed {ALLOWED} %), "
        f"{reported['memory']:.0f} MB; "
        f"a change was told to the last of them after {reported['slowest']:.0f} ms; "
        f"load average {os.getloadavg()[0]:.1f}"
    )
    return int(reported["share"] > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
