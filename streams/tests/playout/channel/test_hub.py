"""Hubs that die in a row: the last one still knows what it sends when."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from fractions import Fraction

import pytest

from streams.playout.channel.channel import Channel
from streams.playout.contract import ledger
from streams.playout.ffmpeg import mpegts, process
from streams.tests.bench.engine import Engine, MemoryLedger
from streams.tests.bench.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.clips(4, 1, slate=2)]

#: Seconds of the first item that are on air before the hub dies ...
PLAYED = 10
#: ... and maximum seconds of data in the pipe ahead of the sent position: fewer than above, so
#: that a clock that restarts with the item is detected.
AHEAD = 6


def position(engine: Engine) -> Fraction | None:
    """The position that the hub sends by its clock; None: it has no clock."""
    engine.alive()
    channel = engine.channel()
    clock = None if channel is None else channel.hub.clock
    return None if clock is None else clock.position(time.monotonic())


def play(engine: Engine) -> Channel:
    """Return the channel after some of its first item has played."""
    engine.start()
    until(lambda: (at := position(engine)) and at > 10 + PLAYED, 60, "some of it is played")
    channel = engine.channel()
    assert channel is not None
    return channel


def kill_hub(channel: Channel) -> None:
    assert channel.hub.role is not None
    pid = channel.hub.role.process.pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: process.born(pid) is None, 60, "it is dead")


def assert_in_time(engine: Engine) -> None:
    """Assert that the waiting data matches the hub's clock."""
    sent = until(lambda: position(engine), 60, "the hub has a clock")
    channel = engine.channel()
    assert channel is not None
    assert sent is not None
    waiting = mpegts.tail(channel.feed.peek()).first_dts
    assert waiting is not None
    assert abs(mpegts.unwrap(waiting, sent) - sent) < AHEAD


def test_the_clock_survives_hubs_that_die_before_they_report(
    engine: Engine, book: MemoryLedger
) -> None:
    tool = engine.run_dir.parent / "ffmpeg"
    tool.write_text('#!/bin/sh\nexec ffmpeg "$@"\n')
    tool.chmod(0o755)
    engine.ffmpeg = str(tool)
    channel = play(engine)
    started = book.count_log_lines("Started, process")
    tool.write_text('#!/bin/sh\ncase "$*" in *hls_time*) exit 1;; esac\nexec ffmpeg "$@"\n')
    kill_hub(channel)
    until(
        lambda: book.count_log_lines("Started, process") >= started + 2, 60, "the next died too"
    )
    tool.write_text('#!/bin/sh\nexec ffmpeg "$@"\n')
    assert_in_time(engine)


def test_after_a_hub_died_unobserved_the_next_continues_in_the_fed_data(
    engine: Engine, book: MemoryLedger
) -> None:
    channel = play(engine)
    engine.leave()
    kill_hub(channel)
    died = time.time()
    book.assignments[1] = replace(
        book.assignments[1], measured_at=died, cursors=book.snapshots[1].seen
    )
    before = len(book.notes)
    engine.start()
    assert_in_time(engine)

    def aired() -> list[float]:
        return [note.at for note in book.notes[before:] if isinstance(note, ledger.Aired)]

    # Air that nobody observed meanwhile does not count as on air.
    assert until(aired, 60, "it is on air")[0] >= died
