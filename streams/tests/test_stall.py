"""When a player that gives too little is at fault, and when the machine is."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import pytest

from streams.playout import stall
from streams.playout.stall import Patience, Seen, Short, Work
from streams.tests.bench.waiting import until

PATIENCE = Patience(low=1.5, running=0.5, starting=2.5, local=10)
IDLE = Work(ran_s=1.0, waited_s=0.5, read=4096)
#: A second ago it was short, and had done as much as now.
BEFORE = Short(99.0, Fraction(20), IDLE)
REMOTE = Seen(100.0, 1.0, Fraction(20), IDLE, local=False, filled=True)
LOCAL = replace(REMOTE, local=True)


@pytest.mark.parametrize(
    ("seen", "since", "stalled"),
    [
        # There is enough, whatever it does: nothing to remember.
        (replace(REMOTE, buffered=1.5), None, False),
        (replace(LOCAL, buffered=200.0), None, False),
        # A source that gives nothing for half a second, where there was enough before ...
        (REMOTE, 99.0, True),
        # ... or is about to begin: that takes its time, but not for ever.
        (replace(REMOTE, filled=False), 99.0, False),
        (replace(REMOTE, filled=False, now=101.6), 99.0, True),
        # It gives, if little: as long as there is something to send.
        (replace(REMOTE, fed=Fraction(21)), 100.0, False),
        (replace(REMOTE, fed=Fraction(21), buffered=0.1), 99.0, True),
        # Nobody knows what the hub sends yet.
        (replace(REMOTE, fed=Fraction(21), buffered=None, filled=False), 100.0, False),
        # It waits for a CPU, or computes: another one would have to wait as well.
        (replace(REMOTE, work=replace(IDLE, waited_s=0.7)), 100.0, False),
        (replace(REMOTE, work=replace(IDLE, ran_s=1.2)), 100.0, False),
        # To look for the network ten times a second is no work.
        (replace(REMOTE, work=replace(IDLE, ran_s=1.01)), 99.0, True),
        # Files read and disks waited for are no excuse for a source elsewhere.
        (replace(REMOTE, work=replace(IDLE, read=9000, on_disk=True)), 99.0, True),
        # A file of this machine has ten seconds in which it does nothing at all ...
        (LOCAL, 99.0, False),
        (replace(LOCAL, now=109.1), 99.0, True),
        # ... and all the time it needs while it does something.
        (replace(LOCAL, now=109.1, work=replace(IDLE, read=9000)), 109.1, False),
        (replace(LOCAL, now=109.1, work=replace(IDLE, on_disk=True)), 109.1, False),
        (replace(LOCAL, now=109.1, fed=Fraction(21), buffered=0.0), 109.1, False),
        (replace(LOCAL, now=109.1, work=replace(IDLE, waited_s=2.0)), 109.1, False),
        # What can't be seen is no excuse.
        (replace(REMOTE, work=None), 99.0, True),
    ],
)
def test_who_is_at_fault(seen: Seen, since: float | None, stalled: bool) -> None:  # noqa: FBT001
    short, found = stall.step(BEFORE, seen, PATIENCE)
    assert found is stalled
    assert (None if short is None else short.since) == since


def test_the_first_sight_of_a_short_player_judges_nothing() -> None:
    short, stalled = stall.step(None, REMOTE, PATIENCE)
    assert not stalled
    assert short == Short(100.0, Fraction(20), IDLE)


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
