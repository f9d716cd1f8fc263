"""The players that wait behind the present one, so that the next items need no supervisor.

While a supervisor is there it decides as late as it always did: what waits is held against the
programme and revoked as soon as that says otherwise, and whatever ends the present item early
revokes it first. While none is there, what waits plays; the next supervisor finds it by its
records. How one waits is the launcher's matter.
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
from streams.playout.player.selection import Choice
from streams.playout.player.timeline import HubClock, Slot
from streams.programme.model import Cursors, Programme

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds of items that wait, at least, where these are short: more than a restart takes.
AHEAD_S: Final = 40
#: Players that wait behind one another, at most.
MAX_WAITING: Final = 5
#: Seconds between two checks whether what waits is what the programme wants.
RECHECK_S: Final = 30.0
#: Seconds after which a signed URL is made anew: far less than it lives.
MAX_AGE_S: Final = 600.0
#: Seconds of pause after a player could not be queued.
RETRY_S: Final = 5.0


class State(Enum):
    WAITING = auto()
    #: It plays, or has played.
    BEGUN = auto()
    #: The player before it did not end whole.
    SHUT = auto()


@dataclass(slots=True)
class Queued:
    """A player that waits, or has begun since the last beat. `start`: on the feed's clock."""

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
        # Nobody has the status of an adopted one.
        code = self.role.process.code()
        shut = not self.role.has_moved if code is None else code == commands.GATE_SHUT_STATUS
        return State.SHUT if shut else State.BEGUN


@dataclass(frozen=True, slots=True)
class Moment:
    """A beat: where the hub is (`clock`), and when a point of the feed is on air (`at`)."""

    now: float
    clock: HubClock
    at: Callable[[Fraction], datetime]
    #: Seconds that may be buffered when a player begins.
    lead: float

    def begin(self, head: Fraction) -> int:
        """Second of the uptime at which a player may begin whose place is at `head`."""
        return floor(launcher.uptime() + self.clock.moment(head) - self.now - self.lead)


class Queue:
    """Players behind the present one, in their order. Nothing here waits."""

    def __init__(self, starter: Launcher, choice: Choice) -> None:
        self.launcher = starter
        self.choice = choice
        self.waiting: list[Queued] = []
        #: The programme, and why the storage was away, when they were last held against these.
        self.programme: Programme | None = None
        self._fault: str | None = None
        #: Those that were revoked and are not gone yet.
        self._revoked: list[MonitoredProcess] = []
        self._checked = self._not_before = 0.0

    def roles(self) -> list[MonitoredProcess]:
        """What has a process."""
        return [*(queued.role for queued in self.waiting), *self._revoked]

    def take(self, now: float) -> Queued:
        """The first of them, which is the player from now on."""
        first = self.waiting.pop(0)
        self.launcher.promote(first.role.process)
        first.role.since = now
        return first

    def revoke(self, number: int = 0) -> None:
        """End those from the given one on. The last one first: none finds its gate open."""
        for queued in reversed(self.waiting[number:]):
            self.end(queued.role)
        del self.waiting[number:]

    def end(self, role: MonitoredProcess) -> None:
        role.process.signal(signal.SIGKILL)
        self._revoked.append(role)

    def cleared(self) -> bool:
        """Whether all that were revoked are gone."""
        for role in list(self._revoked):
            if role.process.exited():
                self.launcher.forget(role.process.record)
                role.close()
                self._revoked.remove(role)
        return not self._revoked

    # ---- what waits

    def keep(
        self,
        plan: ChannelPlan,
        player: MonitoredProcess | None,
        slot: Slot | None,
        cursors: Cursors,
        moment: Moment,
    ) -> None:
        """Bring in line what waits behind the present player, whose turn is in `slot`.

        `player`: None where it is gone, and the first waits for its time alone. `cursors`:
        where the lists stand with the present turn.
        """
        if not self.cleared():
            return
        fault = self.choice.sources.fault()
        changed = plan.programme is not self.programme or fault != self._fault
        if changed or moment.now - self._checked >= RECHECK_S:
            self.programme, self._fault, self._checked = plan.programme, fault, moment.now
            self._check(plan, cursors, moment)
        # All at once: a quiet item may be fed whole before the next beat, and behind a player
        # that is gone none can wait.
        while moment.now >= self._not_before and self._wanting(plan):
            if not self._add(plan, player, slot, moment):
                return

    def _check(self, plan: ChannelPlan, cursors: Cursors, moment: Moment) -> None:
        for number, queued in enumerate(self.waiting):
            expected = self.choice.ahead(plan, moment.at(queued.start), cursors)
            stale = not queued.local and moment.now - queued.since > MAX_AGE_S
            same = expected == queued.turn and expected.cursors == queued.turn.cursors
            if stale or not same:
                self.revoke(number)
                return
            cursors = queued.turn.cursors

    def _wanting(self, plan: ChannelPlan) -> bool:
        """Whether one more is to be queued."""
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
        """Queue one more. False: none can be, or is to be, now."""
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
            # It is late already: what follows has its place where the hub is.
            return False
        following = self.choice.ahead(plan, moment.at(head), turn.cursors)
        if following is None:
            return False
        # Its first timestamps lie before its start where it has B-frames.
        begins = head + following.item.reorder
        try:
            started = self.launcher.behind(
                player.process, following, begins, plan.house_format, moment.begin(head)
            )
        except (SourceError, process.SpawnError, OSError, LookupError) as error:
            # It is tried again when its turn has come, and told of then.
            self._not_before = moment.now + RETRY_S
            log.log(
                logging.DEBUG, "player.not_queued", item=following.item.title, why=str(error)
            )
            return False
        self.waiting.append(
            Queued(MonitoredProcess(started, moment.now), following, begins, moment.now)
        )
        return True
