"""Enqueues tasks of the jobs cluster.

The rows hold the state: the next sweep recovers a lost message within a minute.
"""

from __future__ import annotations

from streamsite.processes.task_queue import enqueue


def prepare() -> None:
    """Enqueues a worker for the most urgent copy; it ends at once if enough are running."""
    # A long video takes longer than a task may; the work is bounded by itself (-1: no limit).
    enqueue("media_library.tasks.prepare_next", timeout=-1)


def probe() -> None:
    """Enqueues a worker for new items; it ends at once if enough are running."""
    enqueue("media_library.tasks.probe_new")
