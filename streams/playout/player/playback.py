"""Plays a channel's items into the feed: carries out what `machine.step` decides."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, assert_never

import structlog

from streams.playout.contract.plan import Policy, SourceError, Sources, Tools
from streams.playout.ffmpeg import process
from streams.playout.ffmpeg.monitored_process import MonitoredProcess
from streams.playout.ffmpeg.pipe import FeedPipe
from streams.playout.journal.journal import Relay
from streams.playout.player import events, machine, player_record, splice
from streams.playout.player.events import Event
from streams.playout.player.launcher import Launcher
from streams.playout.player.machine import Moment, State
from streams.playout.player.queued import Phase, Queue
from streams.playout.player.supply import Supply
from streams.playout.player.timeline import Slot
from streams.playout.takeover.controller import Substitution, matches
from streams.programme.item import Kind

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds for a player to end when the channel stops: it has nothing to finish.
STOP_GRACE_S: Final = 1.0
#: Changes that are reported to the channel.
Report = Callable[[events.Trouble | events.OnAir | events.Refuse], None]


class Playback:
    """Keeps the feed filled. `beat` is called several times a second."""

    def __init__(
        self,
        tools: Tools,
        policy: Policy,
        folder: Path,
        feed: FeedPipe,
        *,
        sources: Sources,
        report: Report,
        relay: Relay,
    ) -> None:
        self.policy = policy
        self.feed = feed
        self.sources = sources
        self.launcher = Launcher(tools, folder, feed, sources)
        self.queue = Queue(self.launcher)
        self.supply = Supply(feed, policy)
        self.report = report
        self.relay = relay
        self.state = State()
        self.player: MonitoredProcess | None = None
        #: The pipe that the present player reads, if any.
        self.source: FeedPipe | None = None
        #: Last observed end of the live feed that is playing.
        self._seen: splice.ObservedEnd | None = None

    @property
    def busy(self) -> bool:
        """Whether a quick poll is needed: a player ends, or the pipe is not full."""
        ended = self.player is not None and self.player.process.exited()
        return ended or self.state.cut is not None or self.supply.in_doubt

    def step(self, event: Event, moment: Moment) -> None:
        """Report an event to the machine, and carry out its decision."""
        self.state, actions = machine.step(self.state, event, moment)
        for action in actions:
            match action:
                case events.StartItem(slot):
                    self._start(slot, moment)
                case events.CutItem(kill):
                    self._cut(moment.now.mono, kill=kill)
                case events.ReportFailure(item, local):
                    self.sources.report_failure(item, local=local)
                case events.Trouble() | events.OnAir() | events.Refuse():
                    self.report(action)
                case _:
                    assert_never(action)

    # ---- adoption

    def adopt(
        self, role: MonitoredProcess, moment: Moment, missed: tuple[Slot, ...] = ()
    ) -> None:
        """Adopt a player that an earlier supervisor started.

        `missed`: the turns before it that ended unobserved, and were therefore whole. Raises
        `KeyError`, `TypeError` or `ValueError` if the record is another version's.
        """
        slot = player_record.decode(role.process.record.notes)
        if role.process.record.name != process.PLAYER:
            self.launcher.promote(role.process)
            role.since = moment.now.mono
        self.step(events.Resumed(slot.start, missed, slot.turn), moment)
        self.player = role
        # It has long started up, so low water counts at once.
        self.supply.filled = True

    # ---- the loop

    def beat(self, moment: Moment) -> None:
        player, now = self.player, moment.now.mono
        if player is not None:
            player.read(now)
        if player is None or player.process.exited():
            if not self._follow(moment) and player is not None:
                self._ended(player, moment)
        elif self.state.cut is not None:
            player.halt(now, self.policy.grace)
        else:
            self._poll(player, moment)
        if self.player is None and not self.queue.waiting and self.queue.reap():
            self.step(events.BufferLow(), moment)
        # In this beat, because an item of low bit rate is fed completely before the next one.
        self._queue(moment)

    def _poll(self, player: MonitoredProcess, moment: Moment) -> None:
        slot, house_format = self.state.timeline.slots[-1], moment.plan.house_format
        if slot.item.kind is Kind.LIVE:
            observed = splice.observe_end(self.feed, slot, player, house_format)
            self._seen = observed or self._seen
        stalled = self.supply.stalled(slot, player, moment.clock, house_format, moment.now.mono)
        self.step(events.Polled(stalled, player.has_moved), moment)

    def _follow(self, moment: Moment) -> bool:
        """Let a queued player follow. True: it has started, or is about to."""
        if not self.queue.waiting:
            return False
        match self.queue.waiting[0].phase(moment.now.mono):
            case Phase.BEGUN:
                if self.player is not None:
                    # Must happen before the next player takes its name.
                    self._release(self.player)
                    self.player = None
                queued = self.queue.take(moment.now.mono)
                self.player = queued.role
                self.supply.begin()
                event = events.Followed(queued.slot, self.queue.programme)
                self.step(event, moment)
                return True
            case Phase.WAITING if self.queue.may_wait(moment):
                return True
            case _:
                self.queue.revoke()
                return False

    def _queue(self, moment: Moment) -> None:
        """Queue the next items behind the present one, if that may play to its end."""
        state = self.state
        slot = state.timeline.slots[-1] if self.player is not None else None
        if not state.may_queue:
            self.queue.revoke()
        elif self.policy.paced and moment.clock and not (slot and slot.turn.stands_in):
            self.queue.keep(self.player, slot, state.selection, moment)

    def _release(self, player: MonitoredProcess) -> None:
        """Release a player that has ended."""
        self.relay(player)
        self.launcher.forget(player.process.record)
        player.close()

    def show(self, substitution: Substitution | None, why: str, moment: Moment) -> None:
        """Play `substitution` in place of the programme; None: play the programme."""
        self.step(events.TakeoverChanged(substitution, why), moment)
        turn = self.state.turn
        if substitution and turn and not self.state.cut and matches(turn, substitution):
            # An earlier supervisor may have started it.
            self.source = substitution.pipe

    def _cut(self, now: float, *, kill: bool) -> None:
        # Must come first: queued players must not mistake the end for a whole one.
        self.queue.revoke()
        if self.player is None:
            return
        if kill:
            self.player.kill(now)
            self.supply.drained()
        else:
            self.player.halt(now, self.policy.grace)

    def stop(self, now: float) -> bool:
        """End the player. True once there is none."""
        self.queue.revoke()
        if self.player is not None:
            self.player.halt(now, STOP_GRACE_S)
            if self.player.process.exited():
                self._release(self.player)
                self.player = self.source = None
        return self.queue.reap() and self.player is None

    def _ended(self, player: MonitoredProcess, moment: Moment) -> None:
        cut, slot = self.state.cut, self.state.timeline.slots[-1]
        self.player = self.source = None
        self._release(player)
        head = splice.end_of(
            *(self.feed, slot, player, moment.plan.house_format),
            sharp=cut is not None and cut.sharp,
            sent=None if moment.clock is None else moment.clock.position(moment.now.mono),
            tail=self.supply.tail,
            seen=self._seen,
        )
        self._seen = None
        local = bool(player.process.record.notes.get("local"))
        event = events.Exited(head, player.process.code(), tuple(player.lines), local)
        self.step(event, moment)
        splice.align(self.feed)

    def _start(self, slot: Slot, moment: Moment) -> None:
        house_format, substitution = moment.plan.house_format, self.state.substitution
        self.source = None if substitution is None else substitution.pipe
        try:
            if self.source is not None:
                started = self.launcher.relay(slot, house_format, self.source)
            else:
                started = self.launcher.player(slot, house_format)
        except SourceError as error:
            self.step(events.StartFailed(str(error), item=True), moment)
            return
        except (process.SpawnError, OSError) as error:
            # Not the item's fault: otherwise an outage would skip through the whole programme.
            self.step(events.StartFailed(str(error), item=False), moment)
            return
        self.player = MonitoredProcess(started, moment.now.mono)
        self.supply.begin()
        log.log(logging.DEBUG, "player.started", item=slot.item.title, at=float(slot.start))
