"""Ring for a worker of the jobs cluster.

The truth is in the rows: a ring that is lost costs a minute.
"""

from __future__ import annotations

from streamsite.processes.task_queue import enqueue


def prepare() -> None:
    """One more worker makes the most urgent copy, unless enough are at it."""
    # A long film takes longer than a task may; the work is bounded by itself (-1: no end).
    enqueue("media_library.tasks.prepare_next", timeout=-1)


def probe() -> None:
    """One more worker looks into new items, unless enough are at it."""
    enqueue("media_library.tasks.probe_new")
