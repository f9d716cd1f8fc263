"""Decides when a cluster takes a task, starts a worker and lets one go. Pure.

A worker is idle or at a task of one queue. It is started when there is work that no other can
take, and goes when it has had none for a while: a worker is some 15 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

#: Seconds without an idle worker before another one is started: the short tasks of each minute
#: share one. It also bounds the pace at which workers that die are replaced.
SHORTAGE_S: Final = 0.5
#: Seconds without a task after which a worker goes.
IDLE_S: Final = 10.0
#: Seconds beyond a task's timeout, which its worker observes itself, until it is killed.
GRACE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Member:
    """A worker. Moments in seconds, monotonic."""

    pid: int
    #: When its task began, or ended.
    since: float
    #: The queue of its task; empty: it is idle.
    queue: str = ""
    #: Seconds that the task may take; None: any time.
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """What the cluster may have."""

    #: Tasks of each queue at a time.
    limits: dict[str, int]

    @property
    def most(self) -> int:
        return sum(self.limits.values())


def may_start(room: Room, members: Sequence[Member], short_since: float, now: float) -> bool:
    """Whether another worker may be started. `short_since`: when one was idle last."""
    idle = any(not member.queue for member in members)
    return not idle and len(members) < room.most and now - short_since >= SHORTAGE_S


def open_queues(
    room: Room, members: Sequence[Member], short_since: float, now: float
) -> list[str]:
    """The queues of which a task may be taken now."""
    idle = any(not member.queue for member in members)
    if not idle and not may_start(room, members, short_since, now):
        return []
    return waiting_queues(room, members)


def waiting_queues(room: Room, members: Sequence[Member]) -> list[str]:
    """The queues that have not as many tasks at work as they may have."""
    return [
        queue
        for queue, limit in room.limits.items()
        if sum(member.queue == queue for member in members) < limit
    ]


def surplus(members: Sequence[Member], now: float) -> list[int]:
    """The workers that may go."""
    return [m.pid for m in members if not m.queue and now - m.since >= IDLE_S]


def overdue(members: Sequence[Member], now: float) -> list[int]:
    """The workers whose task has outlasted its timeout, though they observe it themselves."""
    return [
        member.pid
        for member in members
        if member.timeout_s is not None and now - member.since > member.timeout_s + GRACE_S
    ]
