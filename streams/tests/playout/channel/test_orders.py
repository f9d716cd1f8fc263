"""Orders and edits while a channel is on air have only the intended effect."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streams.playout.contract import ledger
from streams.playout.contract.plan import OutputPlan
from streams.programme.item import Item, Mode
from streams.programme.model import Block, Entry, Rotation, Start
from streams.tests.bench import clips
from streams.tests.bench.clips import TEST_FORMAT, Clip
from streams.tests.bench.engine import Engine, MemoryLedger, item, programme
from streams.tests.bench.rtmp import RtmpServer, free_port
from streams.tests.bench.waiting import until
from streamsite.security.secret import Secret

pytestmark = [pytest.mark.slow, pytest.mark.clips(4, 1, 2, slate=3)]

KEY = "k-orders"


def edit(book: MemoryLedger, *outputs: OutputPlan) -> None:
    old = book.assignments[1]
    book.assignments[1] = replace(old, plan=replace(old.plan, outputs=outputs))


def aired(book: MemoryLedger) -> list[str]:
    return [note.turn.item.title for note in list(book.notes) if isinstance(note, ledger.Aired)]


def test_renaming_an_output_does_not_interrupt_it(
    engine: Engine, book: MemoryLedger, server: RtmpServer
) -> None:
    output = OutputPlan(7, "Main", server.address, Secret(KEY), "1")
    edit(book, output)
    engine.start()
    engine.until_state("on_air")
    edit(book, replace(output, name="Renamed"))
    until(
        lambda: (now := engine.channel()) and now.assignment.plan.outputs[0].name == "Renamed",
        60,
        "the edit is there",
    )
    server.until_sent(KEY, 4, TEST_FORMAT.video_bitrate, 60)
    assert server.sessions(KEY) == 1


def test_the_incident_of_a_removed_output_is_closed(engine: Engine, book: MemoryLedger) -> None:
    """Even if it was disabled while no supervisor was running."""
    edit(book, OutputPlan(7, "Main", f"rtmp://127.0.0.1:{free_port()}/live", Secret(KEY), "1"))
    engine.start()
    until(lambda: "output-7" in book.incidents(), 60, "an incident")
    engine.leave()
    edit(book)
    book.assignments[1] = replace(
        book.assignments[1], open_incidents=frozenset(book.incidents())
    )
    engine.start()
    until(lambda: "output-7" not in book.incidents(), 60, "it is closed")


def test_a_channel_that_leaves_goes_on_elsewhere_with_the_next_item(
    engine: Engine, book: MemoryLedger, server: RtmpServer, shelf: dict[int, Clip]
) -> None:
    edit(book, OutputPlan(7, "Main", server.address, Secret(KEY), "1"))
    short = programme(item(shelf[1], 1), item(shelf[2], 2))
    old = book.assignments[1]
    old = replace(old, plan=replace(old.plan, programme=short))
    book.assignments[1] = old
    engine.start()
    server.until_sent(KEY, 1, TEST_FORMAT.video_bitrate, 60)
    book.assignments[1] = replace(old, leaves=True)
    until(lambda: engine.alive() and 1 not in book.assignments, 60, "it is released")
    before = aired(book)
    (note,) = (note for note in book.notes if isinstance(note, ledger.Released))
    assert engine.pids() == set()
    assert not any(isinstance(note, ledger.RunEnded) for note in book.notes)
    # Here it is another node that takes it.
    book.assignments[1] = replace(
        old, released_by="other", cursors=note.cursors, measured_at=note.at
    )
    until(lambda: engine.alive() and len(aired(book)) > len(before), 60, "it is on air again")
    titles = ["Clip 1", "Clip 2"]
    assert aired(book) == [titles[number % 2] for number in range(len(before) + 1)]
    (gap,) = (note for note in book.notes if isinstance(note, ledger.IncidentOpened))
    assert (gap.severity, gap.at) == ("planned", note.at)
    assert gap.cause == "Nothing was playing: the channel moved from other to this node."


def test_an_added_block_cuts_the_item_on_air(
    engine: Engine, book: MemoryLedger, shelf: dict[int, Clip]
) -> None:
    engine.start()
    engine.until_state("on_air")
    due = (datetime.now(UTC) + timedelta(seconds=8)).replace(microsecond=0)
    old = book.assignments[1]
    news = Entry(replace(item(shelf[2], 9), title="News"), TEST_FORMAT.seconds(shelf[2].frames))
    added = Block(
        1,
        "News",
        Rotation((news,)),
        due.time(),
        (due + timedelta(seconds=4)).time(),
        start=Start.HARD,
    )
    changed = replace(old.plan.programme, blocks=(added,))
    book.assignments[1] = replace(old, plan=replace(old.plan, programme=changed))
    until(lambda: "News" in aired(book), 60, "the block is on")
    begun = next(
        note.at
        for note in book.notes
        if isinstance(note, ledger.Aired) and note.turn.item.title == "News"
    )
    # Data in the pipe could not be taken back: some seconds of tolerance.
    assert abs(begun - due.timestamp()) < engine.policy.lead + 1
    until(lambda: aired(book)[-1] != "News", 60, "the block is over")
    back = next(
        note.turn
        for note in reversed(book.notes)
        if isinstance(note, ledger.Aired) and note.turn.item.title != "News"
    )
    assert (back.item.title, back.into > 0) == ("Clip 4", True)


def test_a_timestamp_jump_in_a_file_does_not_silence_the_channel(
    engine: Engine, book: MemoryLedger, shelf: dict[int, Clip], tmp_path: Path
) -> None:
    """A copied file claims to last for hours and ends after seconds."""
    path = tmp_path / "jumps.mkv"
    clips.run(
        *("-i", str(shelf[1].path), "-c", "copy"),
        *("-bsf:v", "setts=ts=TS+if(gte(N\\,30)\\,3600/TB\\,0)"),
        *("-bsf:a", "setts=ts=TS+if(gte(N\\,47)\\,3600/TB\\,0)"),
        str(path),
    )
    old = book.assignments[1]
    jumping = Item("Jumps", str(path), Mode.COPY, entry=1)
    items = [entry.item for entry in old.plan.programme.base.entries]
    book.assignments[1] = replace(
        old, plan=replace(old.plan, programme=programme(jumping, *items[1:]))
    )
    engine.start()
    until(lambda: len(aired(book)) >= 2, 40, "the programme goes on")
    engine.until_state("on_air")
