"""Two nodes never send the same channel: a node that can't renew its claims stops."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from streams.playout.contract import ledger
from streams.playout.contract.fence import (
    FENCE_S,
    FILE,
    GUARD_S,
    LEASE_S,
    Claims,
    Fence,
    Renewal,
    clock,
    fenced,
)
from streams.playout.contract.plan import OutputPlan
from streams.playout.ffmpeg import process
from streams.tests.bench.clips import Clip
from streams.tests.bench.engine import Engine, MemoryLedger, assignment
from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.waiting import until
from streamsite.security.secret import Secret

KEY = "k-fence"


@pytest.mark.parametrize(
    ("shared", "age", "expected"),
    [
        (True, 0, False),
        (True, FENCE_S - 0.1, False),
        (True, FENCE_S, True),
        (True, 3600, True),
        # Without other nodes the channel keeps playing.
        (False, 3600, False),
    ],
)
def test_when_a_node_stops_sending(*, shared: bool, age: float, expected: bool) -> None:
    assert fenced(Renewal(1000.0, shared), 1000.0 + age) is expected


def test_fence_and_guard_act_before_another_node_may_claim() -> None:
    # Each checks once a second.
    assert FENCE_S + 1 <= GUARD_S
    assert GUARD_S + 1 < LEASE_S


def test_the_next_supervisor_inherits_the_renewal(tmp_path: Path) -> None:
    first = Fence(tmp_path)
    assert not first.closed
    first.renewed(clock() - FENCE_S - 1, shared=True)
    assert Fence(tmp_path).closed
    first.renewed(clock(), shared=True)
    assert not Fence(tmp_path).closed
    (tmp_path / FILE).write_text("unreadable")
    assert Fence(tmp_path).closed
    first.renewed(clock() - 3600, shared=False)
    assert not Fence(tmp_path).closed
    until(lambda: not first.guarded, 30, "its guard has ended")


def test_the_guard_kills_the_pushers_of_a_frozen_supervisor(tmp_path: Path) -> None:
    folder = tmp_path / "channel-1"
    folder.mkdir()
    pushers = [subprocess.Popen(["sleep", "600"]) for _ in range(3)]
    try:
        for number, (child, name) in enumerate(
            zip(pushers, ("pusher-1", "pusher-2", "hub"), strict=True)
        ):
            # The second record names another process that reused the pid.
            born = (process.born(child.pid) or 0) + (number == 1)
            process.write_record(folder, process.Record(child.pid, born, name, 1, 0.0))
        fence = Fence(tmp_path)
        fence.renewed(clock(), shared=True)
        fence.renewed(clock() - GUARD_S, shared=True)
        assert pushers[0].wait(30) == -signal.SIGKILL
        assert pushers[1].poll() is None
        assert pushers[2].poll() is None
        (tmp_path / FILE).unlink()
        until(lambda: not fence.guarded, 30, "its guard has ended")
    finally:
        for child in pushers:
            child.kill()
            child.wait()


@pytest.fixture
def book(shelf: dict[int, Clip], server: RtmpServer) -> MemoryLedger:
    output = OutputPlan(1, "Main", server.address, Secret(KEY), edition="1")
    return MemoryLedger(
        {1: assignment(shelf[1], slate=shelf[2], outputs=(output,))}, claims=Claims(shared=True)
    )


def pushers(engine: Engine) -> list[int]:
    folder = process.channel_folder(engine.run_dir, 1)
    return [
        record.pid
        for record in process.records(folder)
        if record.role == process.PUSHER and process.born(record.pid) == record.born
    ]


@pytest.mark.slow
def test_a_hanging_ledger_stops_the_pushers_until_it_responds(
    engine: Engine, book: MemoryLedger, server: RtmpServer
) -> None:
    engine.start()
    until(lambda: server.bytes_of(KEY), 60, "it sends")
    gate = threading.Event()
    book.trouble = lambda: gate.wait(120)
    seen = book.exchanges
    until(lambda: book.exchanges > seen, 30, "it hangs")
    began = clock()
    hub = engine.pids() - set(pushers(engine))
    until(lambda: engine.alive() and not pushers(engine), 60, "nothing is sent")
    took = clock() - began
    book.trouble = lambda: None
    gate.set()
    until(lambda: engine.alive() and server.sessions(KEY) == 2, 60, "it sends again")
    assert took > FENCE_S - 3
    assert hub & engine.pids(), "the programme played on"
    until(lambda: "database" not in book.incidents(), 60, "the incident is over")
    opened = [n for n in book.notes if isinstance(n, ledger.IncidentOpened)]
    assert [note.subject for note in opened].count("database") == 1
    assert "another node may send" in opened[0].cause


@pytest.mark.slow
def test_a_second_node_becomes_the_owner_within_its_session(
    engine: Engine, book: MemoryLedger, server: RtmpServer
) -> None:
    owned = book.assignments[1]
    (primary,) = owned.plan.outputs
    backup = replace(primary, pk=2, name="Backup", key=Secret("k-backup"), edition="2")
    plan = replace(owned.plan, outputs=(backup,))
    book.assignments[1] = replace(owned, plan=plan, second=True, skips=1)
    engine.start()
    until(lambda: server.bytes_of("k-backup"), 60, "it sends the backup")
    assert not server.sessions(KEY)
    plan = replace(plan, outputs=(primary, backup))
    lost = frozenset({"storage"})
    book.assignments[1] = replace(owned, plan=plan, open_incidents=lost)
    until(lambda: server.bytes_of(KEY), 60, "it sends the primary, too")
    until(
        lambda: any(note.subject == "output-1" for note in closed(book)), 60, "it is reported"
    )
    assert server.sessions("k-backup") == 1
    opened = [n for n in book.notes if isinstance(n, ledger.IncidentOpened)]
    assert [(note.subject, note.output) for note in opened] == [("output-1", 1)]
    assert "is gone" in opened[0].cause
    assert any(note.subject == "storage" for note in closed(book)), "the lost node's own"


def closed(book: MemoryLedger) -> list[ledger.IncidentClosed]:
    return [note for note in list(book.notes) if isinstance(note, ledger.IncidentClosed)]


@pytest.mark.slow
def test_a_lost_claim_ends_the_pushers_at_once(
    engine: Engine, book: MemoryLedger, server: RtmpServer
) -> None:
    engine.start()
    until(lambda: server.bytes_of(KEY), 60, "it sends")
    (pid,) = pushers(engine)
    # It ignores SIGTERM while it is stopped.
    os.kill(pid, signal.SIGSTOP)
    book.claims = replace(book.claims, lost=frozenset({1}))
    book.assignments.clear()
    until(lambda: not pushers(engine), 60, "it is killed")
    channel = engine.channel()
    assert channel is None or channel.stopping
    until(lambda: not engine.pids(), 60, "the rest has ended")
