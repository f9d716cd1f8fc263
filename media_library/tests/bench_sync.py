"""Measures the speed of a sync: objects from memory, the real database and schema.

    python -m media_library.tests.bench_sync [OBJECTS]

Each pass runs in its own process, so that its memory is its own. deploy/bench.sh calls it.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import dropwhile
from typing import Final

from media_library.storage.list_objects import Listed

OBJECTS: Final = 1_000_000
#: Objects a second and MB of memory, as issue 3 asks.
MIN_FIRST: Final = 30_000
MIN_SECOND: Final = 100_000
MAX_MEMORY_MB: Final = 150
#: Maximum seconds for which SQLite's only lock is held.
LONGEST_WRITE: Final = 1.0


def objects(count: int, *, scattered: bool = False) -> Iterator[Listed]:
    """Yields a library of series with seasons of fifty, in the order of keys, one by one.

    Its files are named as Plex, Jellyfin and Kodi expect: series, season, episode, title.
    `scattered` names them by their titles alone, so that they are spread over the index of
    titles: the worst case of a sync.
    """
    letters, rates = "etaoinshrdlucmfwypvbgkjqxz", range(26, 0, -1)
    dice = random.Random(1)  # noqa: S311 - the same library at each call
    words = ["".join(dice.choices(letters, rates, k=3 + at % 7)) for at in range(4000)]
    per_series = 500
    series = sorted(
        f"{dice.choice(words)}-{dice.choice(words)}-{place}"
        for place in range(-(-count // per_series))
    )
    made = 0
    for name in series:
        for place in range(min(per_series, count - made)):
            season, episode = divmod(place, 50)
            # Two primes: any word may be next to any other.
            title = f"{words[made * 1597 % 4000]}_{words[made * 2741 % 3989]}"
            if not scattered:
                title = f"{name}-s{season + 1:02}e{episode:02}-{title}"
            else:
                # The part before the title keeps the order of keys.
                title = f"{episode:02}/{title}"
            yield Listed(
                f"shows/{name}/season-{season + 1:02}/{title}.mp4", made + 1, f"{made:032x}"
            )
            made += 1


def run_pass(count: int, *, scattered: bool = False) -> dict[str, float]:
    """Runs a sync in this process; returns counts, seconds, peak memory (MB), longest lock."""
    import django

    django.setup()
    from media_library.sync import rows, runner

    began, at_work = time.monotonic(), time.process_time()
    worker = runner.Worker(
        runner.prepare(by="bench").pk,
        lambda after: dropwhile(
            lambda listed: listed.key <= after, objects(count, scattered=scattered)
        ),
    )
    with rows.many_writes():
        worker.work()
    seconds = time.monotonic() - began
    worker.run.refresh_from_db()
    return {
        "added": worker.run.added,
        "unchanged": worker.run.unchanged,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(time.process_time() - at_work, 2),
        "per_second": round(count / seconds),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "longest_write": round(worker.longest_write, 3),
    }


def migrate() -> None:
    """Migrates in its own process too: that takes memory that no sync needs."""
    argv = (sys.executable, "manage.py", "migrate", "--verbosity", "0")
    subprocess.run(argv, env=os.environ | _SETTINGS, check=True)


def in_own_process(count: int) -> dict[str, float]:
    """Runs a pass over `count` objects, in the database of the environment's DATA_DIR."""
    process = subprocess.run(
        [
            sys.executable,
            "-m",
            __name__ if __name__ != "__main__" else _NAME,
            "pass",
            str(count),
        ],
        env=os.environ | _SETTINGS,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    result: dict[str, float] = json.loads(process.stdout.splitlines()[-1])
    return result


_NAME: Final = "media_library.tests.bench_sync"
_SETTINGS: Final = {"DJANGO_SETTINGS_MODULE": "streamsite.tests.settings"}


def main(count: int) -> int:
    os.environ.update(_SETTINGS)
    # The folders are made once, here, and both passes get them from the environment.
    import streamsite.tests.settings  # noqa: F401 - it chooses the settings

    migrate()
    failed = False
    for name, least, counted in (
        ("first", MIN_FIRST, "added"),
        ("second", MIN_SECOND, "unchanged"),
    ):
        result = in_own_process(count)
        checks = (
            (result[counted] == count, f"{result[counted]:,} {counted}"),
            (
                result["per_second"] >= least,
                f"{result['per_second']:,} objects/s (>= {least:,})",
            ),
            (result["memory"] < MAX_MEMORY_MB, f"{result['memory']} MB (< {MAX_MEMORY_MB})"),
            (
                result["longest_write"] < LONGEST_WRITE,
                f"longest write {result['longest_write']} s (< {LONGEST_WRITE})",
            ),
        )
        summary = ", ".join(f"{'' if good else 'FAIL '}{what}" for good, what in checks)
        took = f"{result['seconds']} s ({result['cpu_seconds']} s of one core)"
        print(f"{name} sync of {count:,}: {took}, {summary}", flush=True)
        failed |= not all(good for good, _ in checks)
    print("fail" if failed else "pass")
    return int(failed)


if __name__ == "__main__":
    if sys.argv[1:2] == ["pass"]:
        print(json.dumps(run_pass(int(sys.argv[2]), scattered="scattered" in sys.argv)))
    else:
        sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else OBJECTS))
