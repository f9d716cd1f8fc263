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
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from conftest import RTMP_MODULE
from streams.tests.bench.faulty import Receiver, Relay, receiver
from streams.tests.bench.refusing_rtmp import RefusingServer
from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.waiting import until

if TYPE_CHECKING:
    from media_library.models import MediaItem
    from streams.models import Channel, Incident
    from streams.tests.bench.node import Bench

#: Seconds by which begin and end may differ.
EXACT_S: Final = 1.0
#: Seconds of a whole drill.
BOUND_S: Final = 400.0
#: A drill waits at each `yield`.
Drill = Generator[None, None, "Outcome"]


@dataclass
class Expected:
    """What should be reported, and when it began and ended (since the epoch)."""

    subject: str
    severity: str
    words: str
    level: str
    began: float
    ended: float | None = None
    #: Seconds that the begin may differ, where the fault itself takes longer to show.
    exact: float = EXACT_S


@dataclass
class Seen:
    levels: set[str] = field(default_factory=set)
    causes: list[str] = field(default_factory=list)


@dataclass
class Outcome:
    channel: str
    expected: Expected
    #: Verdicts and causes while it lasted.
    seen: Seen


@dataclass
class Stage:
    """Where the drills take place."""

    node: Bench
    folder: Path
    stack: ExitStack
    received: Receiver
    items: dict[str, MediaItem] = field(default_factory=dict)

    def server(self, name: str) -> RtmpServer:
        server = RtmpServer(self.folder / name, RTMP_MODULE)
        server.start()
        self.stack.callback(server.stop)
        return server

    def channel(self, name: str, *items: MediaItem, address: str = "") -> Channel:
        from django.utils import timezone

        from streams.control import actions

        channel = self.node.channel(*items, slug=name)
        self.node.output(channel, address or self.server(name).address, f"k-{name}")
        actions.start(channel, by="bench", now=timezone.now())
        return channel


def level(channel: Channel) -> str:
    """The verdict on the channel's output at this moment."""
    from django.utils import timezone

    from streams.monitoring.report import report

    (one,) = report(timezone.now(), slug=channel.slug).channels
    verdict = one.outputs[0].verdict
    return "" if verdict is None else verdict.level.value


def wait(condition: Callable[[], Any], seconds: float = 60.0) -> Generator[None, None, Any]:
    """Wait for the condition; its last value."""
    ends = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < ends:
        yield
    return value


def incident(channel: Channel, subject: str) -> Incident | None:
    return channel.incidents.filter(subject__startswith=subject).order_by("opened_at").first()


def lasting(
    channel: Channel, expected: Expected, *, until_s: float = 30.0
) -> Generator[None, None, Seen]:
    """Wait for the incident; what was shown while it was open."""
    row = yield from wait(lambda: incident(channel, expected.subject), 200)
    # It may be over already.
    seen = Seen({level(channel)}, [] if row is None else [row.cause])
    ends = time.monotonic() + until_s
    while time.monotonic() < ends:
        row = incident(channel, expected.subject)
        if row is None or row.closed_at is not None:
            break
        seen.levels.add(level(channel))
        if row.cause not in seen.causes:
            seen.causes.append(row.cause)
        yield
    return seen


def on_air(stage: Stage, channel: Channel) -> Generator[None, None, None]:
    """Wait until its verdict is good: everything is measured."""
    yield from wait(lambda: level(channel) == "healthy", 90)


# ---- the faults ------------------------------------------------------------------------------


def reads_nothing(stage: Stage) -> Drill:
    server = stage.server("reads-nothing")
    relay = Relay(server.port)
    stage.stack.callback(relay.close)
    address = f"rtmp://127.0.0.1:{relay.port}/live"
    channel = stage.channel("reads-nothing", clip(stage, 1), address=address)
    yield from on_air(stage, channel)
    began = time.time()
    relay.stop_reading()
    expected = Expected("output-", "lost", "takes nothing", "down", began)
    seen = yield from lasting(channel, expected, until_s=3)
    relay.read_again()
    size = server.bytes_of("k-reads-nothing")
    yield from wait(lambda: server.bytes_of("k-reads-nothing") > size)
    return Outcome(channel.slug, expected, seen)


def server_gone(stage: Stage) -> Drill:
    server = stage.server("server-gone")
    channel = stage.channel("server-gone", clip(stage, 1), address=server.address)
    yield from on_air(stage, channel)
    began = time.time()
    server.stop()
    expected = Expected("output-", "lost", "", "down", began)
    seen = yield from lasting(channel, expected, until_s=8)
    server.start()
    sessions = server.sessions("k-server-gone")
    size = server.bytes_of("k-server-gone")
    yield from wait(lambda: server.sessions("k-server-gone") > sessions)
    yield from wait(lambda: server.bytes_of("k-server-gone") > size)
    expected.ended = time.time()
    return Outcome(channel.slug, expected, seen)


def wrong_key(stage: Stage) -> Drill:
    server = stage.stack.enter_context(RefusingServer("k-wrong-key"))
    channel = stage.channel("wrong-key", clip(stage, 1), address=server.address)
    yield from wait(lambda: stage.node.hls(channel).joinpath("live.m3u8").exists(), 60)
    # The first pusher starts two segments later.
    yield from wait(lambda: "pusher" in " ".join(stage.node.records(channel)), 60)
    expected = Expected("output-", "lost", "key", "down", time.time(), exact=2.0)
    seen = yield from lasting(channel, expected, until_s=6)
    return Outcome(channel.slug, expected, seen)


