"""Faults of one channel affect neither the others nor its own future."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from streams.playout.ffmpeg import process
from streams.playout.node.wake import socket_exists
from streams.tests.bench.engine import Engine, MemoryLedger
from streams.tests.bench.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.clips(1, 4, slate=2)]


@pytest.mark.parametrize("name", ["player", "hub"])
def test_a_record_of_another_version_is_replaced(engine: Engine, name: str) -> None:
    """A deployment may change the records' format: the channel restarts that process."""
    engine.start()
    engine.until_state("on_air")
    engine.leave()
    path = process.channel_folder(engine.run_dir, 1) / f"{name}.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"notes": {"somebody": "else's"}}))
    engine.start()
    engine.until_state("on_air")
    until(lambda: engine.alive() and record["pid"] not in engine.pids(), 60, "it is replaced")
    until(lambda: len(engine.pids()) == 2, 60, "player and hub, nothing else")


def test_a_process_whose_record_cannot_be_written_is_ended(
    engine: Engine, book: MemoryLedger
) -> None:
    """On a full disk there would otherwise be another player at every beat."""
    engine.start()
    engine.until_state("on_air")
    folder = process.channel_folder(engine.run_dir, 1)
    (folder / ".player.draft").mkdir()
    channel = engine.channel()
    assert channel is not None
    assert channel.playback.player is not None
    channel.playback.player.kill(0)
    until(lambda: book.count_log_lines("can't be started"), 60, "it was tried")
    seen = book.exchanges
    until(lambda: book.exchanges > seen + 2, 60, "some seconds pass, and tries")
    assert len(engine.pids()) <= 3
    (folder / ".player.draft").rmdir()
    until(lambda: len(engine.pids()) == 2, 60, "player and hub, nothing else")
    engine.until_state("on_air")


def test_ffmpegs_log_is_readable_by_its_owner_only(engine: Engine) -> None:
    """It may contain a signed URL, and the folder is open to the web server's group."""
    folder = process.channel_folder(engine.run_dir, 1)
    folder.mkdir()
    # Permissions of an earlier version.
    (folder / "hub.log").touch(0o644)
    engine.start()
    engine.until_state("on_air")
    logs = {path.name: path.stat().st_mode & 0o777 for path in folder.glob("*.log")}
    assert {"hub.log", "player.log"} <= set(logs)
    assert set(logs.values()) == {0o600}


def test_records_are_restored_after_the_run_directory_was_cleared(
    engine: Engine, book: MemoryLedger
) -> None:
    """Otherwise the next supervisor would end the playing processes as strays."""
    engine.start()
    engine.until_state("on_air")
    folder = process.channel_folder(engine.run_dir, 1)
    shutil.rmtree(folder)

    def recorded() -> bool:
        pids = {record.pid for record in process.records(folder)}
        return len(pids) >= 2 and pids == engine.pids()

    until(recorded, 60, "each process has its record again")
    assert book.count_log_lines("The run directory was cleared")
    until((folder / "hls/live.m3u8").exists, 60, "the preview is there again")
    until(recorded, 60, "nothing runs without a record")
    before = {record.role: record.pid for record in process.records(folder)}
    engine.leave()
    engine.start()
    engine.until_state("on_air")
    assert records_by_role(folder).get("hub") == before["hub"]
    # The pipe has no path any more, but is still the one that the hub reads.
    until(
        lambda: records_by_role(folder).get("player") not in {None, before["player"]},
        60,
        "the next item plays",
    )
    seen = book.exchanges
    until(lambda: book.exchanges > seen + 2, 60, "it plays for a while")
    assert records_by_role(folder).get("hub") == before["hub"]
    assert engine.state() == "on_air"
    assert not book.count_log_lines("Nothing was playing")


def records_by_role(folder: Path) -> dict[str, int]:
    return {record.role: record.pid for record in process.records(folder)}


@pytest.mark.parametrize("name", ["", "wake.sock", "playout.alive", "channel-1/feed.fifo"])
def test_deleted_parts_of_the_run_directory_are_recreated(
    engine: Engine, book: MemoryLedger, name: str
) -> None:
    """The directory itself, if its parent allows it, or one part of it."""
    engine.start()
    engine.until_state("on_air")
    path = engine.run_dir / name
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    if name != "channel-1/feed.fifo":
        until(path.exists, 60, "it is there again")
    until(lambda: socket_exists(engine.run_dir), 60, "orders are noticed at once")
    until((engine.run_dir / "channel-1/hls/live.m3u8").exists, 60, "the preview is there")
    until((engine.run_dir / "playout.alive").exists, 60, "it shows that it lives")
    # A skip cuts the data in the pipe.
    book.assignments[1] = replace(book.assignments[1], skips=1)
    until(lambda: book.snapshots[1].skips_done == 1, 60, "orders are carried out")
    engine.until_state("on_air", 60)
    assert not book.count_log_lines("The operating system reports")


def test_a_supervisor_without_a_run_directory_ends(engine: Engine, book: MemoryLedger) -> None:
    """A service can't recreate it: systemd does for the next supervisor."""
    engine.start()
    engine.until_state("on_air")
    engine.run_dir.rename(engine.run_dir.with_name("moved"))
    engine.run_dir.touch()
    assert engine.thread is not None
    engine.thread.join(60)
    assert not engine.thread.is_alive()
    assert engine.failed is None
    # The processes keep playing, here in another place.
    assert engine.pids()
    engine.run_dir.unlink()
    engine.run_dir.with_name("moved").rename(engine.run_dir)
    engine.leave()
    engine.start()
    engine.until_state("on_air", 60)
