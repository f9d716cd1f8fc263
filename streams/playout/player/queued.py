"""Queues players behind the present one, so that the next items need no supervisor.

A running supervisor still decides as late as possible: it checks the queue against the
programme, revokes queued players as soon as they no longer match, and revokes them before it
ends the present item early. Without a supervisor the queued players play on, and the next
supervisor finds them by their records. The launcher implements the waiting.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from fractions import Fraction
from math import floor
from typing import Final

import structlog

from streams.playout.contract.plan import ChannelPlan, SourceError
from streams.playout.contract.turn import Turn
from streams.playout.ffmpeg import commands, process
from streams.playout.ffmpeg.monitored_process import MonitoredProcess
from streams.playout.player import launcher
from streams.playout.player.launcher import Launcher, frames_of
from streams.playout.player.selection import Selector
from streams.playout.player.timeline import HubClock, Slot
from streams.programme.model import Cursors, Programme

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Minimum seconds of queued items if these are short: more than a restart takes.
AHEAD_S: Final = 40
#: Maximum number of queued players.
MAX_WAITING: Final = 5
#: Seconds between two checks of the queue against the programme.
RECHECK_S: Final = 30.0
#: Seconds after which a queued player with a signed URL is replaced: far less than the URL is
#: valid.
MAX_AGE_S: Final = 600.0
#: Seconds to wait after a player could not be queued.
RETRY_S: Final = 5.0


class State(Enum):
    WAITING = auto()
    #: It plays, or has played.
    BEGUN = auto()
    #: The player before it did not end whole.
    SHUT = auto()


@dataclass(slots=True)
class Queued:
    """A player that waits, or has started since the last beat. `start`: on the feed's clock."""

    role: MonitoredProcess
    turn: Turn
    start: Fraction
    #: When it was queued, on the monotonic clock.
    since: float

    @property
    def local(self) -> bool:
        return bool(self.role.process.record.notes.get("local"))

    def state(self, now: float) -> State:
        self.role.read(now)
        if not self.role.process.exited():
            return State.WAITING if launcher.waits(self.role.process.pid) else State.BEGUN
        # The status of an adopted process is unknown.
        code = self.role.process.code()
        shut = not self.role.has_moved if code is None else code == commands.GATE_SHUT_STATUS
        return State.SHUT if shut else State.BEGUN


@dataclass(frozen=True, slots=True)
class Moment:
    """A beat: the hub's clock, and when a point of the feed is on air (`at`)."""

    now: float
    clock: HubClock
    at: Callable[[Fraction], datetime]
    #: Seconds that may be buffered when a player starts.
    lead: float

    def begin(self, head: Fraction) -> int:
        """Second of the uptime from which a player with its place at `head` may start."""
        return floor(launcher.uptime() + self.clock.moment(head) - self.now - self.lead)


class Queue:
    """Players queued behind the present one, in order. No method blocks."""

    def __init__(self, starter: Launcher, selector: Selector) -> None:
        self.launcher = starter
        self.selector = selector
        self.waiting: list[Queued] = []
        #: Programme and storage fault at the last check of the queue.
        self.programme: Programme | None = None
        self._fault: str | None = None
        #: Revoked players that have not ended yet.
        self._revoked: list[MonitoredProcess] = []
        self._checked = self._not_before = 0.0

    def roles(self) -> list[MonitoredProcess]:
        """Return all processes of the queue."""
        return [*(queued.role for queued in self.waiting), *self._revoked]

    def take(self, now: float) -> Queued:
        """Take the first queued player, which becomes the present one."""
        first = self.waiting.pop(0)
        self.launcher.promote(first.role.process)
        first.role.since = now
        return first

    def revoke(self, number: int = 0) -> None:
        """Kill the queued players from `number` on, last one first, so that no gate opens."""
        for queued in reversed(self.waiting[number:]):
            self.kill(queued.role)
        del self.waiting[number:]

    def kill(self, role: MonitoredProcess) -> None:
        role.process.signal(signal.SIGKILL)
        self._revoked.append(role)

    def reap(self) -> bool:
        """Whether all revoked players have ended."""
        for role in list(self._revoked):
            if role.process.exited():
                self.launcher.forget(role.process.record)
                role.close()
                self._revoked.remove(role)
        return not self._revoked

    # ---- the queue

    def keep(
        self,
        plan: ChannelPlan,
        player: MonitoredProcess | None,
        slot: Slot | None,
        cursors: Cursors,
        moment: Moment,
    ) -> None:
        """Check and fill the queue behind the present player, whose turn is in `slot`.

        `player`: None if it has ended and the first queued player only waits for its time.
        `cursors`: of the lists after the present turn.
        """
        if not self.reap():
            return
        fault = self.selector.sources.fault()
        changed = plan.programme is not self.programme or fault != self._fault
        if changed or moment.now - self._checked >= RECHECK_S:
            self.programme, self._fault, self._checked = plan.programme, fault, moment.now
            self._check(plan, cursors, moment)
        # All at once: an item of low bit rate may be fed completely before the next beat, and
        # nothing can be queued behind a player that has ended.
        while moment.now >= self._not_before and self._needs_more(plan):
            if not self._add(plan, player, slot, moment):
                return

    def _check(self, plan: ChannelPlan, cursors: Cursors, moment: Moment) -> None:
        for number, queued in enumerate(self.waiting):
            expected = self.selector.ahead(plan, moment.at(queued.start), cursors)
            stale = not queued.local and moment.now - queued.since > MAX_AGE_S
            same = expected == queued.turn and expected.cursors == queued.turn.cursors
            if stale or not same:
                self.revoke(number)
                return
            cursors = queued.turn.cursors

    def _needs_more(self, plan: ChannelPlan) -> bool:
        """Whether to queue one more."""
        lengths = [queued.turn.length(plan.house_format) for queued in self.waiting]
        waiting_s = sum((length for length in lengths if length is not None), Fraction(0))
        return not lengths or (len(lengths) < MAX_WAITING and waiting_s < AHEAD_S)

    def _add(
        self,
        plan: ChannelPlan,
        player: MonitoredProcess | None,
        slot: Slot | None,
        moment: Moment,
    ) -> bool:
        """Queue one more player. False: impossible or not needed now."""
        if self.waiting:
            last = self.waiting[-1]
            player, turn, start = last.role, last.turn, last.start
        elif player is None or slot is None or player.process.exited():
            return False
        else:
            turn, start = slot.turn, slot.start
        frames = frames_of(turn, plan.house_format)
        if frames is None or "gate" not in player.process.record.notes:
            return False
        head = start + plan.house_format.seconds(frames)
        if moment.clock.position(moment.now) > head:
            # It is already late: the next item is placed where the hub is.
            return False
        following = self.selector.ahead(plan, moment.at(head), turn.cursors)
        if following is None:
            return False
        # With B-frames its first timestamps lie before its start.
        begins = head + following.item.reorder
        try:
            started = self.launcher.behind(
                player.process, following, begins, plan.house_format, moment.begin(head)
            )
        except (SourceError, process.SpawnError, OSError, LookupError) as error:
            # It is tried again, and its failure reported, when its turn comes.
            self._not_before = moment.now + RETRY_S
            log.log(
                logging.DEBUG, "player.not_queued", item=following.item.title, why=str(error)
            )
            return False
        self.waiting.append(
            Queued(MonitoredProcess(started, moment.now), following, begins, moment.now)
        )
        return True
