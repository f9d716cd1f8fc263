"""The engine during outages: missing parts come back, and cost little meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from streams.playout.contract import ledger
from streams.playout.contract.plan import Policy
from streams.playout.ffmpeg import process
from streams.programme.item import Mode
from streams.programme.model import Cursors
from streams.tests.bench.clips import Clip
from streams.tests.bench.engine import Engine, MemoryLedger, assignment, programme
from streams.tests.bench.waiting import until

pytestmark = pytest.mark.slow


def test_items_are_retried_if_the_slate_itself_is_missing(
    engine: Engine, book: MemoryLedger
) -> None:
    plan = book.assignments[1].plan
    item = plan.programme.base.entries[0].item
    engine.sources.away = {item.key, plan.slate.key}
    engine.start()
    until(lambda: book.count_log_lines("it is away") >= 2, 60, "item and slate were tried")
    engine.sources.away = {plan.slate.key}
    engine.until_state("on_air")
    engine.sources.away = {item.key, plan.slate.key}
    engine.until_state("failing")
    engine.sources.away = {plan.slate.key}
    engine.until_state("on_air")


def test_an_ffmpeg_that_is_missing_for_a_while_is_retried_with_pauses(
    engine: Engine, book: MemoryLedger
) -> None:
    """Starts are paused, the cause is logged once, and the channel recovers."""
    tool = engine.run_dir.parent / "ffmpeg"
    engine.ffmpeg = str(tool)
    engine.start()
    until(lambda: book.count_log_lines("can't be started"), 60, "it was tried")
    seen = book.exchanges
    until(lambda: book.exchanges > seen + 2, 60, "some seconds pass")
    assert book.count_log_lines("can't be started") <= 4
    # The items are not at fault: the programme starts where it would have.
    assert cursors(engine) == {}
    tool.symlink_to("/usr/bin/ffmpeg")
    engine.until_state("on_air")


@pytest.fixture
def tool(engine: Engine) -> Callable[[str], Path]:
    """Run another command in place of each player; returns the file that lists its starts."""
    starts = engine.run_dir.parent / "starts"
    starts.touch()

    def replaced(command: str) -> Path:
        script = engine.run_dir.parent / "ffmpeg"
        script.write_text(
            f'#!/bin/sh\ncase "$*" in *hls_time*) exec ffmpeg "$@";; esac\n'
            f"echo start >>{starts}\n{command}\n"
        )
        script.chmod(0o755)
        engine.ffmpeg = str(script)
        return starts

    return replaced


def cursors(engine: Engine) -> Cursors:
    channel = engine.channel()
    assert channel is not None
    return channel.playback.state.selection.cursors


def begun(starts: Path, number: int) -> None:
    until(lambda: starts.read_text().count("start") >= number, 60, f"{number} were started")


def test_an_ffmpeg_that_is_being_replaced_costs_neither_programme_nor_cache(
    engine: Engine, tool: Callable[[str], Path]
) -> None:
    starts = tool("exit 127")
    engine.start()
    begun(starts, 5)
    until(lambda: cursors(engine) == {}, 60, "the list stays where it is")
    assert not any(local for _, local in engine.sources.distrusted)
    tool('exec ffmpeg "$@"')
    engine.until_state("on_air")


def test_a_player_without_output_does_not_make_its_file_distrusted(
    engine: Engine, tool: Callable[[str], Path]
) -> None:
    tool("exec tail -f /dev/null")
    engine.start()
    until(lambda: engine.sources.distrusted, 60, "it was given up")
    assert not any(local for _, local in engine.sources.distrusted)


def test_a_damaged_file_is_distrusted(engine: Engine, book: MemoryLedger) -> None:
    mine = book.assignments[1]
    damaged = engine.run_dir.parent / "damaged.mp4"
    damaged.write_bytes(b"no video" * 1000)
    item = replace(mine.plan.programme.base.entries[0].item, key=str(damaged))
    plan = replace(mine.plan, programme=programme(item))
    book.assignments[1] = replace(mine, plan=plan)
    engine.start()
    until(lambda: engine.sources.distrusted, 60, "it was tried")
    assert engine.sources.distrusted[0] == (str(damaged), True)


@pytest.mark.parametrize("mode", [Mode.PREPARED, Mode.COPY])
def test_an_item_that_ends_too_early_has_failed(
    engine: Engine,
    book: MemoryLedger,
    tool: Callable[[str], Path],
    shelf: dict[int, Clip],
    mode: Mode,
) -> None:
    """FFmpeg exits with 0 after a read error."""
    mine = assignment(shelf[4], slate=shelf[2])
    whole = mine.plan.programme.base.entries[0].item
    frames = shelf[4].frames if mode is Mode.PREPARED else None
    video = programme(replace(whole, mode=mode, frames=frames), seconds=25)
    book.assignments[1] = replace(mine, plan=replace(mine.plan, programme=video))
    # Output of FFmpeg 5.1 when a disk can't be read.
    tool('ffmpeg -t 2 "$@"; echo "[error] file:a.mkv: Input/output error" >&2')
    engine.start()
    until(
        lambda: [
            note
            for note in book.notes
            if isinstance(note, ledger.IncidentOpened) and "was cut short" in note.cause
        ],
        60,
        "it is an incident",
    )
    assert (str(shelf[4].path), False) in engine.sources.distrusted


def test_a_hub_that_dies_at_once_is_restarted_with_pauses(
    engine: Engine, book: MemoryLedger
) -> None:
    tool = engine.run_dir.parent / "ffmpeg"
    tool.write_text('#!/bin/sh\ncase "$*" in *hls_time*) exit 1;; esac\nexec ffmpeg "$@"\n')
    tool.chmod(0o755)
    engine.ffmpeg = str(tool)
    engine.start()
    until(lambda: book.count_log_lines("Started, process") >= 4, 60, "it was tried again")
    starts = [
        note.at
        for note in book.notes
        if isinstance(note, ledger.Logged) and note.text.startswith("Started, process")
    ]
    assert starts[3] - starts[0] > 2.5
    tool.write_text('#!/bin/sh\nexec ffmpeg "$@"\n')
    engine.until_state("on_air")


def test_a_channel_recovers_after_its_folder_was_cleared(engine: Engine) -> None:
    engine.start()
    engine.until_state("on_air")
    folder = process.channel_folder(engine.run_dir, 1)
    shutil.rmtree(folder)
    # Either the old hub continues with its restored folder and record, or a new one.
    until(lambda: engine.alive() and (folder / "hls" / "live.m3u8").exists(), 60, "a list")
    engine.until_state("on_air")
    engine.leave()
    engine.start()
    engine.until_state("on_air")


def test_lost_air_opens_an_incident_even_without_a_cause(
    engine: Engine, book: MemoryLedger
) -> None:
    """A hub that hangs for some seconds, and continues before it is replaced."""
    engine.policy = Policy(stall=60)
    engine.start()
    engine.until_state("on_air")
    channel = engine.channel()
    assert channel is not None
    assert channel.hub.role is not None
    hub = channel.hub.role.process.pid
    os.kill(hub, signal.SIGSTOP)
    try:
        until(lambda: "channel" in book.incidents(), 60, "an incident")
    finally:
        os.kill(hub, signal.SIGCONT)
    until(lambda: "channel" not in book.incidents(), 60, "it is over")
