"""Decides which processes of streamsite are started, stopped and restarted. Pure.

The pages are started first, the others once they are open or have had their time.

A child's life: running → ended → (after a pause) running ... until the stop is ordered: then
running → signalled → (after the timeout) killed → gone. The group is gone when all are.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from typing import Final, assert_never

#: Seconds before the first new start of a child that ended; doubled at each end in a row.
FIRST_RESTART_DELAY_S: Final = 0.5
MAX_RESTART_DELAY_S: Final = 30.0
#: A child that ran for so many seconds was well: its next end counts as the first.
STEADY_S: Final = 60.0
#: Seconds the children have to end by themselves. With the 6 s that FFmpeg may take after them
#: it makes less than the 10 s promised for a stop.
STOP_TIMEOUT_S: Final = 3.0
#: Seconds that the pages have to open before the others start all the same. Loaded side by
#: side, the six processes keep each other from opening: 26 s on two busy cores.
HEAD_START_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Child:
    name: str
    #: When it was started last, while it runs.
    running_since: float | None = None
    #: When it is started next, while it does not run; None: not any more.
    due: float | None = 0.0
    ends_in_a_row: int = 0
    #: Seconds at most from its end to its start.
    max_delay_s: float = MAX_RESTART_DELAY_S

    @property
    def is_first_start(self) -> bool:
        """Whether it waits to be started for the first time."""
        return self.due is not None and self.ends_in_a_row == 0


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    children: tuple[Child, ...]
    stopping: bool = False
    #: While stopping: when those that still run are killed; None: they have been.
    kill_at: float | None = None

    @property
    def gone(self) -> bool:
        return self.stopping and not self.running

    @property
    def running(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.children if c.running_since is not None)

    @property
    def wakes_at(self) -> float | None:
        """The time of the next action if nothing happens until then."""
        if self.stopping:
            return self.kill_at
        return min((c.due for c in self.children if c.due is not None), default=None)


@dataclass(frozen=True, slots=True)
class Ended:
    name: str


@dataclass(frozen=True, slots=True)
class Opened:
    """The pages answer."""


@dataclass(frozen=True, slots=True)
class StopOrdered:
    """The second one hurries."""


@dataclass(frozen=True, slots=True)
class Ticked:
    pass


Event = Ended | Opened | StopOrdered | Ticked


@dataclass(frozen=True, slots=True)
class Start:
    name: str


@dataclass(frozen=True, slots=True)
class Send:
    name: str
    number: signal.Signals


Action = Start | Send


def step(
    group: ProcessGroup, event: Event, now: float
) -> tuple[ProcessGroup, tuple[Action, ...]]:
    """The group after the event, and the actions to take. `now` in seconds, monotonic."""
    match event:
        case Ended(name):
            children = tuple(
                _ended(child, now, again=not group.stopping) if child.name == name else child
                for child in group.children
            )
            return replace(group, children=children), ()
        case Opened():
            children = tuple(
                replace(child, due=now) if child.is_first_start else child
                for child in group.children
            )
            return replace(group, children=children), ()
        case StopOrdered():
            if group.stopping:
                return _kill(group)
            stopping = replace(group, stopping=True, kill_at=now + STOP_TIMEOUT_S)
            return stopping, tuple(Send(name, signal.SIGTERM) for name in group.running)
        case Ticked():
            if group.stopping:
                late = group.kill_at is not None and now >= group.kill_at
                return _kill(group) if late else (group, ())
            due = [c.name for c in group.children if c.due is not None and c.due <= now]
            children = tuple(
                replace(child, running_since=now, due=None) if child.name in due else child
                for child in group.children
            )
            return replace(group, children=children), tuple(Start(name) for name in due)
        case _:
            assert_never(event)


def _ended(child: Child, now: float, *, again: bool) -> Child:
    began = now if child.running_since is None else child.running_since
    ends = 1 if now - began >= STEADY_S else child.ends_in_a_row + 1
    # The exponent is bounded: a float overflows after a thousand ends.
    pause = min(FIRST_RESTART_DELAY_S * 2.0 ** min(ends - 1, 16), child.max_delay_s)
    return replace(
        child, running_since=None, due=now + pause if again else None, ends_in_a_row=ends
    )


def _kill(group: ProcessGroup) -> tuple[ProcessGroup, tuple[Action, ...]]:
    return (
        replace(group, kill_at=None),
        tuple(Send(name, signal.SIGKILL) for name in group.running),
    )
