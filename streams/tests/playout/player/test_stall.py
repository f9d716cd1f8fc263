"""When a player that gives too little is at fault, and when the machine is."""

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
#: Two seconds ago it had done as much as now.
BEFORE = Idle(98.0, Fraction(20), DID, 98.0)
REMOTE = Observation(100.0, 98.0, 1.0, Fraction(20), DID, local=False, filled=True)
LOCAL = replace(REMOTE, local=True)


@pytest.mark.parametrize(
    ("seen", "idle_since", "stalled"),
    [
        # There is enough to send, whatever it does.
        (replace(REMOTE, buffered=1.5), 98.0, False),
        # A source that gives nothing, where there was enough before ...
        (REMOTE, 98.0, True),
        (replace(REMOTE, now=99.4), 98.0, False),
        # ... or is about to begin: that takes its time, but not for ever.
        (replace(REMOTE, filled=False), 98.0, False),
        (replace(REMOTE, filled=False, now=100.6), 98.0, True),
        # It gives, if little: as long as there is something to send.
        (replace(REMOTE, fed=Fraction(21)), 100.0, False),
        (replace(REMOTE, fed=Fraction(21), buffered=0.1), 100.0, True),
        (replace(REMOTE, fed=Fraction(21), buffered=0.1, filled=False), 100.0, False),
        # It waits for a CPU, or computes: another one would have to wait as well.
        (replace(REMOTE, work=replace(DID, waited_s=0.8)), 100.0, False),
        (replace(REMOTE, work=replace(DID, ran_s=1.3), buffered=0.0), 100.0, False),
        # To look for the network ten times a second is no work.
        (replace(REMOTE, work=replace(DID, ran_s=1.01)), 98.0, True),
        # Files read and disks waited for are no excuse for a source elsewhere.
        (replace(REMOTE, work=replace(DID, read=9000, on_disk=True)), 98.0, True),
        # A file of this machine has ten seconds in which it does nothing at all ...
        (LOCAL, 98.0, False),
        (replace(LOCAL, now=108.1), 98.0, True),
        # ... and all the time it needs while it does something.
        (replace(LOCAL, now=108.1, work=replace(DID, read=9000)), 108.1, False),
        (replace(LOCAL, now=108.1, work=replace(DID, on_disk=True)), 108.1, False),
        (replace(LOCAL, now=108.1, fed=Fraction(21), buffered=0.0), 108.1, False),
        (replace(LOCAL, now=108.1, work=replace(DID, waited_s=2.0)), 108.1, False),
        # A small one has played for minutes by its timestamps: it is not held back by bytes.
        (replace(LOCAL, now=300.0, buffered=200.0), 98.0, False),
        # What can't be seen is no excuse.
        (replace(REMOTE, work=None), 98.0, True),
    ],
)
def test_who_is_at_fault(seen: Observation, idle_since: float, stalled: bool) -> None:  # noqa: FBT001
    idle, stalled_now = stall.step(BEFORE, seen, BOUNDS)
    assert stalled_now is stalled
    assert idle.since == idle_since


def test_the_first_sight_of_a_player_judges_nothing() -> None:
    idle, stalled = stall.step(None, replace(REMOTE, buffered=0.0), BOUNDS)
    assert not stalled
    # It was idle before it was looked at; what it did meanwhile is not known.
    assert idle == Idle(98.0, Fraction(20), DID, 100.0)


def test_what_a_process_does_is_read_from_the_kernel() -> None:
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
