"""Drills of the watch of the air: each fault's verdict, cause, seconds and message.

python -m streams.tests.bench_air [NAME ...]

A node of its own, with a database, real FFmpeg, RTMP servers and the jobs that send messages;
each fault has a channel of its own and happens at a time that is measured here, not by the
product. For each: the incident that was expected, by how many seconds its begin and end differ
from the fault's, the verdict while it lasted, and after how many seconds a receiver on this
machine had its message. Ends with the number of faults whose incident, verdict, seconds (1 s)
or message were not as expected.
"""

# Django is set up for the database that is made here, so imports are late.

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from streams.tests.bench.air_faults import FAULTS
from streams.tests.bench.air_machine import MACHINE, folders
from streams.tests.bench.air_stage import (
    BOUND_S,
    EXACT_S,
    Drill,
    Expected,
    Outcome,
    Stage,
    clip,
    incident,
)
from streams.tests.bench.faulty import receiver
from streams.tests.bench.waiting import until

if TYPE_CHECKING:
    from streams.models import Channel


def main(*names: str) -> int:
    # If ended early, nothing is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-air-")))
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
            "WEBHOOK_PRIVATE_TARGETS": "true",
        }
        return _drilled(folder, stack, names or (*FAULTS, *MACHINE))


def _drilled(folder: Path, stack: ExitStack, names: tuple[str, ...]) -> int:
    import django

    django.setup()
    from django.core.management import call_command

    from streams.models import AlertReceiver, Channel
    from streams.tests.bench.node import MANAGE, Bench
    from streamsite.security.secret import Secret

    call_command("migrate", verbosity=0)
    received = stack.enter_context(receiver())
    AlertReceiver.objects.create(
        name="Drills",
        kind=AlertReceiver.Kind.WEBHOOK,
        address=Secret(received.address.replace("http:", "json:", 1)),
        lowest="degraded",
    )
    node = Bench(folder / "run", folder / "media", folder)
    stage = Stage(node, folder, stack, received)
    with (folder / "jobs.log").open("wb") as log:
        jobs = subprocess.Popen(
            (sys.executable, MANAGE, "run_cluster", "jobs"),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=node.environment(),
            start_new_session=True,
        )
    stack.callback(jobs.wait, 10)
    stack.callback(os.killpg, jobs.pid, signal.SIGKILL)
    for number in (1, 2):
        clip(stage, number)
    stack.callback(node.end)
    outcomes: dict[str, Outcome] = {}
    faults = 0
    together = [name for name in names if name in FAULTS]
    if together:
        drills = {name: FAULTS[name](stage) for name in together}
        node.start()
        outcomes |= _together(drills)
        faults = sum(_report(stage, name, one) for name, one in outcomes.items())
        node.end()
        Channel.objects.update(desired_state=Channel.DesiredState.OFF)
    for name in names:
        if name in MACHINE:
            run_dir, logs = folders(folder, name)
            stage.node = Bench(run_dir, folder / "media", logs)
            try:
                outcomes |= (one := _together({name: MACHINE[name](stage)}))
                faults += _report(stage, name, one[name]) if one else 0
            finally:
                stage.node.end()
                Channel.objects.update(desired_state=Channel.DesiredState.OFF)
    missing = len(names) - len(outcomes)
    print(f"{faults + missing} of {len(names)} faults were not reported as expected")
    return faults + missing


def _report(stage: Stage, name: str, outcome: Outcome) -> int:
    """Print the outcome; 1 if it was not as expected."""
    complaint = judged(stage, name, outcome)
    print(f"{name}: {complaint or 'as expected'}", flush=True)
    return bool(complaint)


def _together(drills: dict[str, Drill]) -> dict[str, Outcome]:
    """Let all drills take their turns until each is over."""
    outcomes: dict[str, Outcome] = {}
    ends = time.monotonic() + BOUND_S
    while drills and time.monotonic() < ends:
        for name, drill in list(drills.items()):
            try:
                next(drill)
            except StopIteration as over:
                outcomes[name] = over.value
                del drills[name]
        time.sleep(0.1)  # the polling rate
    for name in drills:
        print(f"{name}: not over after {BOUND_S:.0f} s", flush=True)
    return outcomes


def judged(stage: Stage, name: str, outcome: Outcome) -> str:
    """Print what was reported. Return what was not as expected; empty: everything was."""
    from streams.models import Channel

    expected = outcome.expected
    if not expected.severity:
        print(
            f"{name}: verdicts {sorted(outcome.seen.levels)}, incidents {outcome.seen.causes}"
        )
        wrong = outcome.seen.levels - {expected.level} or outcome.seen.causes
        return "expected nothing" if wrong else ""
    channel = Channel.objects.get(slug=outcome.channel)
    row = incident(channel, expected.subject)
    if row is None:
        return f"no incident {expected.subject}"
    if expected.ended is not None:
        until(lambda: _closed(channel, expected), 60, f"the incident of {name} is closed")
        row.refresh_from_db()
    # Its cause may be another one by the time it is sent.
    label = {"lost": "Off air", "degraded": "Degraded"}[expected.severity]
    message = stage.received.about(f"{channel.name}: {label} since")
    began = row.opened_at.timestamp() - expected.began
    ended = (
        None
        if expected.ended is None or row.closed_at is None
        else row.closed_at.timestamp() - expected.ended
    )
    after = None if message is None else message - row.opened_at.timestamp()
    print(
        f"{name}: {row.severity}, {outcome.seen.causes}; begin {began:+.2f} s"
        f"{'' if ended is None else f', end {ended:+.2f} s'}, "
        f"verdicts {sorted(outcome.seen.levels)}, "
        f"message {'none' if after is None else f'after {after:.1f} s'}",
        flush=True,
    )
    faults = []
    if row.severity != expected.severity or expected.words not in " ".join(outcome.seen.causes):
        faults.append(f"expected {expected.severity}, {expected.words!r}")
    if abs(began) > expected.exact or (ended is not None and abs(ended) > EXACT_S):
        faults.append("the seconds differ")
    if expected.level not in outcome.seen.levels:
        faults.append(f"expected the verdict {expected.level}")
    if message is None:
        faults.append("no message")
    return ", ".join(faults)


def _closed(channel: Channel, expected: Expected) -> bool:
    row = incident(channel, expected.subject)
    return row is not None and row.closed_at is not None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
