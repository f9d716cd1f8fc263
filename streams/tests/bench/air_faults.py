"""Faults of the air that happen to channels of one node at once."""

# Django is set up for a database that is made later, so imports are late.
# ruff: noqa: PLC0415 - see above
from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Final

from streams.tests.bench.air_stage import (
    Drill,
    Expected,
    Outcome,
    Stage,
    clip,
    lasting,
    made,
    on_air,
    wait,
)
from streams.tests.bench.faulty import Relay
from streams.tests.bench.refusing_rtmp import RefusingServer


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


FAULTS: Final[dict[str, Callable[[Stage], Drill]]] = {
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
