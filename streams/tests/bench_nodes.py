"""Measures what viewers and the as-run log get when something happens to one of three nodes.

python -m streams.tests.bench_nodes [ROUNDS [CASE ...]]

Runs as root: three nodes in network namespaces of their own, a PostgreSQL server, a Redis
server as the broker with a background cluster, and one RTMP server that records. In each of
ROUNDS (2) rounds: the sending node loses its power, loses the database, is drained; the
database is away for 60 s; the broker is killed; the clock of the sending node jumps by 5
minutes and that node loses its power. The third node's wall clock is that of libfaketime
(package libfaketime): a namespace can't have one of its own.

Prints for each case: the longest stretch without data at the recorder, how soon after the fault
data came again, how far the programme jumped there (negative: repeated), seconds in which two
nodes had pushers, and faults of the as-run log. Ends with the number of cases that broke a
promise.
"""

# Django is set up for the database that is started here, so imports are late.
# ruff: noqa: PLR0917 - a script whose parts share what the first one has started
from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from streams.tests.bench.namespaces import (
    FAKETIME,
    MANAGE,
    MODULE,
    POLL_INTERVAL_S,
    RECORDER,
    Counter,
    Net,
    Nodes,
    postgres,
    recorder_address,
)
from streams.tests.bench.rtmp import RtmpServer, free_port
from streams.tests.bench.waiting import until

if TYPE_CHECKING:
    from streams.models import AsRun, Channel

KEY: Final = "k-nodes"
CLIPS: Final = 4
CLIP_S: Final = 12.8
#: Promised seconds without data until another node sends.
BACK_S: Final = 20.0
AWAY_S: Final = 60.0
#: The node whose clock can be set.
FAKED: Final = 2


class Arrivals(threading.Thread):
    """Records when data arrived at the recorder."""

    def __init__(self, server: RtmpServer) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.last = time.monotonic()
        #: Beginning and end of each stretch of more than a second without data.
        self.gaps: list[tuple[float, float]] = []

    def run(self) -> None:
        before = 0
        while True:
            size = self.server.bytes_of(KEY)
            now = time.monotonic()
            if size != before:
                if now - self.last > 1:
                    self.gaps.append((self.last, now))
                before, self.last = size, now
            time.sleep(POLL_INTERVAL_S)  # the polling rate


@dataclass
class Outcome:
    """One case. `bound`: promised seconds without data. `jump`: bounds in seconds."""

    bound: float
    #: Whether the session must go on.
    kept: bool = False
    jump: tuple[float, float] = (0.0, 0.0)
    #: Whether the programme went on meanwhile: then `jump` is what differs from that.
    in_time: bool = False
    #: Seconds after the fault at which the clock of the promise begins.
    since: float = 0.0
    notes: list[str] = field(default_factory=list)


