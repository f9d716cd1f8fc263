"""One supervisor per run directory, even if the lock's file is deleted."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.playout.node.node_lock import NAME, NodeLock
from streams.tests.bench.waiting import until


def free(run_dir: Path) -> bool:
    """Whether another supervisor could start."""
    entered = threading.Event()
    thread = threading.Thread(target=lambda: _enter(run_dir, entered), daemon=True)
    thread.start()
    thread.join(0.2)
    return entered.is_set()


def _enter(run_dir: Path, entered: threading.Event) -> None:
    with NodeLock(run_dir):
        entered.set()


@pytest.mark.parametrize(
    "wipe",
    [
        lambda run_dir: (run_dir / NAME).unlink(),
        shutil.rmtree,
        # A restored backup.
        lambda run_dir: (run_dir / NAME).rename(run_dir / "old") and (run_dir / NAME).touch(),
    ],
    ids=["the file", "the folder", "replaced"],
)
def test_a_deleted_file_is_locked_again(tmp_path: Path, wipe: Callable[[Path], object]) -> None:
    run_dir = tmp_path / "run"
    with NodeLock(run_dir) as lock:
        assert lock.keep()
        wipe(run_dir)
        assert lock.keep()
        assert not free(run_dir)
    until(lambda: free(run_dir), 10, "it is given back")


def test_a_replaced_lock_holder_is_notified(tmp_path: Path) -> None:
    with NodeLock(tmp_path) as lock:
        (tmp_path / NAME).unlink()
        with NodeLock(tmp_path) as other:
            assert not lock.keep()
            assert other.keep()
        assert lock.keep()


def test_a_waiting_supervisor_locks_the_file_that_exists_in_the_end(tmp_path: Path) -> None:
    entered, leave = threading.Event(), threading.Event()

    def wait() -> None:
        with NodeLock(tmp_path):
            entered.set()
            leave.wait(30)

    with NodeLock(tmp_path) as lock:
        thread = threading.Thread(target=wait)
        thread.start()
        # It waits for this file, which no longer counts.
        assert not entered.wait(0.3)
        (tmp_path / NAME).unlink()
        assert lock.keep()
    assert entered.wait(30)
    assert not free(tmp_path)
    leave.set()
    thread.join(30)
