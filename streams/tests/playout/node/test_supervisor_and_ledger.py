"""The engine with a ledger that is slow, fails, or is called at the worst moment."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from streams.playout.contract import ledger
from streams.playout.ffmpeg import process
from streams.playout.node.supervisor import MAX_OUTBOX_EVIDENCE, MAX_OUTBOX_NOTES, trimmed
from streams.playout.node.witness import ALIVE_FILE, read
from streams.tests.bench.clips import Clip
from streams.tests.bench.engine import Engine, MemoryLedger, assignment
from streams.tests.bench.waiting import until

pytestmark = pytest.mark.slow


def test_a_run_that_ended_during_an_exchange_does_not_start_again(
    engine: Engine, book: MemoryLedger
) -> None:
    """The result of a slow exchange is outdated: its run has ended meanwhile."""
    engine.start()
    engine.until_state("on_air")
    gate = threading.Event()
    called = threading.Event()
    first = engine.channel()
    assert first is not None

    def wait_while_it_stops() -> None:
        if book.snapshots and engine.state() == "stopping":
            called.set()
            gate.wait(20)

    book.trouble = wait_while_it_stops
    book.assignments[1] = replace(book.assignments[1], restarts=1)
    try:
        until(called.is_set, 60, "an exchange runs while it stops")
        until(lambda: first.ended, 60, "it has stopped")
    finally:
        gate.set()
    until(lambda: (now := engine.channel()) and now is not first, 60, "it begins again")
    now = engine.channel()
    assert now is not None
    assert now.assignment.run == 2
    engine.until_state("on_air")
    assert {note.run for note in book.notes if isinstance(note, ledger.Aired)} == {1, 2}


def test_a_channel_that_cannot_be_opened_does_not_end_the_others(
    engine: Engine, book: MemoryLedger, shelf: dict[int, Clip]
) -> None:
    other = assignment(shelf[1], slate=shelf[2])
    book.assignments[2] = replace(other, plan=replace(other.plan, pk=2, slug="other"))
    in_the_way = process.channel_folder(engine.run_dir, 2)
    in_the_way.write_text("A file in the place of the folder.")
    engine.start()
    engine.until_state("on_air")
    in_the_way.unlink()
    until(lambda: engine.alive() and 2 in engine.supervisor.channels, 60, "the other as well")


def test_a_fault_in_one_channel_does_not_end_the_others(
    engine: Engine, book: MemoryLedger
) -> None:
    """After an unexpected error it is opened again from its records."""
    engine.start()
    engine.until_state("on_air")
    channel = engine.channel()
    assert channel is not None
    pids = engine.pids()
    engine.keep(channel)
    channel.playback.state = replace(channel.playback.state, timeline=None)  # type: ignore[arg-type]  # fields of any type, or wrong on purpose
    until(lambda: engine.alive() and engine.channel() not in (None, channel), 60, "another")
    engine.until_state("on_air")
    assert engine.pids() & pids


def test_a_hanging_ledger_does_not_restart_the_cluster(
    engine: Engine, book: MemoryLedger
) -> None:
    engine.start()
    engine.until_state("on_air")
    gate = threading.Event()
    book.trouble = lambda: gate.wait(30)
    seen = book.exchanges
    try:
        until(lambda: book.exchanges > seen, 60, "it hangs")
        alive_file = engine.run_dir / ALIVE_FILE
        touched = alive_file.stat().st_mtime
        until(lambda: alive_file.stat().st_mtime > touched + 3, 60, "it is still touched")
        until(lambda: read(engine.run_dir).fault, 60, "the machine knows that nothing answers")
    finally:
        gate.set()
    until(lambda: read(engine.run_dir).fault is None, 60, "it answers again")


def test_the_ledgers_fault_is_recorded_on_the_machine(
    engine: Engine, book: MemoryLedger
) -> None:
    engine.start()
    engine.until_state("on_air")

    def full() -> None:
        raise OSError(28, "No space left on device")

    book.trouble = full
    until(lambda: (fault := read(engine.run_dir).fault) and "No space" in fault.error, 60, "it")
    book.trouble = lambda: None
    until(lambda: read(engine.run_dir).fault is None, 60, "it answers again")


def test_history_is_kept_longer_than_samples_while_the_ledger_is_unreachable() -> None:
    def line(at: float) -> ledger.Logged:
        return ledger.Logged(1, 1, "hub", "info", "x", at)

    opened = ledger.IncidentOpened(1, 1, "hub", None, "lost", "x", 0)
    notes: list[Any] = [opened, *(line(at) for at in range(MAX_OUTBOX_NOTES + 10))]
    kept = trimmed(notes)
    assert len(kept) == MAX_OUTBOX_NOTES
    assert kept[0] is opened
    assert kept[-1] == notes[-1]


def test_pictures_do_not_fill_the_memory_while_the_ledger_is_unreachable() -> None:
    kept = [ledger.Evidence(1, 1, "output-7", float(n), b"jpeg", "") for n in range(300)]
    opened = ledger.IncidentOpened(1, 1, "hub", None, "lost", "x", 0)
    assert trimmed([opened, *kept]) == [opened, *kept[-MAX_OUTBOX_EVIDENCE:]]
