"""Judges whether a player's source has stalled, in seconds of air instead of bytes.

A player that is short of air is at fault only if it is idle. If it waits for a CPU, computes or
reads a file of this machine, it is slow because the machine is busy: another player would be
even slower. `step` is pure; `work_of` reads /proc.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Final

#: Share of the time for which a working process must have run or waited for a CPU.
AT_WORK_SHARE: Final = 0.1
#: Seconds of air below which the pipe counts as empty: less than a source's start takes.
EMPTY_S: Final = 0.25
#: Fill level at which the pipe throttles its player, so that a pause is not the source's fault.
FULL_SHARE: Final = 0.75
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Work:
    """Work that a process has done since its start."""

    #: Seconds on a CPU, summed over its threads.
    ran_s: float
    #: Seconds ready to run and waiting for a CPU.
    waited_s: float
    #: Bytes read from files.
    read: int
    #: It waits for a disk now.
    on_disk: bool = False


@dataclass(frozen=True, slots=True)
class Observation:
    """A player at a moment (`now`, monotonic seconds)."""

    now: float
    #: When the player last fed data, according to its reports.
    moved: float
    #: Seconds of air between the sent and the fed position.
    buffered: float
    #: Position on the feed's clock up to which it has reported to have fed, once a second.
    fed: Fraction
    work: Work | None
    #: It reads a regular file of this machine.
    local: bool
    #: The pipe was full enough before.
    filled: bool


@dataclass(frozen=True, slots=True)
class Idle:
    """Since when a player that no full pipe throttles has been idle."""

    since: float
    fed: Fraction
    #: Work that it had done at that moment.
    work: Work | None
    at: float


@dataclass(frozen=True, slots=True)
class Bounds:
    """Seconds. `low`: of air, below which a player may be at fault. The others: of idleness."""

    low: float
    #: If the pipe was full enough before, and if nothing was ever buffered.
    running: float
    starting: float
    #: For a regular file of this machine.
    local: float


def step(idle: Idle | None, observation: Observation, bounds: Bounds) -> tuple[Idle, bool]:
    """Return the state for the next step, and whether the source has stalled."""
    fresh = Idle(observation.now, observation.fed, observation.work, observation.now)
    if idle is None:
        return replace(fresh, since=min(observation.moved, observation.now)), False
    if _at_work(
        idle.work, observation.work, observation.now - idle.at, files=observation.local
    ):
        return fresh, False
    elapsed = observation.now - idle.since
    if observation.fed > idle.fed:
        # A source slower than real time counts as stalled once the pipe is empty.
        return (
            fresh,
            not observation.local and observation.filled and observation.buffered <= EMPTY_S,
        )
    if observation.local:
        bound = bounds.local
    else:
        bound = bounds.running if observation.filled else bounds.starting
    return idle, elapsed > bound and observation.buffered < bounds.low


def _at_work(before: Work | None, after: Work | None, elapsed: float, *, files: bool) -> bool:
    """Whether a process has worked, or only the machine kept it from working.

    `files`: reading files and waiting for a disk count as work.
    """
    if before is None or after is None or elapsed <= 0:
        return False
    if files and (after.read > before.read or after.on_disk):
        return True
    used = after.ran_s - before.ran_s + after.waited_s - before.waited_s
    return used >= AT_WORK_SHARE * elapsed


def work_of(pid: int) -> Work | None:
    """Return the work of a living process from proc(5); None if that can't be read."""
    ran = waited = 0.0
    on_disk = False
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            times = (task / "schedstat").read_text().split()
            ran += int(times[0]) / _NS
            waited += int(times[1]) / _NS
            stat = (task / "stat").read_text()
            on_disk = on_disk or stat[stat.rindex(")") + 2] == "D"
        counts = Path(f"/proc/{pid}/io").read_text()
    except (OSError, ValueError, IndexError):
        return None
    read = next(
        (int(line.split()[1]) for line in counts.splitlines() if line.startswith("rchar:")), 0
    )
    return Work(ran, waited, read, on_disk)
