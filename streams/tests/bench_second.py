"""Measures how far apart the pictures of two nodes are, and what the loss of one costs.

python -m streams.tests.bench_second [TIMES]

Runs as root, for PostgreSQL. Two nodes are processes of their own on this machine, with run
directories of their own. Each frame carries the number of its clip and its own, so a recording
shows which picture had arrived when. Prints the seconds by which the picture of the backup
ingest is ahead of the primary one: on air, through item changes, and after two skips. Then the
node that plays the channel is killed with everything that it runs, TIMES (3) times: for each,
the longest pause of the backup and the frames that are missing in it, and the seconds until the
primary is sent again. At last the supervisor of the second node is killed alone, whose FFmpeg
plays on until its guard ends it: the owner sends the backup.

Pushers are counted in both run directories, fifty times a second. Fails if the pictures differ
by more than a second where they are in step, if the backup pauses for as long as a segment
lasts or loses a frame, if primary or backup take too long, or if an output ever had two
pushers.
"""

# Django is set up for the database that is started here, so imports are late.
# ruff: noqa: C901, PLR0915 - a script whose processes choose Django's settings first
from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from streams.tests.bench.namespaces import MODULE, postgres
from streams.tests.bench.waiting import until

if TYPE_CHECKING:
    from streams.models import Output
    from streams.tests.bench.clips import Clip
    from streams.tests.bench.rtmp import RtmpServer

PRIMARY, BACKUP = "k-primary", "k-backup"
#: Seconds of the clips, and those that must be left of one when it is skipped.
CLIP_S, LEFT_S = 24.0, 10.0
POLL_INTERVAL_S = 0.02
#: Seconds that may lie between the two pictures, and until the primary is sent again.
MAX_DIFFERENCE_S, MAX_PRIMARY_S = 1.0, 20.0
#: Seconds until the owner sends the backup, if the second node is lost.
MAX_BACKUP_S = 25.0
#: Seconds of a segment: a pusher that waits for the next one pauses for less.
MAX_PAUSE_S = 2.0


class Pushers(threading.Thread):
    """Counts the pushers of each output on all nodes."""

    def __init__(self, run_dirs: list[Path]) -> None:
        super().__init__(daemon=True)
        self.stopped = threading.Event()
        self.run_dirs = run_dirs
        #: By name of the record: the nodes (by number) that run one now.
        self.now: dict[str, list[int]] = {}
        #: Moments at which an output had two.
        self.doubled: list[tuple[float, str]] = []

    def run(self) -> None:
        from streams.playout.ffmpeg import process

        while not self.stopped.wait(POLL_INTERVAL_S):
            now: dict[str, list[int]] = {}
            for number, run_dir in enumerate(self.run_dirs):
                for folder in process.channel_folders(run_dir).values():
                    for record in process.records(folder):
                        alive = process.born(record.pid) == record.born
                        if record.role == process.PUSHER and alive:
                            now.setdefault(record.name, []).append(number)
            self.doubled += [
                (time.monotonic(), name) for name, nodes in now.items() if len(nodes) > 1
            ]
            self.now = now

    def node_of(self, output: Output) -> int | None:
        """The node that sends the output; None: none does, or two do."""
        nodes = self.now.get(f"pusher-{output.pk}", [])
        return nodes[0] if len(nodes) == 1 else None


