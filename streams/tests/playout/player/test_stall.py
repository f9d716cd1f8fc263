"""Judging whether a short supply is the source's or the machine's fault."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import pytest

from streams.playout.player import stall
from streams.playout.player.stall import Bounds, Idle, Observation, Work
from streams.tests.bench.waiting import until

BOUNDS = Bounds(low=1.5, running=1.5, starting=2.5, local=10)
DID = Work(ran_s=1.0, waited_s=0.5, read=4096)
#: Its work two seconds ago: the same as now.
BEFORE = Idle(98.0, Fraction(20), DID, 98.0)
REMOTE = Observation(100.0, 98.0, 1.0, Fraction(20), DID, local=False, filled=True)
LOCAL = replace(REMOTE, local=True)


@pytest.mark.parametrize(
    ("seen", "idle_since", "stalled"),
    [
        # Enough is buffered, whatever it does.
        (replace(REMOTE, buffered=1.5), 98.0, False),
        # A source that delivers nothing, with enough buffered before ...
        (REMOTE, 98.0, True),
        (replace(REMOTE, now=99.4), 98.0, False),
        # ... or before its start, which takes time, but not forever.
        (replace(REMOTE, filled=False), 98.0, False),
        (replace(REMOTE, filled=False, now=100.6), 98.0, True),
        # It delivers a little: acceptable while there is something to send.
        (replace(REMOTE, fed=Fraction(21)), 100.0, False),
        (replace(REMOTE, fed=Fraction(21), buffered=0.1), 100.0, True),
        (replace(REMOTE, fed=Fraction(21), buffered=0.1, filled=False), 100.0, False),
        # It waits for a CPU or computes: another player would have to wait as well.
        (replace(REMOTE, work=replace(DID, waited_s=0.8)), 100.0, False),
        (replace(REMOTE, work=replace(DID, ran_s=1.3), buffered=0.0), 100.0, False),
        # Polling the network ten times a second is no work.
        (replace(REMOTE, work=replace(DID, ran_s=1.01)), 98.0, True),
        # File reads and disk waits do not excuse a remote source.
        (replace(REMOTE, work=replace(DID, read=9000, on_disk=True)), 98.0, True),
        # A local file may be completely idle for ten seconds ...
        (LOCAL, 98.0, False),
        (replace(LOCAL, now=108.1), 98.0, True),
        # ... and may take any time while it makes progress.
        (replace(LOCAL, now=108.1, work=replace(DID, read=9000)), 108.1, False),
        (replace(LOCAL, now=108.1, work=replace(DID, on_disk=True)), 108.1, False),
        (replace(LOCAL, now=108.1, fed=Fraction(21), buffered=0.0), 108.1, False),
        (replace(LOCAL, now=108.1, work=replace(DID, waited_s=2.0)), 108.1, False),
        # By its timestamps a small file has fed minutes: it is not throttled by bytes.
        (replace(LOCAL, now=300.0, buffered=200.0), 98.0, False),
        # Unknown work is no excuse.
        (replace(REMOTE, work=None), 98.0, True),
    ],
)
def test_when_a_source_has_stalled(seen: Observation, idle_since: float, stalled: bool) -> None:
    idle, stalled_now = stall.step(BEFORE, seen, BOUNDS)
    assert stalled_now is stalled
    assert idle.since == idle_since


def test_the_first_observation_of_a_player_judges_nothing() -> None:
    idle, stalled = stall.step(None, replace(REMOTE, buffered=0.0), BOUNDS)
    assert not stalled
    # It was idle before it was observed; its work meanwhile is unknown.
    assert idle == Idle(98.0, Fraction(20), DID, 100.0)


def test_a_processs_work_is_read_from_proc() -> None:
    child = subprocess.Popen(
        (sys.executable, "-c", "while input(): sum(range(3_000_000))"),
        stdin=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    try:
        until(lambda: stall.work_of(child.pid), 30, "it is there")
        before = stall.work_of(child.pid)
        assert before is not None
        child.stdin.write("once\n")
        child.stdin.flush()

        def worked() -> bool:
            after = stall.work_of(child.pid)
            return (
                after is not None
                and after.ran_s + after.waited_s > before.ran_s + before.waited_s
                and after.read > before.read
            )

        until(worked, 30, "its work shows")
    finally:
        child.kill()
        child.wait(10)
        child.stdin.close()
    assert stall.work_of(child.pid) is None
    assert stall.work_of(os.getpid()) is not None
