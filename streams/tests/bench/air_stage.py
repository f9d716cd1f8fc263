"""Where drills of the watch of the air take place, and what they expect."""

# Django is set up for a database that is made later, so imports are late.
# ruff: noqa: PLC0415 - see above
from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from conftest import RTMP_MODULE
from streams.tests.bench.faulty import Receiver
from streams.tests.bench.rtmp import RtmpServer

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


def level(channel: Channel, ahead: float = 0.0) -> str:
    """The verdict on the channel's output, at this moment by a clock that is so far ahead."""
    from django.utils import timezone

    from streams.monitoring.report import report

    now = timezone.now() + timedelta(seconds=ahead)
    (one,) = report(now, slug=channel.slug).channels
    verdict = one.outputs[0].verdict
    return "" if verdict is None else verdict.level.value


def wait(condition: Callable[[], Any], seconds: float = 60.0) -> Generator[None, None, Any]:
    """Wait for the condition; its last value."""
    ends = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < ends:
        yield
    return value


def last_byte(
    server: RtmpServer, key: str, pause_s: float = 3.0
) -> Generator[None, None, float]:
    """Wait until nothing arrives any more; when the last byte did (since the epoch)."""
    size, at = server.bytes_of(key), time.time()
    while time.time() - at < pause_s:
        yield
        if (now := server.bytes_of(key)) > size:
            size, at = now, time.time()
    return at


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
    number = 100 + len(stage.items)
    clips.run(
        *("-f", "lavfi", "-i", video, "-f", "lavfi", "-i", audio, "-t", str(seconds)),
        *("-c:v", "libx264", "-preset", "ultrafast", "-c:a", "pcm_s16le", f"file:{raw}"),
    )
    return stage.node.item(clips.conformed(raw, number))
