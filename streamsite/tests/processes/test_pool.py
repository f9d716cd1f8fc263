"""When a cluster takes a task, starts a worker and lets one go."""

from __future__ import annotations

import pytest

from streamsite.processes.pool import (
    GRACE_S,
    IDLE_S,
    SHORTAGE_S,
    Member,
    Room,
    may_start,
    open_queues,
    overdue,
    surplus,
)

ROOM = Room({"jobs": 2, "downloads": 1})
IDLE = Member(1, 0.0)
JOB = Member(2, 0.0, "jobs")
DOWNLOAD = Member(3, 0.0, "downloads")


@pytest.mark.parametrize(
    ("members", "short_s", "expected"),
    [
        # Nobody is there, or nobody has been idle for long enough.
        ((), SHORTAGE_S, ["jobs", "downloads"]),
        ((JOB,), SHORTAGE_S, ["jobs", "downloads"]),
        # The short tasks of each minute wait for the worker that they share.
        ((JOB,), SHORTAGE_S / 2, []),
        ((IDLE,), 0.0, ["jobs", "downloads"]),
        # A queue that has what it may have leaves the others theirs.
        ((DOWNLOAD,), SHORTAGE_S, ["jobs"]),
        ((DOWNLOAD, IDLE), 0.0, ["jobs"]),
        ((JOB, JOB), SHORTAGE_S, ["downloads"]),
        ((JOB, JOB, DOWNLOAD), SHORTAGE_S, []),
    ],
)
def test_tasks_are_taken(
    members: tuple[Member, ...], short_s: float, expected: list[str]
) -> None:
    assert open_queues(ROOM, members, 100.0, 100.0 + short_s) == expected


def test_no_more_workers_than_tasks() -> None:
    assert not may_start(ROOM, (JOB, JOB, DOWNLOAD), 0.0, 100.0)
    # One that is told to go, and has not gone yet, counts.
    assert not may_start(ROOM, (JOB, JOB, Member(4, 0.0, "dismissed")), 0.0, 100.0)


def test_idle_workers_go() -> None:
    assert surplus((IDLE, JOB), IDLE_S) == [IDLE.pid]
    assert surplus((IDLE, JOB), IDLE_S / 2) == []


def test_a_task_that_outlasts_its_timeout_is_ended() -> None:
    late = Member(5, 0.0, "jobs", timeout_s=60.0)
    assert overdue((late, DOWNLOAD, IDLE), 60.0 + GRACE_S) == []
    assert overdue((late, DOWNLOAD, IDLE), 61.0 + GRACE_S) == [5]
