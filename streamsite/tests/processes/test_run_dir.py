"""Processes that lose the run directory itself."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from streamsite.processes import cluster, run_dir
from streamsite.processes.cluster import Cluster, Lane, Supervision
from streamsite.processes.run_dir import end_without, is_usable
from streamsite.tests.waiting import until


@pytest.fixture
def lost(tmp_path: Path) -> Path:
    """A run directory that can't be made: a file stands in its place."""
    path = tmp_path / "run"
    path.touch()
    return path


def lose(folder: Path) -> None:
    """Put a file in its place, though others make the folder again meanwhile."""
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(FileExistsError):
            folder.touch(exist_ok=False)
            return


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    monkeypatch.setattr(run_dir, "POLL_INTERVAL_S", 0.05)
    process = subprocess.Popen(("sleep", "60"))
    yield process
    process.kill()
    process.wait()


def test_a_directory_that_can_be_made_is_made(tmp_path: Path, lost: Path) -> None:
    assert is_usable(tmp_path / "made" / "here")
    assert (tmp_path / "made" / "here").is_dir()
    assert not is_usable(lost)
    assert not is_usable(lost / "below")


@pytest.mark.parametrize("makeable", [True, False])
def test_a_server_ends_when_it_is_lost_for_good(
    tmp_path: Path, server: subprocess.Popen[bytes], *, makeable: bool
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()

    async def serve() -> None:
        end_without(folder, asyncio.get_running_loop(), server.pid)
        if makeable:
            shutil.rmtree(folder)
            await asyncio.to_thread(until, folder.is_dir, 10, "it is made again")
        else:
            lose(folder)
            await asyncio.to_thread(server.wait, 10)

    asyncio.run(serve())
    assert (server.poll() is None) is makeable


def test_a_server_that_never_had_it_serves_on(
    lost: Path, server: subprocess.Popen[bytes]
) -> None:
    async def serve() -> None:
        end_without(lost, asyncio.get_running_loop(), server.pid)
        await asyncio.sleep(0.3)

    asyncio.run(serve())
    assert server.poll() is None


@pytest.mark.parametrize("makeable", [True, False])
def test_a_cluster_ends_with_one_that_is_lost_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, makeable: bool
) -> None:
    """Its service starts it anew, with a run directory."""
    monkeypatch.setattr(cluster, "POLL_INTERVAL_S", 0.05)
    monkeypatch.setattr(cluster, "QUEUE_INTERVAL_S", 0.05)
    monkeypatch.setattr("streamsite.processes.watchdog.expect", lambda _: None)
    heartbeat = tmp_path / "run" / "alive"
    lane = Lane("none", 0, heartbeat, max_silence_s=60)
    guarded = Cluster(Supervision((lane,), stop_timeout_s=1))
    with ThreadPoolExecutor(1) as thread:
        guarding = thread.submit(guarded.guard)
        until(heartbeat.exists, 10, "it has begun")
        if makeable:
            # At once: it is made again while a folder is being emptied.
            heartbeat.parent.rename(tmp_path / "gone")
            until(heartbeat.exists, 10, "it has made it again")
            guarded.sig_handler()
        else:
            lose(heartbeat.parent)
        assert guarding.result(10) == (0 if makeable else 1)