def player_stalled(stage: Stage) -> Drill:
    """Nothing is lost: the next item plays. It shows when the pipe has run empty."""
    channel = stage.channel("player-stalled", clip(stage, 1), clip(stage, 2))
    yield from on_air(stage, channel)
    yield from wait(lambda: "player" in stage.node.records(channel))
    began = time.time()
    os.kill(stage.node.records(channel)["player"].pid, signal.SIGSTOP)
    expected = Expected(
        "programme", "degraded", "delivers no data", "healthy", began, exact=15.0
    )
    seen = yield from lasting(channel, expected, until_s=20)
    return Outcome(channel.slug, expected, seen)


def flawed(
    name: str, graph: str, sound: str, seconds: int, words: str, after: int = 8
) -> Callable[[Stage], Drill]:
    """An item whose picture or sound has that flaw from its 8th second on.

    `after`: seconds of the item after it.
    """

    def drill(stage: Stage) -> Drill:
        # Encoding would keep all other drills waiting: it comes before the first.
        stage.items[name] = made(stage, name, graph, sound, 8 + seconds + after)
        return run(stage)

    def run(stage: Stage) -> Drill:
        from streams.models import AsRun

        subject = "sound" if name == "silence" else "picture"
        item = stage.items[name]
        channel = stage.channel(name, clip(stage, 1), item, clip(stage, 2))
        entry = AsRun.objects.filter(run__channel=channel, item=item).order_by("started_at")
        aired = yield from wait(entry.first, 120)
        began = aired.started_at.timestamp() + 8
        expected = Expected(subject, "degraded", words, "degraded", began, began + seconds)
        seen = yield from lasting(channel, expected, until_s=200)
        return Outcome(channel.slug, expected, seen)

    return drill


DRILLS: Final[dict[str, Callable[[Stage], Drill]]] = {
    "reads-nothing": reads_nothing,
    "server-gone": server_gone,
    "wrong-key": wrong_key,
    "player-stalled": player_stalled,
    "black": flawed(
        "black",
        "testsrc2=s=160x90:r=30,drawbox=enable='between(t,8,37.99)':color=black:t=fill",
        "sine=f=440:r=48000",
        30,
        "The picture is black.",
    ),
    "silence": flawed(
        "silence",
        "testsrc2=s=160x90:r=30",
        "sine=f=440:r=48000,volume=enable='between(t,8,48)':volume=0",
        40,
        "There is no sound.",
    ),
    "frozen": flawed(
        "frozen",
        "testsrc2=s=160x90:r=30:d=8,tpad=stop=-1:stop_mode=clone",
        "sine=f=440:r=48000",
        140,
        "The picture stands still.",
        after=0,
    ),
}


# ---- material --------------------------------------------------------------------------------


def clip(stage: Stage, number: int) -> MediaItem:
    """A marked clip of 40 s, made once."""
    from media_library.models import MediaItem
    from streams.tests.bench import clips

    title = f"Clip {number}"
    if (item := MediaItem.objects.filter(title=title).first()) is not None:
        return item
    return stage.node.item(clips.prepared(stage.folder, number, 40))


def made(stage: Stage, name: str, video: str, audio: str, seconds: int) -> MediaItem:
    """An item of that picture and sound, conformed as the product does it."""
    from streams.tests.bench import clips

    raw = stage.folder / f"raw-{name}.mkv"
    number = 100 + list(DRILLS).index(name)
    clips.run(
        *("-f", "lavfi", "-i", video, "-f", "lavfi", "-i", audio, "-t", str(seconds)),
        *("-c:v", "libx264", "-preset", "ultrafast", "-c:a", "pcm_s16le", f"file:{raw}"),
    )
    return stage.node.item(clips.conformed(raw, number))


# ---- the run ---------------------------------------------------------------------------------


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
        return _drilled(folder, stack, names or tuple(DRILLS))


def _drilled(folder: Path, stack: ExitStack, names: tuple[str, ...]) -> int:
    import django

    django.setup()
    from django.core.management import call_command

    from streams.tests.bench.node import MANAGE, Bench
    from streamsite.webhooks.models import Endpoint, Event

    call_command("migrate", verbosity=0)
    received = stack.enter_context(receiver())
    Endpoint.objects.create(
        name="drills", url=received.address, events=[Event.INCIDENT_OPENED.value]
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
    node.start()
    outcomes = _together({name: DRILLS[name](stage) for name in names})
    faults = 0
    for name, outcome in outcomes.items():
        complaint = judged(stage, name, outcome)
        faults += bool(complaint)
        print(f"{name}: {complaint or 'as expected'}", flush=True)
    print(f"{faults} of {len(outcomes)} faults were not reported as expected")
    return faults


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
    channel = Channel.objects.get(slug=outcome.channel)
    row = incident(channel, expected.subject)
    if row is None:
        return f"no incident {expected.subject}"
    if expected.ended is not None:
        until(lambda: _closed(channel, expected), 60, f"the incident of {name} is closed")
        row.refresh_from_db()
    message = stage.received.about(channel.slug, f'"{row.subject}"')
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
