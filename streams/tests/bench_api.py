"""Measures how fast the API responds with many rows.

python -m streams.tests.bench_api [ROWS] [--rate 100] [--seconds 30]

Starts `manage.py serve` with a SQLite database of its own. Requests are sent on schedule
whether or not earlier ones have been answered; a response time counts from the request's
scheduled time. Each request has a connection of its own. They cycle through the lists (with
filters and deep pages), single rows, and valid and wrong keys. A search reads the whole
library, so it is reported separately. Exits with status 1 if `ALLOWED` is exceeded or a
response is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import psutil

from streams.tests.bench_auth import (
    ROOT,
    free_port,
    request_status,
    spent,
    until_calm,
    until_open,
)

#: Milliseconds, of the 99th percentile.
ALLOWED: Final = 50
#: Requests before those that count: each thread opens its database.
WARMING: Final = 100
#: Runs per channel.
RUNS: Final = 100
SEARCHES: Final = 20
#: Number of keys in use: the load is that of a site, not of one program.
KEYS: Final = 50


def fill(count: int) -> list[str]:
    """Create items, as-run entries, incidents, stream keys and API keys; return keys."""
    from datetime import timedelta

    from django.db import transaction
    from django.utils import timezone

    from media_library.models import MediaItem
    from streams.models import (
        AsRun,
        Broadcaster,
        Channel,
        Incident,
        Run,
        StreamKey,
    )
    from streamsite.api import keys
    from streamsite.api.models import ApiKey
    from streamsite.api.permissions import KeyPermission

    now = timezone.now()
    numbers = range(count)
    with transaction.atomic():
        channel = Channel.objects.create(name="Demo", slug="demo")
        runs = [
            Run.objects.create(channel=channel, started_at=now, ended_at=now)
            for _ in range(RUNS)
        ]
        owner = Broadcaster.objects.create(name="Ada", slug="ada")
        rows: list[tuple[type, Callable[[int], object]]] = [
            (
                MediaItem,
                lambda n: MediaItem(
                    key=f"films/{n % 100}/film {n}.mp4",
                    title=f"Film {n}",
                    status="ready",
                    duration_seconds=n % 7200,
                ),
            ),
            (
                AsRun,
                lambda n: AsRun(
                    run=runs[n % RUNS],
                    title=f"Film {n}",
                    started_at=now - timedelta(seconds=n),
                    ended_at=now,
                ),
            ),
            (
                Incident,
                lambda n: Incident(
                    channel=channel,
                    subject=f"output-{n % 9}",
                    severity="lost",
                    cause="It went away.",
                    opened_at=now - timedelta(seconds=n),
                    closed_at=now,
                ),
            ),
            (
                StreamKey,
                lambda n: StreamKey(broadcaster=owner, prefix=f"{n:06}"[:6], digest=f"{n:064}"),
            ),
            (
                ApiKey,
                lambda n: ApiKey(name=f"Key {n}", prefix="ssk_", digest=f"{n:064}"),
            ),
        ]
        for model, make in rows:
            model.objects.bulk_create(map(make, numbers), batch_size=5000)  # type: ignore[attr-defined]  # the type is narrower at run time
        return [
            keys.mint(
                f"Bench {n}",
                KeyPermission.FULL_ACCESS,
                by="bench",
                now=now,
                # Requests are counted, and none is refused.
                requests_per_minute=1_000_000,
            )[1].reveal()
            for n in range(KEYS)
        ]


def routes(count: int) -> list[tuple[str, str]]:
    """Name and address of each request."""
    from media_library.models import MediaItem
    from streams.models import AsRun
    from streamsite.api.crud import cursor_of

    middle = count // 2
    far = cursor_of(AsRun.objects.order_by("-started_at")[middle], "started_at")
    item = cursor_of(MediaItem.objects.order_by("title")[middle], "title")
    return [
        ("channels", "channels"),
        ("media", "media"),
        ("media, far", f"media?order=title&cursor={item}"),
        ("media, folder", "media?folder=films/7&order=longest"),
        ("media, one", f"media/{middle}"),
        ("as-run", "channels/demo/as-run"),
        ("as-run, far", f"channels/demo/as-run?cursor={far}"),
        ("incidents", "channels/demo/incidents?open=false"),
        ("runs", "runs?channel=demo"),
        ("stream keys", "stream-keys?revoked=false"),
        ("api keys", "api-keys?permissions=READ_ONLY"),
        ("status", "channels/demo/status"),
    ]


def request(path: str, key: str) -> bytes:
    head = (
        f"GET /api/v1/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {key}\r\n"
        "Accept: application/json\r\nConnection: close\r\n\r\n"
    )
    return head.encode()


async def load(
    port: int, questions: list[tuple[str, bytes, int]], rate: int
) -> tuple[dict[str, list[float]], Counter[str]]:
    """Milliseconds of each response by request, and the number of wrong ones by kind."""
    taken: dict[str, list[float]] = {}
    wrong: Counter[str] = Counter()
    begun = time.perf_counter() + 0.5

    async def one(number: int) -> None:
        due = begun + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        taken.setdefault("sent late by", []).append((time.perf_counter() - due) * 1000)
        name, sent, expected = questions[number]
        try:
            status = await asyncio.wait_for(request_status(port, sent), 10)
        except (OSError, TimeoutError, IndexError, ValueError) as error:
            wrong[type(error).__name__] += 1
            return
        taken.setdefault(name, []).append((time.perf_counter() - due) * 1000)
        if status != expected:
            wrong[f"{name}: {status} instead of {expected}"] += 1

    await asyncio.gather(*(one(number) for number in range(len(questions))))
    return taken, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="?", type=int, default=100_000)
    parser.add_argument("--rate", type=int, default=100, help="questions a second")
    parser.add_argument("--seconds", type=int, default=30)
    given = parser.parse_args()
    dice = random.Random(1)  # noqa: S311 - no secret
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        os.environ |= {
            "ENV_FILE": os.devnull,
            "DJANGO_SETTINGS_MODULE": "streamsite.settings",
            "DATA_DIR": f"{folder}/data",
            "RUN_DIR": f"{folder}/run",
            "PORT": str(port),
            "API_REQUESTS_PER_MINUTE": "1000000",
            # The items have no files: the first sync would run long, reporting missing rows.
            "SYNC_MINUTES": "0",
        }
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        call_command("collectstatic", verbosity=0, interactive=False)
        good = fill(given.rows)
        requests = routes(given.rows)
        questions = []
        for number in range(given.rate * given.seconds + WARMING):
            name, path = requests[number % len(requests)]
            questions.append((name, request(path, dice.choice(good)), 200))
            if number % 400 == WARMING:
                # Few enough not to throttle their address.
                questions[-1] = ("wrong key", request(path, f"ssk_{number}"), 401)
        site = subprocess.Popen(
            (sys.executable, str(ROOT / "manage.py"), "serve"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            until_open(port)
            until_calm(site.pid)
            asyncio.run(load(port, questions[:WARMING], rate=20))
            tree = psutil.Process(site.pid)
            before = spent(tree)
            taken, wrong = asyncio.run(load(port, questions[WARMING:], given.rate))
            cost = (spent(tree) - before) * 1000 / (len(questions) - WARMING)
            search = f"media?q=film+{given.rows // 2}"
            searches = [("search", request(search, dice.choice(good)), 200)] * SEARCHES
            apart, wrong_apart = asyncio.run(load(port, searches, rate=2))
        finally:
            site.send_signal(signal.SIGTERM)
            site.wait(30)
    print(f"CPU of the site: {cost:.1f} ms a question")
    figures = ", ".join(f"{ms:.0f}" for ms in sorted(apart["search"]))
    print(f"searches apart, two a second: {figures} ms")
    return report(taken, wrong + wrong_apart, given.rows, given.rate)


def report(taken: dict[str, list[float]], wrong: Counter[str], rows: int, rate: int) -> int:
    late = taken.pop("sent late by")
    every = [milliseconds for answers in taken.values() for milliseconds in answers]
    print(f"{rows} rows of a kind, {rate} questions a second, {len(every)} answers")
    for name, times in [("all", every), *sorted(taken.items()), ("sent late by", late)]:
        cuts = statistics.quantiles(times, n=1000) if len(times) > 1 else times * 999
        figures = {"p50": cuts[499], "p95": cuts[949], "p99": cuts[989], "most": max(times)}
        shown = ", ".join(f"{figure} {value:.1f} ms" for figure, value in figures.items())
        print(f"{name}: {shown}")
    print(f"wrong: {dict(wrong) or 'none'}; load average {os.getloadavg()[0]:.1f}")
    print(f"allowed: p99 {ALLOWED} ms")
    return int(bool(wrong) or statistics.quantiles(every, n=1000)[989] > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
