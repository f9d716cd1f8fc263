"""Queues players behind the present one, so that the next items need no supervisor.

A running supervisor still decides as late as possible: it checks the queue against the
programme, revokes queued players as soon as they no longer match, and revokes them before it
ends the present item early. Without a supervisor the queued players play on, and the next
supervisor finds them by their records. The launcher implements the waiting.
"""

from __future__ import annotations

import logging
import signal
from dataclasses import dataclass
from enum import Enum, auto
from fractions import Fraction
from math import floor
from typing import Final

import structlog

from streams.playout.contract.plan import ChannelPlan, SourceError
from streams.playout.ffmpeg import commands, process
from streams.playout.ffmpeg.monitored_process import MonitoredProcess
from streams.playout.player import launcher
from streams.playout.player.launcher import Launcher, frames_of
from streams.playout.player.machine import HURRIED_BELOW_S, Moment
from streams.playout.player.selection import Selection
from streams.playout.player.timeline import Slot
from streams.programme.model import Programme

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


class Phase(Enum):
    WAITING = auto()
    #: It plays, or has played.
    BEGUN = auto()
    #: The player before it did not end whole.
    SHUT = auto()


@dataclass(slots=True)
class Queued:
    """A player that waits, or has started since the last beat."""

    role: MonitoredProcess
    slot: Slot
    #: When it was queued, on the monotonic clock.
    since: float

    @property
    def local(self) -> bool:
        return bool(self.role.process.record.notes.get("local"))

    def phase(self, now: float) -> Phase:
        self.role.read(now)
        if not self.role.process.exited():
            return Phase.WAITING if launcher.waits(self.role.process.pid) else Phase.BEGUN
        # The status of an adopted process is unknown.
        code = self.role.process.code()
        shut = not self.role.has_moved if code is None else code == commands.GATE_SHUT_STATUS
        return Phase.SHUT if shut else Phase.BEGUN


class Queue:
    """Players queued behind the present one, in order. No method blocks."""

    def __init__(self, starter: Launcher) -> None:
        self.launcher = starter
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
        """Take the first queued player, which becomes the present one. Raises `OSError`."""
        self.launcher.promote(self.waiting[0].role.process)
        first = self.waiting.pop(0)
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

    def may_wait(self, moment: Moment) -> bool:
        """Whether enough air is buffered to wait for the first one, which is about to start."""
        buffered = moment.buffered(self.waiting[0].slot.start)
        return buffered is not None and buffered > HURRIED_BELOW_S / 2

    # ---- the queue

    def keep(
        self,
        player: MonitoredProcess | None,
        slot: Slot | None,
        selection: Selection,
        moment: Moment,
    ) -> None:
        """Check and fill the queue behind the present player, which plays `slot`.

        `player`: None if it has ended and the first queued player only waits for its time.
        """
        if not self.reap():
            return
        now, plan, fault = moment.now.mono, moment.plan, moment.sources.fault()
        changed = plan.programme is not self.programme or fault != self._fault
        if changed or now - self._checked >= RECHECK_S:
            self.programme, self._fault, self._checked = plan.programme, fault, now
            self._check(slot, selection, moment)
        # All at once: an item of low bit rate may be fed completely before the next beat, and
        # nothing can be queued behind a player that has ended.
        while now >= self._not_before and self._needs_more(plan):
            if not self._add(player, slot, selection, moment):
                return

    def _check(self, slot: Slot | None, selection: Selection, moment: Moment) -> None:
        cursors = selection.cursors if slot is None else slot.turn.cursors
        for number, queued in enumerate(self.waiting):
            turn, at = queued.slot.turn, moment.when(queued.slot.start)
            expected = selection.ahead(moment.plan, moment.sources, at, cursors)
            stale = not queued.local and moment.now.mono - queued.since > MAX_AGE_S
            if stale or expected != turn or expected.cursors != turn.cursors:
                self.revoke(number)
                return
            cursors = turn.cursors

    def _needs_more(self, plan: ChannelPlan) -> bool:
        """Whether to queue one more."""
        lengths = [queued.slot.turn.length(plan.house_format) for queued in self.waiting]
        waiting_s = sum((length for length in lengths if length is not None), Fraction(0))
        return not lengths or (len(lengths) < MAX_WAITING and waiting_s < AHEAD_S)

    def _add(
        self,
        player: MonitoredProcess | None,
        slot: Slot | None,
        selection: Selection,
        moment: Moment,
    ) -> bool:
        """Queue one more player. False: impossible or not needed now."""
        if self.waiting:
            player, slot = self.waiting[-1].role, self.waiting[-1].slot
        elif player is None or slot is None or player.process.exited():
            return False
        plan, now = moment.plan, moment.now.mono
        frames = frames_of(slot.turn, plan.house_format)
        if moment.clock is None or frames is None or "gate" not in player.process.record.notes:
            return False
        head = slot.start + plan.house_format.seconds(frames)
        if moment.clock.position(now) > head:
            # It is already late: the next item is placed where the hub is.
            return False
        turn = selection.ahead(plan, moment.sources, moment.when(head), slot.turn.cursors)
        if turn is None:
            return False
        # With B-frames its first timestamps lie before its start.
        following = Slot(turn, head + turn.item.reorder)
        # The second of the uptime from which its place is close enough.
        lead = moment.clock.moment(head) - now - moment.policy.lead
        begin = floor(launcher.uptime() + lead)
        try:
            started = self.launcher.behind(player.process, following, plan.house_format, begin)
        except (SourceError, process.SpawnError, OSError, LookupError) as error:
            # It is tried again, and its failure reported, when its turn comes.
            self._not_before = now + RETRY_S
            log.log(logging.DEBUG, "player.not_queued", item=turn.item.title, why=str(error))
            return False
        self.waiting.append(Queued(MonitoredProcess(started, now), following, now))
        return True