class Drill:
    def __init__(
        self, nodes: Nodes, server: RtmpServer, redis: Redis, channel: Channel, rounds: int
    ) -> None:
        self.nodes, self.server, self.redis, self.channel = nodes, server, redis, channel
        self.rounds = rounds
        self.counter = Counter(nodes.run_dirs)
        self.arrivals = Arrivals(server)
        self.broken = 0

    def flowing(self, seconds: float = 5.0, within: float = 120.0) -> None:
        """Wait until data has arrived without a pause for so long."""
        began = time.monotonic()

        def steady() -> bool:
            now = time.monotonic()
            last = self.arrivals.gaps[-1][1] if self.arrivals.gaps else 0.0
            return now - self.arrivals.last < 1 and now - max(began, last) > seconds

        until(steady, within, "data arrives")

    def other(self, sender: int, within: float) -> None:
        def moved() -> bool:
            now = self.counter.now
            return not now[sender] and any(now)

        until(moved, within, "another node sends")
        self.flowing()

    # ---- the cases

    def power(self, sender: int) -> Outcome:
        self.nodes.power_off(sender)
        self.other(sender, 90)
        self.nodes.start(sender, fake_clock=sender == FAKED)
        return Outcome(BACK_S, jump=(-3.0, 3.0))

    def cut(self, sender: int) -> Outcome:
        """Its programme goes on for 12 s, of which nothing can be reported."""
        self.nodes.nets[sender].database("down")
        self.other(sender, 90)
        self.nodes.nets[sender].database("up")
        time.sleep(20)  # the first is back, and must not send
        return Outcome(BACK_S, jump=(-17.0, 1.0))

    def drain(self, sender: int) -> Outcome:
        from streams.models import Node

        node = Node.objects.filter(name=self.nodes.name(sender))
        node.update(drain_ordered_at=datetime.now().astimezone())
        self.other(sender, CLIP_S + 60)
        node.update(drain_ordered_at=None)
        return Outcome(BACK_S, jump=(-2.0, 0.1))

    def database(self, sender: int) -> Outcome:
        for net in self.nodes.nets:
            net.database("down")
        time.sleep(AWAY_S)  # what is measured
        for net in self.nodes.nets:
            net.database("up")
        until(lambda: any(self.counter.now), 90, "a node sends")
        self.flowing()
        same = "the same node" if self.counter.now[sender] else "another node"
        return Outcome(
            AWAY_S + BACK_S, in_time=True, jump=(-2, 2), since=AWAY_S, notes=[f"{same} sends"]
        )

    def broker(self, _sender: int) -> Outcome:
        from django.utils import timezone
        from django_q.models import Task

        from streamsite.processes.cluster import SELF_TEST_TASK

        self.redis.kill()
        time.sleep(20)  # what is measured
        self.redis.start()
        back, began = timezone.now(), time.monotonic()
        done = Task.objects.filter(func=SELF_TEST_TASK, success=True, started__gt=back)
        until(done.exists, 180, "jobs are done again")
        return Outcome(
            1.0, kept=True, notes=[f"jobs again after {time.monotonic() - began:.0f} s"]
        )

    def clock(self, sender: int) -> Outcome:
        """Called with the node that has the clock as the sender."""
        from django.utils import timezone

        from streams.models import ChannelState

        ahead = -300 if self.rounds % 2 else 300
        self.nodes.set_clock(sender, ahead)
        sessions = self.server.sessions(KEY)
        time.sleep(40)  # longer than a lease and two items
        state = ChannelState.objects.get()
        notes = [f"clock {ahead:+d} s"]
        if self.server.sessions(KEY) != sessions or not self.counter.now[sender]:
            notes.append("THE CHANNEL MOVED")
        if not state.plays(timezone.now()):
            notes.append("THE PAGE SHOWS IT OFF THE AIR")
        self.nodes.power_off(sender)
        self.other(sender, 90)
        self.nodes.start(sender, fake_clock=True)
        return Outcome(BACK_S, jump=(-3.0, 3.0), since=40.0, notes=notes)

    CASES: Final[tuple[str, ...]] = ("power", "cut", "drain", "database", "broker", "clock")

    def run(self, names: list[str]) -> int:
        self.counter.start()
        self.arrivals.start()
        for _ in range(self.rounds):
            for name in names:
                self._case(name, getattr(self, name))
            self.rounds -= 1
        return self.broken

    def _move_to(self, number: int) -> None:
        from streams.models import Node

        others = Node.objects.exclude(name=self.nodes.name(number))
        others.update(drain_ordered_at=datetime.now().astimezone())
        until(lambda: self.counter.now[number], 90, "the node with the clock sends")
        others.update(drain_ordered_at=None)

    def _case(self, name: str, case: Callable[[int], Outcome]) -> None:
        from django.utils import timezone

        self.counter.until_one()
        if name == "clock":
            self._move_to(FAKED)
        self.flowing(8)  # all have seen each other's rows
        sender = self.counter.until_one()
        sessions = len(self.server.recordings(KEY))
        self.counter.both = self.counter.gap = 0.0
        began, moment = time.monotonic(), timezone.now()
        outcome = case(sender)
        self.flowing()
        gaps = [gap for gap in self.arrivals.gaps if gap[1] > began]
        longest = max((end - start for start, end in gaps), default=0.0)
        back = max((end for _, end in gaps), default=began) - began - outcome.since
        faults = list(as_run_faults(self.channel, moment))
        if longest > outcome.bound:
            faults.append(f"off the air for more than {outcome.bound:.0f} s")
        if self.counter.both:
            faults.append("two nodes had pushers")
        recordings = self.server.recordings(KEY)
        jump = "none"
        if outcome.kept:
            if len(recordings) != sessions:
                faults.append("the session ended")
        elif len(recordings) > sessions:
            seconds = jumped(recordings[sessions - 1], recordings[sessions])
            jump = f"{seconds:+.2f} s"
            if outcome.in_time:
                seconds = wrapped(seconds - longest)
                jump = f"with the time, but for {seconds:+.2f} s"
            if not outcome.jump[0] <= seconds <= outcome.jump[1]:
                faults.append("at the wrong place")
        faults += [note for note in outcome.notes if note.isupper()]
        self.broken += bool(faults)
        print(
            f"{name} (node {sender + 1}): no data for {longest:.1f} s, again {back:.1f} s "
            f"after {'the end of the fault' if name == 'database' else 'the fault'}; the "
            f"programme jumps: {jump}; two nodes for {self.counter.both:.2f} s (polled at "
            f"least every {self.counter.gap:.2f} s); "
            f"{'; '.join([*outcome.notes, *faults]) or 'all well'}",
            flush=True,
        )


def jumped(old: Path, new: Path) -> float:
    """Seconds of programme between the last frame sent before and the first one after."""
    from streams.tests.bench.audit import marks

    *_, last = marks(old)
    first = next(marks(new))
    return wrapped((first.clip - last.clip) * CLIP_S + (first.frame - last.frame - 1) / 30)


def wrapped(seconds: float) -> float:
    """A step in the list, which repeats, in the shorter direction."""
    whole = CLIPS * CLIP_S
    return (seconds + whole / 2) % whole - whole / 2


