"""Measures how fast the ingest server's requests are answered with many keys.

python -m streams.tests.bench_auth [KEYS] [--rate 200] [--seconds 30]

Starts `manage.py serve` with a SQLite database of its own. Requests are sent on schedule
whether or not earlier ones have been answered, each on a connection of its own, as MediaMTX
does; a response time counts from the request's scheduled time. Seven in ten requests have a
valid key, two a wrong one, one none. Exits with status 1 if `MAX_MS` is exceeded or a response
is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

#: Milliseconds of the 99th percentile: the limit, and the target.
MAX_MS: Final = 50
TARGET_MS: Final = 15
ROOT: Final = Path(__file__).parents[2]
#: Used as a status: delay of requests that were sent too late.
LATE: Final = 0
#: Requests before those that count: each thread opens its database.
WARMING: Final = 60
#: Seconds of CPU per second below which the site is idle.
CALM: Final = 0.15
#: Broadcasters that share the keys.
BROADCASTERS: Final = 1000


def key(number: int) -> str:
    return hashlib.sha256(f"bench {number}".encode()).hexdigest()[:32]


def fill(count: int) -> None:
    """Create the broadcasters and their keys."""
    from django.db import transaction

    from streams.ingest.keys import digest
    from streams.models import Broadcaster, StreamKey
    from streamsite.security.secret import Secret

    with transaction.atomic():
        Broadcaster.objects.bulk_create(
            Broadcaster(name=f"b{n}", slug=f"b{n}") for n in range(BROADCASTERS)
        )
        owners = list(Broadcaster.objects.order_by("pk").values_list("pk", flat=True))
        StreamKey.objects.bulk_create(
            (
                StreamKey(
                    broadcaster_id=owners[n % BROADCASTERS],
                    prefix=key(n)[:6],
                    digest=digest(Secret(key(n))),
                )
                for n in range(count)
            ),
            batch_size=5000,
        )


def question(number: int, dice: random.Random, keys: int) -> tuple[bytes, int]:
    """One request and its expected status."""
    fields = {
        "ip": "203.0.113.7",
        "user": "",
        "password": "",
        "token": "",
        "action": "publish",
        "path": f"live/b{number % BROADCASTERS}",
        "protocol": "rtmp",
        "id": str(uuid.UUID(int=dice.getrandbits(128))),
        "query": "",
        "userAgent": "",
    }
    kind = dice.random()
    if kind < 0.7:
        fields["query"], status = f"token={key(number)}", 204
    elif kind < 0.9:
        fields["query"], status = f"token={key(number + keys)}", 403
    else:
        status = 401
    body = json.dumps(fields).encode()
    head = (
        "POST /auth HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body, status


async def request_status(port: int, request: bytes) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        line = await reader.readline()
        await reader.read()
        return int(line.split()[1])
    finally:
        writer.close()
        await writer.wait_closed()


async def load(
    port: int, requests: list[tuple[bytes, int]], rate: int
) -> tuple[dict[int, list[float]], Counter[str]]:
    """Milliseconds of each response by status, and the number of wrong ones by kind."""
    taken: dict[int, list[float]] = {204: [], 403: [], 401: []}
    wrong: Counter[str] = Counter()
    late: list[float] = []
    begun = time.perf_counter() + 0.5

    async def one(number: int) -> None:
        due = begun + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        late.append((time.perf_counter() - due) * 1000)
        request, expected = requests[number]
        try:
            status = await asyncio.wait_for(request_status(port, request), 10)
        except (OSError, TimeoutError, IndexError, ValueError) as error:
            wrong[type(error).__name__] += 1
            return
        taken[expected].append((time.perf_counter() - due) * 1000)
        if status != expected:
            wrong[f"{status} instead of {expected}"] += 1

    await asyncio.gather(*(one(number) for number in range(len(requests))))
    # How well the machine itself kept the schedule, regardless of the site.
    taken[LATE] = late
    return taken, wrong


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def until_open(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    sys.exit("The site did not open its port within a minute.")


def until_calm(site: int) -> None:
    """Wait until start-up work is finished: a site runs for months."""
    tree = psutil.Process(site)
    for _ in range(60):
        before = spent(tree)
        time.sleep(1)
        if spent(tree) - before < CALM:
            return
    print("The site did not come to rest within a minute.")


def spent(tree: psutil.Process) -> float:
    """Seconds of CPU used by a process and its children."""
    total = 0.0
    for process in (tree, *tree.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("keys", nargs="?", type=int, default=100_000)
    parser.add_argument("--rate", type=int, default=200, help="questions a second")
    parser.add_argument("--seconds", type=int, default=30)
    given = parser.parse_args()
    dice = random.Random(1)  # noqa: S311 - no secret
    # Each key is used once: after that it is in use.
    numbers = dice.sample(range(given.keys), given.rate * given.seconds + WARMING)
    requests = [question(number, dice, given.keys) for number in numbers]
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        os.environ |= {
            "ENV_FILE": os.devnull,
            "DJANGO_SETTINGS_MODULE": "streamsite.settings",
            "DATA_DIR": f"{folder}/data",
            "RUN_DIR": f"{folder}/run",
            "PORT": str(port),
            "INGEST_SERVER": "mediamtx",
            "INGEST_TOKEN": "token-of-the-benchmark",
            # No server listens there: the reconciler keeps polling meanwhile.
            "INGEST_API_URL": f"http://127.0.0.1:{free_port()}",
        }
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        call_command("collectstatic", verbosity=0, interactive=False)
        fill(given.keys)
        site = subprocess.Popen(
            (sys.executable, str(ROOT / "manage.py"), "serve"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            until_open(port)
            until_calm(site.pid)
            asyncio.run(load(port, requests[:WARMING], rate=20))
            tree = psutil.Process(site.pid)
            before = spent(tree)
            taken, wrong = asyncio.run(load(port, requests[WARMING:], given.rate))
            cost = (spent(tree) - before) / (given.rate * given.seconds)
            print(f"CPU of the site: {1000 * cost:.2f} ms an answer")
        finally:
            site.send_signal(signal.SIGTERM)
            site.wait(30)
    return report(taken, wrong, given.keys, given.rate)


def report(by_status: dict[int, list[float]], wrong: Counter[str], keys: int, rate: int) -> int:
    late = by_status.pop(LATE)
    every = [taken for answers in by_status.values() for taken in answers]
    print(f"{keys} keys, {rate} questions a second, {len(every)} answers")
    for name, taken in [("all", every), *by_status.items(), ("sent late by", late)]:
        cuts = statistics.quantiles(taken, n=1000)
        figures = {"p50": cuts[499], "p95": cuts[949], "p99": cuts[989], "most": max(taken)}
        shown = ", ".join(f"{name} {value:.1f} ms" for name, value in figures.items())
        print(f"{name}: {shown}")
    print(f"wrong: {dict(wrong) or 'none'}; load average {os.getloadavg()[0]:.1f}")
    print(f"allowed: p99 {MAX_MS} ms, wanted {TARGET_MS} ms")
    return int(bool(wrong) or statistics.quantiles(every, n=1000)[989] > MAX_MS)


if __name__ == "__main__":
    sys.exit(main())
