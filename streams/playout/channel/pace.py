"""Judges whether a channel is sent in real time, and reports the measurements.

The machine is reported as too slow only if that was measured too: a process of the channel
waited for a CPU, or encoding kept one busy. `judge` is pure; `Pacing` collects its input.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from streams.playout.ffmpeg import process
from streams.playout.ffmpeg.monitored_process import PACE_SPAN_S, MonitoredProcess
from streams.playout.player import stall

#: Name of the incident.
PACE: Final = "pace"

#: Seconds of air per second below which the channel falls behind; FFmpeg's own jitter is
#: smaller.
SLOW: Final = 0.97
#: Seconds of lag that count: reports are sent once a second and read up to a second late.
MIN_BEHIND_S: Final = 2.0
#: Share of the last 30 s that arrived late which counts, once it is a second in all.
LATE_SHARE: Final = 0.01
MIN_LATE_S: Final = 1.0
#: Share of the time for which a process waited for a CPU, or kept one busy, that shows that the
#: machine is too slow.
WAITED_SHARE: Final = 0.15
BUSY_SHARE: Final = 0.9
ADVICE: Final = "Prepare the items, run fewer channels here, or use a machine with more cores."


@dataclass(frozen=True, slots=True)
class Strain:
    """Shares of the time, each of the process with the highest value."""

    #: The process was ready to run and waited for a CPU.
    waited: float = 0.0
    #: The process kept a CPU busy while it fell behind: encoding in real time.
    busy: float = 0.0


@dataclass(frozen=True, slots=True)
class Sending:
    """One sender: seconds of air per second over the last 30 s, and its lag in seconds."""

    name: str
    pace: float
    behind: float
    #: Share of the last 30 s by which it fell further behind; negative: it catches up.
    late: float = 0.0

    @property
    def fault(self) -> str:
        """What is wrong with it, as a sentence; empty if nothing is."""
        if self.pace < SLOW and self.behind >= MIN_BEHIND_S:
            speed = f"{self.pace:.2f} of real time"
            return f"{self.name} sends at {speed}, {self.behind:.0f} s behind."
        if self.late >= LATE_SHARE and self.behind >= MIN_LATE_S:
            return f"{self.name} sends {self.late:.1%} late, {self.behind:.0f} s in all."
        return ""


def judge(senders: list[Sending], strain: Strain) -> str:
    """Return why the channel is slow, in sentences; empty if it is not."""
    sentences = [sender.fault for sender in senders if sender.fault]
    if not sentences:
        return ""
    if strain.waited >= WAITED_SHARE:
        sentences.append(
            "This machine is too slow: a process of this channel waited for a CPU for "
            f"{strain.waited:.0%} of the time. {ADVICE}"
        )
    elif strain.busy >= BUSY_SHARE:
        sentences.append(
            "This machine is too slow: a process of this channel kept a CPU busy for "
            f"{strain.busy:.0%} of the time. {ADVICE}"
        )
    return " ".join(sentences)


class Pacing:
    """Measures the channel's processes between two samples."""

    def __init__(self) -> None:
        self._before: dict[int, tuple[float, stall.Work]] = {}
        #: By process name: moments, and seconds behind at them.
        self._behind: dict[str, deque[tuple[float, float]]] = {}
        #: Names of the processes that alone are late: neither machine nor hub are.
        self.late: frozenset[str] = frozenset()
        #: When the first of them slowed down (monotonic); None: none has.
        self.since: float | None = None
        #: By process name: what is wrong with each sender that is late.
        self.faults: dict[str, str] = {}

    def sample(
        self, roles: Iterable[MonitoredProcess], names: Mapping[str, str], now: float
    ) -> str:
        """Return why the channel is slow; empty if it is not. Called once per sample.

        `names`: display names of the senders, by process name.
        """
        senders: dict[str, Sending] = {}
        began: dict[str, float] = {}
        strain, seen = Strain(), {}
        for role in roles:
            pace = role.pace(now) if role.name in names else None
            if pace is not None:
                late = self._late(role, now)
                if (slowed := role.slowed_at()) is not None:
                    began[role.name] = slowed
                senders[role.name] = Sending(names[role.name], pace, role.lag() or 0.0, late)
            if (work := stall.work_of(role.process.pid)) is not None:
                seen[role.process.pid] = now, work
                strain = self._strained(strain, role, work, now)
        self._before = seen
        self.faults = {n: sender.fault for n, sender in senders.items() if sender.fault}
        slow = frozenset(self.faults)
        begun = [began[name] for name in slow if name in began]
        self.since = min(begun, default=None)
        strained = strain.waited >= WAITED_SHARE or strain.busy >= BUSY_SHARE
        self.late = frozenset() if strained or process.HUB in slow else slow
        return judge(list(senders.values()), strain)

    def _late(self, role: MonitoredProcess, now: float) -> float:
        sent, due = role.sent(now), role.due(now)
        if sent is None or due is None:
            return 0.0
        lags = self._behind.setdefault(role.name, deque())
        if lags and now - lags[-1][0] > PACE_SPAN_S:
            lags.clear()
        lags.append((now, due - sent))
        while now - lags[0][0] > PACE_SPAN_S + 1:
            lags.popleft()
        elapsed = now - lags[0][0]
        return (lags[-1][1] - lags[0][1]) / elapsed if elapsed >= PACE_SPAN_S - 1 else 0.0

    def _strained(
        self, strain: Strain, role: MonitoredProcess, work: stall.Work, now: float
    ) -> Strain:
        at, before = self._before.get(role.process.pid, (now, work))
        if now <= at:
            return strain
        waited = (work.waited_s - before.waited_s) / (now - at)
        # The other processes copy: being busy with that proves nothing.
        encodes = role.process.record.role in {process.PLAYER, process.CONFORMER}
        busy = (work.ran_s - before.ran_s) / (now - at) if encodes else 0.0
        return Strain(max(strain.waited, waited), max(strain.busy, busy))