def as_run_faults(channel: Channel, since: datetime) -> Iterator[str]:
    """Yield what is wrong in the as-run log since then."""
    from django.db.models import Q

    from streams.models import AsRun

    recent = Q(ended_at__gt=since - timedelta(seconds=CLIP_S)) | Q(ended_at=None)
    rows = list(AsRun.objects.filter(recent, run__channel=channel).order_by("started_at", "pk"))
    if sum(row.ended_at is None for row in rows) != 1:
        yield "as-run: not one item on air"
    for before, after in pairwise(rows):
        yield from _seam_faults(channel, before, after)


def _seam_faults(channel: Channel, before: AsRun, after: AsRun) -> Iterator[str]:
    from streams.models import Incident

    if before.ended_at is None:
        yield f"as-run: {before.title} has no end"
        return
    if before.ended_at < before.started_at:
        yield f"as-run: {before.title} ends before it starts"
    gap = (after.started_at - before.ended_at).total_seconds()
    if gap < -0.1:
        yield f"as-run: {before.title} and {after.title} overlap for {-gap:.1f} s"
    if gap > 0.1:
        incidents = Incident.objects.filter(
            channel=channel, opened_at__lt=after.started_at
        ).exclude(closed_at__lte=before.ended_at)
        explained = max(
            (
                (
                    min(row.closed_at or after.started_at, after.started_at)
                    - max(row.opened_at, before.ended_at)
                ).total_seconds()
                for row in incidents
            ),
            default=0.0,
        )
        if gap - explained > 1:
            yield f"as-run: {gap - explained:.1f} s missing after {before.title}"
    # After a cut the list goes on where the last report was, perhaps with an earlier item.
    resumed = before.ending == "cut" and (after.in_point > 0 or gap > 1)
    follows = int(after.title.split()[-1]) == int(before.title.split()[-1]) % CLIPS + 1
    if not (resumed or follows):
        yield f"as-run: {after.title} ({after.in_point:.1f}) after {before.title}"


class Redis:
    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        folder.mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ("--port", str(self.port), "--dir", self.folder, "--save", "")
        self._process = subprocess.Popen(
            ("redis-server", *options), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


@contextmanager
def background(folder: Path) -> Iterator[None]:
    """The cluster for jobs, which needs the broker."""
    with (folder / "background.log").open("wb") as log:
        cluster = subprocess.Popen(
            (sys.executable, MANAGE, "run_cluster", "background"),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {"RUN_DIR": str(folder / "run-background")},
        )
    try:
        yield
    finally:
        cluster.terminate()
        try:
            cluster.wait(20)
        finally:
            if cluster.poll() is None:
                os.killpg(cluster.pid, signal.SIGKILL)


def main(rounds: int = 2, *cases: str) -> int:
    """Return the number of cases that broke a promise."""
    # If ended early, nothing is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    assert FAKETIME.exists(), "Install libfaketime."
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-nodes-")))
        folder.chmod(0o755)
        nets = [stack.enter_context(Net(number)) for number in (1, 2, 3)]
        port = stack.enter_context(postgres(folder / "postgres"))
        redis = Redis(folder / "redis")
        redis.start()
        stack.callback(redis.kill)
        os.environ |= {
            "DATABASE_URL": f"postgres://streamsite:none@127.0.0.1:{port}/postgres",
            "Q_BROKER_URL": f"redis://127.0.0.1:{redis.port}/0",
            "ENV_FILE": "/dev/null",
            "DJANGO_SETTINGS_MODULE": "streamsite.settings",
            "MEDIA_FOLDER": str(folder / "media"),
            "STORAGE_PROVIDER": "local",
            "DATA_DIR": str(folder / "data"),
        }
        return _drilled(rounds, list(cases or Drill.CASES), stack, folder, nets, port, redis)


def _drilled(
    rounds: int,
    cases: list[str],
    stack: ExitStack,
    folder: Path,
    nets: list[Net],
    port: int,
    redis: Redis,
) -> int:
    import django

    django.setup()
    from django.core.management import call_command

    from streams.control import actions
    from streams.models import Channel
    from streams.tests.bench import clips
    from streams.tests.bench.node import Bench

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
    stack.callback(nodes.end)
    bench = Bench(nodes.run_dirs[0], media, folder)
    made = [clips.prepared(folder, number, CLIP_S) for number in range(1, CLIPS + 1)]
    assert all(abs(clip.seconds - CLIP_S) < 0.01 for clip in made)
    channel = bench.channel(*(bench.item(clip) for clip in made))
    bench.output(channel, f"rtmp://{RECORDER}:{server.port}/live", KEY)
    stack.enter_context(background(folder))
    for number in range(3):
        nodes.start(number, fake_clock=number == FAKED)
    now: Any = django.utils.timezone.now()
    actions.start(Channel.objects.get(), by="bench", now=now)
    broken = Drill(nodes, server, redis, channel, rounds).run(cases)
    print(f"{broken} cases broke a promise")
    if "KEEP" in os.environ:
        subprocess.run(("cp", "-a", folder, os.environ["KEEP"]), check=True)
    return broken


if __name__ == "__main__":
    arguments = sys.argv[1:] or ["2"]
    sys.exit(main(int(arguments[0]), *arguments[1:]) > 0)
