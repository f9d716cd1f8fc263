"""Fencing: prevents two nodes from sending the same channel.

A node owns a channel by a claim that it renews at every exchange with the ledger. Another node
may claim the channel when it has seen no renewal for `LEASE_S` by its own clock. The owner
stops its pushers earlier, also by its own clock, so wall clocks are never compared. Both
intervals start when the last successful exchange began, because everything it wrote was written
after that moment.

Fencing has two parts. The supervisor stops its pushers after `FENCE_S`. A guard does so after
`GUARD_S` in case the supervisor is dead or frozen: it is a small shell in a session of its own
that reads the deadline from a file. A node without peers has neither fence nor guard.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds without a renewal after which another node may claim a channel. It is on air some 5 s
#: later: within 20 s of a power cut, two exchanges included.
LEASE_S: Final = 12.0
#: Seconds without a renewal after which the supervisor kills its pushers. Its loop checks once
#: a second.
FENCE_S: Final = 9.0
#: Seconds without a renewal after which the guard kills them. It also checks once a second.
GUARD_S: Final = 10.0
#: Subject of the incident that is open while the supervisor sends nothing.
FENCED: Final = "database"
#: Holds the guard's deadline in seconds of uptime, and the name of the guard that reads it.
FILE: Final = "fence"
#: Kills the pushers of a run directory at the deadline. Arguments: the folder and the guard's
#: name. The guard ends when the file is gone or names another guard. A pid is trusted only with
#: its start time, field 22 of /proc/<pid>/stat (proc(5)).
_GUARD: Final = """\
while sleep 1; do
  read -r deadline name <"$1/fence" || exit 0
  [ "$name" = "$2" ] || exit 0
  read -r up idle </proc/uptime
  [ "${up%%.*}" -ge "$deadline" ] || continue
  for record in "$1"/channel-*/pusher-*.json; do
    read -r line <"$record" || [ -n "$line" ] || continue
    pid=${line#*'"pid": '} pid=${pid%%,*}
    born=${line#*'"born": '} born=${born%%,*}
    read -r stat <"/proc/$pid/stat" || continue
    set -- "$1" "$2" ${stat##*) }
    [ "${22}" = "$born" ] && kill -9 "$pid"
    set -- "$1" "$2"
  done
done 2>/dev/null
"""


@dataclass(frozen=True, slots=True)
class Claims:
    """The state of this node's claims after an exchange."""

    #: Whether other nodes use the same ledger.
    shared: bool = False
    #: Channels reported as playing that now belong to another node.
    lost: frozenset[int] = frozenset()
    #: Seconds to add to this machine's monotonic clock for the ledger's time since the epoch;
    #: None: not known yet.
    wall_offset: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Renewal:
    """The last successful exchange. `began` is on a clock that also counts during suspend."""

    began: float
    shared: bool


def fenced(renewal: Renewal, now: float) -> bool:
    """Whether nothing may be sent. `now`: seconds on the same clock as `Renewal.began`."""
    return renewal.shared and now - renewal.began >= FENCE_S


def clock() -> float:
    """Seconds since boot, like /proc/uptime: nobody sets this clock, and it counts suspend."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Fence:
    """The fence of one node, with its guard."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.name = f"{os.getpid()}-{time.monotonic_ns()}"
        #: Pid of the guard while it is our running child. Another supervisor's guard ends by
        #: itself.
        self._guard: int | None = None
        self.renewal = self._left()

    def _left(self) -> Renewal:
        """The renewal an earlier supervisor left: its knowledge of other nodes still holds."""
        try:
            deadline = int((self.run_dir / FILE).read_text().split()[0])
        except FileNotFoundError:
            return Renewal(clock(), shared=False)
        except (OSError, ValueError, IndexError):
            return Renewal(clock() - FENCE_S, shared=True)
        return Renewal(deadline - GUARD_S, shared=True)

    @property
    def closed(self) -> bool:
        return fenced(self.renewal, clock())

    @property
    def guarded(self) -> bool:
        """Whether the guard is running."""
        if self._guard is not None and os.waitpid(self._guard, os.WNOHANG) != (0, 0):
            self._guard = None
        return self._guard is not None

    def renewed(self, began: float, *, shared: bool) -> None:
        """Record that the exchange which started at `began` has renewed the claims."""
        self.renewal = Renewal(began, shared)
        try:
            if shared:
                self._watch()
            else:
                (self.run_dir / FILE).unlink(missing_ok=True)
        except OSError as error:
            log.warning("fence.failed", error=str(error))

    def _watch(self) -> None:
        # Written first: a guard that is about to start must find its name.
        draft = self.run_dir / f".{FILE}"
        draft.write_text(f"{int(self.renewal.began + GUARD_S)} {self.name}\n")
        draft.replace(self.run_dir / FILE)
        if not self.guarded:
            null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)]
            # The guard outlives the supervisor: nobody waits for its end.
            self._guard = os.posix_spawn(
                "/bin/sh",
                ["/bin/sh", "-c", _GUARD, "streamsite-fence", str(self.run_dir), self.name],
                {"PATH": os.environ.get("PATH", os.defpath)},
                file_actions=null,
                setsid=True,
            )
