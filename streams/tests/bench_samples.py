"""Measures how much a day of samples takes in the database, and how much two years take.

python -m streams.tests.bench_samples [CHANNELS]

Uses the PostgreSQL database of TEST_DATABASE_URL, which is to be empty, or a SQLite file of its
own. A simulated day is written as the node writes it: ten channels with two outputs each, a
sample of hub and pushers every ten seconds and of the player each minute, and items of three
minutes. The log
lines, of which a channel keeps 2,000, are there before. Then the samples are thinned as the
hourly job does. From the third day on, as many samples are thinned as are written: the database
grows by a thinned day and its as-run log. Exits with status 1 if that exceeds `ALLOWED_MB`.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "streamsite.settings")

ALLOWED_MB: Final = 50.0
MB: Final = 10**6
DAY_S: Final = 86_400
ITEM_S: Final = 180
#: As in streamsite.maintenance.retention.
MAX_LOG_LINES: Final = 2000
LINE: Final = "[FFMPEG] Opening 'live000123.ts' for writing, as it does every two seconds"
PROCESSES: Final = ("player", "hub", "pusher", "pusher")
BEGUN: Final = datetime(2026, 3, 1, tzinfo=UTC)


def report(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def database_bytes() -> int:
    """The pages in use: SQLite's file keeps free ones for later."""
    from django.db import connection

    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_database_size(current_database())")
            return int(cursor.fetchone()[0])
        pages = []
        for name in ("page_count", "freelist_count", "page_size"):
            cursor.execute(f"PRAGMA {name}")
            pages.append(int(cursor.fetchone()[0]))
        return (pages[0] - pages[1]) * pages[2]


def settle() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("VACUUM FULL" if connection.vendor == "postgresql" else "VACUUM")


def a_minute(begins: int, channels: Channels) -> Iterator[object]:
    """The notes of a minute: values that differ from sample to sample."""
    from streams.playout.contract import ledger
    from streams.playout.contract.output_status import Taken

    chance = random.Random(begins)  # noqa: S311 - no secret
    for second in range(begins, begins + 60, 10):
        at = BEGUN.timestamp() + second + chance.random()
        for channel, _, outputs in channels:
            for role, output in zip(PROCESSES, (None, None, *outputs), strict=True):
                if role == "player" and second % 60:
                    continue
                taken = Taken(
                    chance.randrange(2_900_000, 3_100_000), 0.0, chance.randrange(9_000)
                )
                yield ledger.Sampled(
                    channel, output, role, at, "on_air", chance.randrange(2_900_000, 3_100_000),
                    30.0, round(chance.uniform(0.98, 1.02), 3), chance.uniform(0, 3),
                    chance.uniform(0, 2), chance.randrange(50_000_000, 60_000_000),
                    taken if output else None,
                )  # fmt: skip


Channels = list[tuple[int, int, list[int]]]


def prepare(count: int) -> Channels:
    """The channels with their log lines."""
    from streams.models import LogLine, Run
    from streams.tests import rows

    channels: Channels = []
    for number in range(count):
        channel = rows.channel(f"channel-{number}")
        outputs = [rows.output(channel, name).pk for name in ("One", "Two")]
        channels.append((channel.pk, Run.objects.create(channel=channel).pk, outputs))
        LogLine.objects.bulk_create(
            LogLine(channel=channel, at=BEGUN, role="hub", level="info", text=LINE)
            for _ in range(MAX_LOG_LINES)
        )
    return channels


def fill(channels: Channels) -> tuple[int, int]:
    """Write the day; return the number of samples, and the bytes of the as-run log."""
    from streams.models import AsRun, Sample
    from streams.node import history_writer

    before = database_bytes()
    for begins in range(0, DAY_S, 60):
        history_writer.write(list(a_minute(begins, channels)))  # type: ignore[arg-type]  # notes
    samples = database_bytes()
    for begins in range(0, DAY_S, ITEM_S):
        at = BEGUN + timedelta(seconds=begins)
        AsRun.objects.bulk_create(
                AsRun(run_id=run, title=f"Item {begins}", rule="base", started_at=at,
                      ended_at=at + timedelta(seconds=ITEM_S), ending="whole",
                      why="It follows in the playlist.")
                for _, run, _ in channels
            )  # fmt: skip
    report(f"samples take {(samples - before) / MB:.1f} MB")
    return Sample.objects.count(), database_bytes() - samples


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    with tempfile.TemporaryDirectory() as folder:
        url = os.environ.get("TEST_DATABASE_URL", f"sqlite:///{folder}/bench.sqlite3")
        os.environ.update(DATABASE_URL=url, ENV_FILE=os.devnull, DATA_DIR=folder)
        return measure(count)


def measure(count: int) -> int:
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from streams.models import ThinnedSample
    from streams.monitoring import thinning

    call_command("migrate", verbosity=0)
    channels = prepare(count)
    settle()
    before, begun = database_bytes(), time.monotonic()
    samples, as_run = fill(channels)
    day = database_bytes() - before
    report(f"{connection.vendor}, {count} channels with 2 outputs: {samples} samples in a day")
    report(f"the first two days take {day / MB:.1f} MB each")
    report(f"written in {time.monotonic() - begun:.0f} s of the machine's time")
    sizes = []
    settle()
    with_samples = database_bytes()
    for age in (timedelta(days=4), timedelta(days=40)):
        begun = time.monotonic()
        removed = thinning.thin(BEGUN + age, begun + 3600)
        spent = time.monotonic() - begun
        settle()
        sizes.append(database_bytes())
        left = ThinnedSample.objects.count()
        report(f"after {age.days} days: {removed} rows thinned to {left} in {spent:.1f} s")
    full, minutes, quarters = (size - before - as_run for size in (with_samples, *sizes))
    report(f"the as-run log of a day takes {as_run / MB:.1f} MB")
    report(f"samples of a day take {full / MB:.1f} MB, of one older than 48 h")
    report(f"{minutes / MB:.1f} MB, of one older than 30 days {quarters / MB:.2f} MB")
    growth = (minutes + as_run) / MB
    report(
        f"from the third day on the database grows by {growth:.1f} MB a day, "
        f"of {ALLOWED_MB * count / 10:.0f}"
    )
    years = (2 * full + 28 * minutes + 700 * quarters + 730 * as_run) / MB
    report(f"two years take {years:.0f} MB, of which the as-run log {730 * as_run / MB:.0f} MB")
    connection.close()
    return 0 if growth <= ALLOWED_MB * count / 10 else 1


if __name__ == "__main__":
    sys.exit(main())
