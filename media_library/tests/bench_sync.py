"""How fast a sync is by itself: objects from memory, the product's own database and schema.

    python -m media_library.tests.bench_sync [OBJECTS]

Each pass runs in a process of its own, so that its memory is its own. deploy/bench.sh calls it.
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
LEAST_FIRST: Final = 30_000
LEAST_SECOND: Final = 100_000
MOST_MEMORY: Final = 150
#: Seconds that SQLite's one lock is held at a time.
LONGEST_WRITE: Final = 1.0


def objects(count: int, *, scattered: bool = False) -> Iterator[Listed]:
    """A library of series with seasons of fifty, in the order of their keys. Nothing is kept.

    Its files are named as Plex, Jellyfin and Kodi want it: series, season, episode, title.
    `scattered` names them by their titles alone, so that each goes elsewhere in the index of
    titles: the worst that a sync may meet.
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
            # Two primes: any word may stand beside any other.
            title = f"{words[made * 1597 % 4000]}_{words[made * 2741 % 3989]}"
            if not scattered:
                title = f"{name}-s{season + 1:02}e{episode:02}-{title}"
            else:
                # The keys' order is kept by what the title doesn't show.
                title = f"{episode:02}/{title}"
            yield Listed(
                f"shows/{name}/season-{season + 1:02}/{title}.mp4", made + 1, f"{made:032x}"
            )
            made += 1


def run_pass(count: int, *, scattered: bool = False) -> dict[str, float]:
    """One sync in this process: what it did, its seconds, peak memory (MB), longest lock."""
    import django  # noqa: PLC0415 - only a pass needs it, and the memory it takes

    django.setup()
    from media_library.sync import rows, runner  # noqa: PLC0415

    began, at_work = time.monotonic(), time.process_time()
    worker = runner.Worker(
        runner.prepare(by="bench").pk,
        lambda after: dropwhile(
            lambda each: each.key <= after, objects(count, scattered=scattered)
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
    """In a process of its own too: it takes memory that no sync does."""
    argv = (sys.executable, "manage.py", "migrate", "--verbosity", "0")
    subprocess.run(argv, env=os.environ | _SETTINGS, check=True)


def in_own_process(count: int) -> dict[str, float]:
    """A pass over `count` objects, in the database of the environment's DATA_DIR."""
    said = subprocess.run(
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
    found: dict[str, float] = json.loads(said.stdout.splitlines()[-1])
    return found


_NAME: Final = "media_library.tests.bench_sync"
_SETTINGS: Final = {"DJANGO_SETTINGS_MODULE": "streamsite.tests.settings"}


def main(count: int) -> int:
    os.environ.update(_SETTINGS)
    # The folders are made once, here, and both passes find them in the environment.
    import streamsite.tests.settings  # noqa: F401, PLC0415

    migrate()
    failed = False
    for name, least, wanted in (
        ("first", LEAST_FIRST, "added"),
        ("second", LEAST_SECOND, "unchanged"),
    ):
        found = in_own_process(count)
        checks = (
            (found[wanted] == count, f"{found[wanted]:,} {wanted}"),
            (found["per_second"] >= least, f"{found['per_second']:,} objects/s (>= {least:,})"),
            (found["memory"] < MOST_MEMORY, f"{found['memory']} MB (< {MOST_MEMORY})"),
            (
                found["longest_write"] < LONGEST_WRITE,
                f"longest write {found['longest_write']} s (< {LONGEST_WRITE})",
            ),
        )
        said = ", ".join(f"{'' if good else 'FAIL '}{what}" for good, what in checks)
        took = f"{found['seconds']} s ({found['cpu_seconds']} s of one core)"
        print(f"{name} sync of {count:,}: {took}, {said}", flush=True)  # noqa: T201
        failed |= not all(good for good, _ in checks)
    print("fail" if failed else "pass")  # noqa: T201
    return int(failed)


if __name__ == "__main__":
    if sys.argv[1:2] == ["pass"]:
        print(json.dumps(run_pass(int(sys.argv[2]), scattered="scattered" in sys.argv)))  # noqa: T201
    else:
        sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else OBJECTS))
