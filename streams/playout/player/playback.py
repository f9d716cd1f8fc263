"""Plays a channel's items into the feed, one player after another."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import structlog

from streams.playout.contract.moment import Now
from streams.playout.contract.plan import ChannelPlan, Policy, SourceError, Sources, Tools
from streams.playout.contract.turn import TAKEOVER, Turn
from streams.playout.ffmpeg import diagnosis, process
from streams.playout.ffmpeg.monitored_process import MonitoredProcess
from streams.playout.ffmpeg.pipe import FeedPipe
from streams.playout.journal.journal import Relay
from streams.playout.player import ending, splice
from streams.playout.player.ending import WHOLE, Cut
from streams.playout.player.launcher import Launcher
from streams.playout.player.missed import Missed
from streams.playout.player.player_record import turn_of
from streams.playout.player.queued import Moment, Queue, State
from streams.playout.player.selection import Selector, Trouble
from streams.playout.player.supply import Supply
from streams.playout.player.timeline import START, HubClock, Timeline, on_frame
from streams.playout.takeover.controller import Substitution, matches
from streams.programme import schedule
from streams.programme.item import Item, Kind
from streams.programme.model import Cursors, Programme

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds for a player to end when the channel stops: it has nothing to finish.
STOP_GRACE_S: Final = 1.0
#: Seconds to wait if not even the slate plays, so that FFmpeg is not started in a loop.
RETRY_PAUSE_S: Final = 1.0
#: Seconds in the pipe below which there is no time to try another item.
HURRIED_BELOW_S: Final = 1.5

#: Seconds for which the feed may have been empty while the next item still joins on: the hub
#: sends it faster until it has caught up, well within its window. After a longer gap the next
#: item starts at the hub's clock.
MAX_DRY_S: Final = 7.0

#: Seconds between two checks of the present turn against the programme.
PROGRAMME_CHECK_INTERVAL_S: Final = 1.0
#: Minimum seconds of a stand-in, to prevent flapping.
MIN_STAND_IN_S: Final = 10
#: Seconds by which a turn may end late: clocks and the cut grid differ.
OVERRUN_TOLERANCE_S: Final = 2


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
        trouble: Trouble,
        relay: Relay,
    ) -> None:
        self.policy = policy
        self.feed = feed
        self.sources = sources
        self.selector = Selector(sources, trouble)
        self.launcher = Launcher(tools, folder, feed, sources)
        self.queue = Queue(self.launcher, self.selector)
        self.supply = Supply(feed, policy)
        self.relay = relay
        self.timeline = Timeline()
        self.player: MonitoredProcess | None = None
        self._cut: Cut | None = None
        #: Nothing is started before this moment, because not even the slate could be played.
        self._not_before = 0.0
        #: The programme against which the present turn was last checked.
        self._programme: Programme | None = None
        #: Cursors of the lists before the present turn was selected.
        self._before: Cursors = {}
        #: Position on the feed at which the present turn must end, if the programme has
        #: changed.
        self._must_end: Fraction | None = None
        self._checked_at = 0.0
        #: The turn that replaces the programme; None: the programme plays.
        self._substitution: Substitution | None = None
        #: The pipe that the present player reads, if any.
        self.source: FeedPipe | None = None
        #: Last observed end of the live feed that is playing.
        self._seen: splice.ObservedEnd | None = None
        #: Turns and positions of an earlier supervisor's players that ended unobserved.
        self._missed = Missed()

    # ---- queries of the page

    def upcoming(self, plan: ChannelPlan, clock: HubClock | None, now: Now) -> Item | None:
        """The item that will be on air after the present one."""
        on_air = self.timeline.on_air
        for slot in self.timeline.slots:
            if on_air is not None and slot.start > on_air.start:
                return slot.item
        until = None if on_air is None else self.timeline.until(on_air)
        return self.selector.upcoming(plan, when(self.wall(until, clock, now)))

    def wall(self, at: Fraction | None, clock: HubClock | None, now: Now) -> float:
        """When that position is on air, in seconds since the epoch; now, if unknown."""
        if at is not None and self.policy.began is not None:
            return self.policy.began + float(at - START)
        return now.wall if at is None or clock is None else now.at(clock.moment(at))

    def buffered(self, clock: HubClock | None, now: float) -> float | None:
        """Seconds between the sent and the fed position; None while the hub has no clock."""
        return None if clock is None else float(self.timeline.head - clock.position(now))

    @property
    def turn(self) -> Turn | None:
        """The turn that the present player plays; None: there is no player."""
        return None if self.player is None else self.timeline.slots[-1].turn

    @property
    def busy(self) -> bool:
        """Whether a quick poll is needed: a player ends, or the pipe is not full."""
        ended = self.player is not None and self.player.process.exited()
        return ended or self._cut is not None or self.supply.in_doubt

    # ---- adoption

    def adopt(self, role: MonitoredProcess) -> None:
        """Adopt a player that an earlier supervisor started.

        Raises `KeyError`, `TypeError` or `ValueError` if the record is another version's.
        """
        notes = role.process.record.notes
        turn, head = turn_of(notes), Fraction(notes["offset"])
        self.timeline = Timeline(head=head).begin(turn)
        self.player = role
        self.selector.cursors = turn.cursors
        # It has long started up, so low water counts at once.
        self.supply.filled = True

    def missed(self, notes: dict[str, Any]) -> None:
        """Record that an earlier supervisor's player ended unobserved; continue after it."""
        if (slot := self._missed.add(notes)) is not None:
            self.selector.cursors = slot.turn.cursors

    def adopt_next(self, role: MonitoredProcess, now: float) -> None:
        """Adopt the player queued behind the missed ones, which are therefore whole.

        Raises `KeyError`, `TypeError` or `ValueError` if the record is another version's.
        """
        self.launcher.promote(role.process)
        self.adopt(role)
        slots = (*self._missed.whole(), *self.timeline.slots)
        self.timeline = replace(self.timeline, slots=slots)
        role.since = now

    def resume(self, head: Fraction) -> None:
        """Continue where the feed ends: an earlier supervisor's player has ended."""
        self.timeline = Timeline(head=head)

    def judge_missed(self, plan: ChannelPlan, at: float) -> Cut:
        """Judge how the missed turn ended; its list resumes it if it was cut short.

        `at`: when the feed ends.
        """
        head = self.timeline.head
        *whole, last = self._missed.played(head) or (None,)
        if last is None:
            return WHOLE
        self.selector.cursors = last.turn.cursors
        cut = ending.unseen(last.turn, head - last.start, plan.house_format)
        if cut.resumes:
            self.selector.interrupted(last.turn, head - last.start, when(at))
        if not whole:
            return cut
        last = replace(last, ending=cut.ending, cause=cut.cause, end=head)
        self.timeline = replace(self.timeline, slots=(*filter(None, whole), last))
        return WHOLE

    # ---- the loop

    def beat(self, plan: ChannelPlan, clock: HubClock | None, now: Now) -> None:
        if self.player is not None:
            self.player.read(now.mono)
            if self.player.process.exited():
                self._follow(plan, self.player, clock, now)
                if self.player is not None:
                    self._queue(plan, self.player, clock, now)
            else:
                slot = self.timeline.slots[-1]
                if slot.item.kind is Kind.LIVE:
                    observed = splice.observe_end(
                        self.feed, slot, self.player, plan.house_format
                    )
                    self._seen = observed or self._seen
                self._check_programme(plan, clock, now)
                self._check_supply(plan, self.player, clock, now.mono)
                self._queue(plan, self.player, clock, now)
        if self.player is None and self.queue.waiting:
            self._between(plan, clock, now)
        if self.player is None and self._may_begin(clock, now.mono):
            self._begin(plan, clock, now)
            # In this beat, because an item of low bit rate is fed completely before the next
            # one.
            self._queue(plan, self.player, clock, now)

    def _between(self, plan: ChannelPlan, clock: HubClock | None, now: Now) -> None:
        """The player had ended before it was adopted, and the next one waits for its time."""
        match self.queue.waiting[0].state(now.mono):
            case State.BEGUN:
                self._start_queued(plan, now.mono)
            case State.WAITING if self._may_wait(clock, now.mono):
                self._queue(plan, None, clock, now)
            case _:
                self.queue.revoke()

    def _follow(
        self, plan: ChannelPlan, player: MonitoredProcess, clock: HubClock | None, now: Now
    ) -> None:
        """The player has ended: hand over to the queued one, or judge the ending."""
        if self.queue.waiting:
            match self.queue.waiting[0].state(now.mono):
                case State.BEGUN:
                    self._hand_over(plan, player, now.mono)
                    return
                case State.WAITING if self._may_wait(clock, now.mono):
                    return
                case _:
                    self.queue.revoke()
        self._ended(plan, player, clock, now)

    def _may_wait(self, clock: HubClock | None, now: float) -> bool:
        """Whether enough air is buffered to wait for a player that is about to start."""
        if clock is None:
            return False
        return self.queue.waiting[0].start - clock.position(now) > HURRIED_BELOW_S / 2

    def _hand_over(self, plan: ChannelPlan, player: MonitoredProcess, now: float) -> None:
        """The player has ended whole, because the one queued behind it has started."""
        self.relay(player)
        # Must happen before the next player takes its name.
        self._release(player)
        slot = self.timeline.slots[-1]
        head = slot.start + (slot.turn.length(plan.house_format) or Fraction(0))
        cut = ending.as_planned(slot.turn, head - slot.start, plan.house_format)
        self.selector.played(slot.turn)
        self._before = self.selector.cursors
        self.timeline = self.timeline.end(head, cut.ending, cut.cause)
        self._start_queued(plan, now)

    def _start_queued(self, plan: ChannelPlan, now: float) -> None:
        """Make the first queued player the present one."""
        queued = self.queue.take(now)
        head = self.timeline.head
        self._cut = None
        self.player = queued.role
        self.selector.started(plan, queued.turn)
        # Checked against the programme of the queue's last check.
        self._programme, self._must_end = self.queue.programme, None
        self.timeline = self.timeline.begin(queued.turn, queued.start - head)
        self.supply.begin()

    def _queue(
        self,
        plan: ChannelPlan,
        player: MonitoredProcess | None,
        clock: HubClock | None,
        now: Now,
    ) -> None:
        """Queue the next items behind the present one, if that may play to its end."""
        slot = None if player is None else self.timeline.slots[-1]
        if (
            self._cut is not None
            or self._must_end is not None
            or self._substitution is not None
        ):
            self.queue.revoke()
        elif self.policy.paced and clock is not None and not (slot and slot.turn.stands_in):

            def at(head: Fraction) -> datetime:
                return when(self.wall(head, clock, now))

            moment = Moment(now.mono, clock, at, self.policy.lead)
            cursors = self.selector.cursors if slot is None else slot.turn.cursors
            self.queue.keep(plan, player, slot, cursors, moment)

    def _release(self, player: MonitoredProcess) -> None:
        """Release a player that has ended."""
        self.launcher.forget(player.process.record)
        player.close()

    def show(self, substitution: Substitution | None, why: str, now: float) -> None:
        """Play `instead` in place of the programme; None: play the programme."""
        self._substitution = substitution
        if self.player is None and substitution is not None:
            self.queue.revoke()
        if self.player is None or self._cut is not None:
            return
        if matches(self.timeline.slots[-1].turn, substitution):
            if substitution is not None:
                # An earlier supervisor may have started it.
                self.source = substitution.pipe
        else:
            live = substitution is not None and substitution.pipe is not None
            self._end_turn(self.player, Cut("cut", why, resumes=True, sharp=live), now)

    def cut(self, now: float, ending: str, cause: str, *, resumes: bool = False) -> None:
        """End the present item early; the next beat starts another.

        `resumes`: its list may resume it by the return rule.
        """
        if self.player is not None:
            self._end_turn(self.player, self._cut or Cut(ending, cause, resumes), now)

    def _end_turn(self, player: MonitoredProcess, cut: Cut, now: float) -> None:
        # Must come first: queued players must not mistake the end for a whole one.
        self.queue.revoke()
        self._cut = cut
        if cut.sharp or self.timeline.slots[-1].item.kind is Kind.LIVE:
            # A relay that is asked to end waits for its input and discards what it was about to
            # write, so that a piece in the middle would be missing. Killed, it ends where it
            # is.
            player.kill(now)
            self.supply.drained()
        else:
            player.halt(now, self.policy.grace)

    def stop(self, now: float) -> bool:
        """End the player. True once there is none."""
        self.queue.revoke()
        if self.player is not None:
            self.player.halt(now, STOP_GRACE_S)
            if self.player.process.exited():
                self._release(self.player)
                self.player = self.source = None
        return self.queue.reap() and self.player is None

    def _may_begin(self, clock: HubClock | None, now: float) -> bool:
        return not self.queue.waiting and self.queue.reap() and self._due(clock, now)

    def _due(self, clock: HubClock | None, now: float) -> bool:
        if now < self._not_before:
            return False
        if not self.policy.paced:
            return True
        buffered = self.buffered(clock, now)
        # An item that is short or of low bit rate would otherwise let minutes pile up in the
        # pipe.
        return buffered is None or buffered <= self.policy.lead

    def _check_programme(self, plan: ChannelPlan, clock: HubClock | None, now: Now) -> None:
        """End a turn that exceeds the airtime that the present programme gives it."""
        if (
            clock is None
            or not self.policy.paced
            or now.mono - self._checked_at < PROGRAMME_CHECK_INTERVAL_S
        ):
            return
        self._checked_at = now.mono
        slot, position = self.timeline.slots[-1], clock.position(now.mono)
        if slot.turn.rule == TAKEOVER:
            return
        if slot.turn.stands_in and position - slot.start > MIN_STAND_IN_S:
            if slot.item.kind is Kind.FILLER and self.selector.is_available_again(
                plan, when(now.wall)
            ):
                self.cut(now.mono, "cut", "Back to the programme.")
            return
        if plan.programme is not self._programme:
            self._programme, self._must_end = plan.programme, None
            begins = max(position, slot.start)
            room = schedule.room(plan.programme, when(self.wall(begins, clock, now)))
            until = self.timeline.until(slot)
            if room is not None and (
                until is None or begins + room < until - OVERRUN_TOLERANCE_S
            ):
                self._must_end = begins + room
        # Data in the pipe can't be stopped any more.
        if self._must_end is not None and position + round(self.policy.lead) >= self._must_end:
            self._must_end = None
            self.cut(now.mono, "cut", "The programme was changed.", resumes=True)

    def _check_supply(
        self, plan: ChannelPlan, player: MonitoredProcess, clock: HubClock | None, now: float
    ) -> None:
        """Replace a player that delivers too little before the pipe is empty."""
        if self._cut is not None:
            player.halt(now, self.policy.grace)
            return
        slot = self.timeline.slots[-1]
        stalled = self.supply.stalled(slot, player, clock, plan.house_format, now)
        if stalled is None and player.has_moved:
            self.selector.played(slot.turn)
        item = slot.item
        # A live feed is measured at its conformer.
        if not stalled or not self.policy.paced or item.kind is Kind.LIVE:
            return
        self.queue.revoke()
        self.supply.drained()
        # The stall says nothing about a file on this machine's disk.
        self.sources.report_failure(item, local=False)
        # There is no time for another stalled source: the next item must be local.
        fault = f"{item.title} was cut: its source delivers no data."
        self.selector.failed(fault, slot.turn, stalled=True)
        self._cut = Cut("failed", "The source stalled.")
        # It may wait for the network without handling signals: there is no time for grace.
        player.kill(now)

    def _ended(
        self, plan: ChannelPlan, player: MonitoredProcess, clock: HubClock | None, now: Now
    ) -> None:
        cut, self.player, self._cut, self.source = self._cut, None, None, None
        self.relay(player)
        slot = self.timeline.slots[-1]
        sharp = cut is not None and cut.sharp
        sent = None if clock is None else clock.position(now.mono)
        head = splice.end_of(
            *(self.feed, slot, player, plan.house_format),
            sharp=sharp,
            sent=sent,
            tail=self.supply.tail,
            seen=self._seen,
        )
        self._seen = None
        if sharp:
            # The next item may have been started already.
            self.timeline = self.timeline.back_to(head)
            slot = self.timeline.slots[-1]
        turn, code = slot.turn, player.process.code()
        played, at = head - slot.start, when(self.wall(head, clock, now))
        if cut is None and turn.item.kind is Kind.LIVE:
            cut = Cut("failed", "Its relay ended and is restarted.")
        elif cut is None and (fault := ending.fault(player, turn, played, plan.house_format)):
            cut = Cut("failed", fault)
            if code in diagnosis.NOT_RUN:
                self.selector.start_failed(fault, self._before)
            else:
                self.selector.failed(fault, turn)
                self._distrust(player, turn.item)
            if code in diagnosis.NOT_RUN or (played <= 0 and turn.item.kind is Kind.SLATE):
                self._not_before = now.mono + RETRY_PAUSE_S
        if cut is None:
            self.selector.played(turn)
            cut = ending.as_planned(turn, played, plan.house_format)
        elif turn.rule == TAKEOVER:
            # No list needs to resume it: the cursors stay unchanged.
            self.selector.cursors = turn.cursors
        elif cut.ending == "failed":
            self.selector.broke_off(turn, played, at)
        elif cut.resumes:
            self.selector.interrupted(turn, played, at)
        else:
            self.selector.skipped(turn)
        self.timeline = self.timeline.end(head, cut.ending, cut.cause)
        self._release(player)
        splice.align(self.feed)

    def _distrust(self, player: MonitoredProcess, item: Item) -> None:
        """Report the item as faulty if FFmpeg itself says so; a signal proves nothing."""
        code = player.process.code()
        if code is not None and code >= 0:
            # Its location now proves nothing: it may have been downloaded while it played.
            local = bool(player.process.record.notes.get("local"))
            self.sources.report_failure(item, local=local and diagnosis.damaged(player.lines))

    def _begin(self, plan: ChannelPlan, clock: HubClock | None, now: Now) -> None:
        buffered = self.buffered(clock, now.mono)
        if clock is not None and self.policy.paced:
            starved = float(clock.position(now.mono) - self.timeline.head)
            if starved > MAX_DRY_S:
                # The hub keeps wall-clock time: it would send the backlog too fast.
                self.timeline = self.timeline.jump(
                    on_frame(clock.position(now.mono), plan.house_format.frame)
                )
        at = when(self.wall(self.timeline.head, clock, now))
        hurried = buffered is not None and buffered < HURRIED_BELOW_S
        self._before = self.selector.cursors
        turn = self._next(plan, at, hurried=hurried)
        item, self._programme, self._must_end = turn.item, plan.programme, None
        room = self.timeline.room_for(item)
        start = self.timeline.head + room
        try:
            started = self._started(plan, turn, start)
        except SourceError as error:
            self.selector.failed(f"{item.title} was skipped: {error}", turn)
            return
        except (process.SpawnError, OSError) as error:
            # Not the item's fault: otherwise an outage would skip through the whole programme.
            self.selector.start_failed(f"Nothing can be played: {error}", self._before)
            self._not_before = now.mono + RETRY_PAUSE_S
            return
        self.player = MonitoredProcess(started, now.mono)
        self.supply.begin()
        self.timeline = self.timeline.begin(turn, room)
        log.log(logging.DEBUG, "player.started", item=item.title, at=float(start))

    def _next(self, plan: ChannelPlan, at: datetime, *, hurried: bool) -> Turn:
        slots = self.timeline.slots
        if self._substitution is not None:
            # The cursors stay unchanged.
            return replace(self._substitution.turn, cursors=self.selector.cursors)
        turn = self.selector.next(plan, at, hurried=hurried)
        back = bool(slots) and slots[-1].turn.rule == TAKEOVER
        return replace(turn, fade=True) if back and turn.item.kind is Kind.ITEM else turn

    def _started(self, plan: ChannelPlan, turn: Turn, start: Fraction) -> process.Process:
        """Start a player of that turn, or a relay.

        Raises `SourceError`, `SpawnError` or `OSError`.
        """
        self.source = None if self._substitution is None else self._substitution.pipe
        if self.source is not None:
            return self.launcher.relay(turn, start, plan.house_format, self.source)
        return self.launcher.player(turn, start, plan.house_format)


def when(wall: float) -> datetime:
    return datetime.fromtimestamp(wall, tz=UTC)