@dataclass
class Arrivals(threading.Thread):
    """Records how much of a key's recordings had arrived when."""

    server: RtmpServer
    key: str
    #: By recording: moments (monotonic), and the seconds of it that had arrived.
    seen: dict[Path, tuple[list[float], list[float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self.stopped = threading.Event()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        from streams.tests.bench.watch import last_second

        while not self.stopped.wait(POLL_INTERVAL_S):
            for path in self.server.recordings(self.key)[-1:]:
                reached = last_second(path)
                moments, seconds = self.seen.setdefault(path, ([], []))
                if reached is not None and (not seconds or reached > seconds[-1]):
                    moments.append(time.monotonic())
                    seconds.append(reached)

    def pause(self, since: float, until_: float) -> float:
        """The longest time without data between these moments."""
        moments = sorted(at for at, _ in self.points() if since <= at <= until_)
        return max(after - at for at, after in pairwise([since, *moments, until_]))

    def points(self) -> Iterator[tuple[float, tuple[Path, float]]]:
        for path, (moments, seconds) in self.seen.items():
            for at, second in zip(moments, seconds, strict=True):
                yield at, (path, second)


class Pictures:
    """Which picture of a key had arrived at a moment, in seconds of the looped playlist."""

    def __init__(self, arrivals: Arrivals, clips: list[Clip]) -> None:
        from streams.tests.bench.audit import marks

        starts, self.total = {}, 0.0
        for clip in clips:
            starts[clip.number] = self.total
            self.total += clip.seconds
        self.moments: list[float] = []
        self.at: list[float] = []
        self.jumps: list[tuple[float, float]] = []
        for path, (moments, seconds) in arrivals.seen.items():
            before: float | None = None
            for mark in marks(path):
                if mark.clip not in starts:
                    continue
                number = bisect_left(seconds, float(mark.at))
                if number == len(seconds):
                    break
                picture = starts[mark.clip] + mark.frame / 30
                if before is not None:
                    step = self.apart(picture, before) - 1 / 30
                    if abs(step) > 1 / 60:
                        self.jumps.append((moments[number], step))
                before = picture
                self.moments.append(moments[number])
                self.at.append(picture)

    def apart(self, one: float, other: float) -> float:
        half = self.total / 2
        return (one - other + half) % self.total - half

    def picture(self, moment: float) -> float:
        return self.at[min(bisect_left(self.moments, moment), len(self.at) - 1)]


def main(times: int = 3) -> int:
    """Return the number of failures."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-second-")))
        folder.chmod(0o755)
        port = stack.enter_context(postgres(folder / "postgres"))
        os.environ |= {
            "DATABASE_URL": f"postgres://streamsite:none@127.0.0.1:{port}/postgres",
            "ENV_FILE": "/dev/null",
            "DJANGO_SETTINGS_MODULE": "streamsite.settings",
            "MEDIA_FOLDER": str(folder / "media"),
            "STORAGE_PROVIDER": "local",
            "DATA_DIR": str(folder / "data"),
        }
        return _measured(times, stack, folder)


def _measured(times: int, stack: ExitStack, folder: Path) -> int:
    import django

    django.setup()
    from django.core.management import call_command
    from django.utils import timezone

    from streams.control import actions
    from streams.models import AsRun, Channel, ChannelState, Incident, Output
    from streams.playout.ffmpeg import process
    from streams.tests.bench import clips as bench_clips
    from streams.tests.bench.node import MANAGE, Bench
    from streams.tests.bench.rtmp import RtmpServer

    call_command("migrate", verbosity=0)
    server = RtmpServer(folder / "rtmp", MODULE)
    server.start()
    stack.callback(server.stop)
    media = folder / "media"
    media.mkdir(exist_ok=True)
    run_dirs = [folder / f"run-{number}" for number in (1, 2)]
    nodes: list[subprocess.Popen[bytes] | None] = [None, None]

    def start(number: int) -> None:
        run_dirs[number].mkdir(exist_ok=True)
        names = {"NODE_NAME": f"node-{number + 1}", "RUN_DIR": str(run_dirs[number])}
        with (folder / f"node-{number + 1}.log").open("ab") as log:
            nodes[number] = subprocess.Popen(
                (sys.executable, MANAGE, "run_cluster", "playout"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | names,
            )

    def kill(number: int) -> None:
        """The machine is gone: its supervisor, its FFmpeg processes and its guard."""
        if (node := nodes[number]) is not None:
            os.killpg(node.pid, signal.SIGKILL)
            for pid in process.marked_pids(run_dirs[number]):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            node.wait(20)
            nodes[number] = None

    bench = Bench(run_dirs[0], media, folder)
    made = [bench_clips.prepared(folder, number, CLIP_S) for number in (1, 2, 3)]
    channel = bench.channel(*(bench.item(clip) for clip in made))
    primary = bench.output(channel, server.address, PRIMARY, "Primary")
    backup = bench.output(channel, server.address, BACKUP, "Backup")
    Output.objects.filter(pk=backup.pk).update(second_node=True)
    pushers = Pushers(run_dirs)
    arrivals = {key: Arrivals(server, key) for key in (PRIMARY, BACKUP)}
    failures: list[str] = []

    def check(figure: str, value: float, bound: float, unit: str = "s") -> None:
        bad = abs(value) > bound
        print(f"{figure}: {value:+.2f} {unit}{'  FAILED' if bad else ''}", flush=True)
        if bad:
            failures.append(figure)

    def owner() -> str:
        return str(ChannelState.objects.get(pk=channel.pk).owner)

    def left() -> float:
        """Seconds until the item on air ends."""
        ends = ChannelState.objects.get(pk=channel.pk).now_until
        return 0.0 if ends is None else (ends - timezone.now()).total_seconds()

    def split() -> bool:
        nodes = pushers.node_of(primary), pushers.node_of(backup)
        return None not in nodes and nodes[0] != nodes[1]

    spans: list[tuple[str, float, float]] = []

    def span(name: str, seconds: float) -> None:
        began = time.monotonic()
        time.sleep(seconds)  # what is measured is a stretch of time
        spans.append((name, began, time.monotonic()))

    killed: list[tuple[float, float, int]] = []
    try:
        for number in (0, 1):
            start(number)
        pushers.start()
        for arrival in arrivals.values():
            arrival.start()
        began = time.monotonic()
        actions.start(Channel.objects.get(), by="bench", now=timezone.now())
        until(split, 120, "two nodes send")
        print(f"two nodes send {time.monotonic() - began:.1f} s after Start", flush=True)
        time.sleep(25)  # it measures its destination's lag, and corrects once
        span("on air, through an item's end", 60)
        for number in range(2):
            until(lambda: left() > LEFT_S, 60, "an item can be skipped")
            actions.skip(Channel.objects.get(), by="bench", now=timezone.now())
            skipped = time.monotonic()
            time.sleep(25)  # both have skipped
            spans.append((f"skip {number + 1}", skipped, skipped))
            span(f"after skip {number + 1}", 10)
        for _ in range(times):
            until(split, 120, "two nodes send")
            time.sleep(15)  # in step
            first = pushers.node_of(primary)
            assert first is not None
            sessions = len(server.recordings(BACKUP))
            before = time.monotonic()
            kill(first)
            second = 1 - first
            until(lambda: pushers.node_of(primary) == second, 60, "the second sends it")  # noqa: B023 - called within the turn
            size = server.bytes_of(PRIMARY)
            until(lambda: server.bytes_of(PRIMARY) > size, 30, "it arrives")  # noqa: B023 - called within the turn
            again = time.monotonic()
            time.sleep(5)  # the backup goes on
            killed.append((before, again, len(server.recordings(BACKUP)) - sessions))
            assert owner() == f"node-{second + 1}"
            start(first)
        until(split, 120, "two nodes send")
        follower = pushers.node_of(backup)
        assert follower is not None
        alone = nodes[follower]
        assert alone is not None
        os.killpg(alone.pid, signal.SIGKILL)
        alone.wait(20)
        began = time.monotonic()
        until(lambda: pushers.node_of(backup) == 1 - follower, 90, "the owner sends the backup")
        silent = time.monotonic() - began
        start(follower)
        until(lambda: pushers.node_of(backup) == follower, 120, "the second sends it again")
    finally:
        pushers.stopped.set()
        for arrival in arrivals.values():
            arrival.stopped.set()
        for number in (0, 1):
            kill(number)
            process.stop_everything(run_dirs[number])
    first_picture, second_picture = (Pictures(arrivals[key], made) for key in (PRIMARY, BACKUP))

    def apart(at: float) -> float:
        return second_picture.apart(second_picture.picture(at), first_picture.picture(at))

    for name, begins, ends in spans:
        if begins == ends:
            moments = [begins + number / 5 for number in range(125)]
            late = [at - begins for at in moments if abs(apart(at)) > MAX_DIFFERENCE_S]
            print(f"{name}: in step again {max(late, default=0.0):.1f} s after the order")
            continue
        moments = [begins + number / 10 for number in range(int((ends - begins) * 10))]
        differences = [apart(at) for at in moments]
        print(f"{name}: median {statistics.median(differences):+.2f} s")
        check(f"{name}: largest difference", max(differences, key=abs), MAX_DIFFERENCE_S)
    for number, (before, again, sessions) in enumerate(killed, 1):
        check(f"kill {number}: primary sent again after", again - before, MAX_PRIMARY_S)
        pause = arrivals[BACKUP].pause(before, again)
        check(f"kill {number}: longest pause of the backup", pause, MAX_PAUSE_S)
        jumps = [step for at, step in second_picture.jumps if before <= at <= again]
        check(f"kill {number}: jumps in the backup's pictures", len(jumps), 0, "")
        check(f"kill {number}: new sessions of the backup", sessions, 0, "")
    check("second's supervisor killed: the owner sends the backup after", silent, MAX_BACKUP_S)
    check("moments with two pushers of one output", len(pushers.doubled), 0, "")
    check("refused by the server", server.log().count("already publishing"), 0, "")
    titles = list(AsRun.objects.order_by("started_at").values_list("title", "ending"))
    print("as-run:", ", ".join(f"{title} ({ending or 'on air'})" for title, ending in titles))
    for incident in Incident.objects.order_by("opened_at"):
        closed = incident.closed_at or timezone.now()
        lasted = (closed - incident.opened_at).total_seconds()
        print(f"incident: {incident.subject} {lasted:.1f} s: {incident.cause}")
    return len(failures)


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in sys.argv[1:])) > 0)
