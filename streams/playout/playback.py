"""The playing side of a channel: one player after the other into the feed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import structlog

from media_library.house import AAC_FRAME, SAMPLE_RATE
from streams.playout import commands, diagnosis, mpegts, process
from streams.playout.choice import Choice, Trouble
from streams.playout.feed import Feed
from streams.playout.item import Item, Kind, Turn
from streams.playout.notes import notes_of, turn_of
from streams.playout.plan import ChannelPlan, Policy, SourceError, Sources, Tools
from streams.playout.report import Now
from streams.playout.role import Role
from streams.playout.timeline import START, HubClock, Timeline, on_frame
from streams.programme import schedule
from streams.programme.values import Programme

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

AUDIO_FRAME: Final = Fraction(AAC_FRAME, SAMPLE_RATE)
#: Seconds a player has to end when the channel stops: it has nothing to finish.
STOP_GRACE: Final = 1.0
#: Seconds without a report after which a player no longer counts as advancing.
ADVANCING: Final = 1.5
#: Seconds to wait where not even the slate plays: else FFmpeg were started without a pause.
PAUSE: Final = 1.0
#: Seconds in the pipe below which there is no time to try another item.
NO_TIME: Final = 1.5

#: Seconds between two looks whether the programme has other plans by now.
LOOK: Final = 1.0
#: Seconds for which a stand-in plays at least: no flapping.
HOLD: Final = 10
#: Seconds by which a turn may end behind its time: clocks, and the grid.
TOLERANCE: Final = 2

#: Hands a process's last words to the log.
Relay = Callable[[Role], None]


@dataclass(frozen=True, slots=True)
class Cut:
    """How and why a turn ends, and whether its list may go on with the item."""

    ending: str
    cause: str
    resumes: bool = False


WHOLE: Final = Cut("whole", "")
BY_PLAN: Final = Cut("cut", "As the programme has it.")


class Playback:
    """Keeps the feed filled. `beat` is called several times a second."""

    def __init__(
        self,
        tools: Tools,
        policy: Policy,
        folder: Path,
        feed: Feed,
        *,
        sources: Sources,
        trouble: Trouble,
        relay: Relay,
    ) -> None:
        self.tools = tools
        self.policy = policy
        self.folder = folder
        self.feed = feed
        self.sources = sources
        self.choice = Choice(sources, trouble)
        self.relay = relay
        self.timeline = Timeline()
        self.player: Role | None = None
        self._cut: Cut | None = None
        self._filled = False
        #: Nothing is begun before: not even the slate could be played.
        self._not_before = 0.0
        #: The programme as it was when the present turn was last held against it.
        self._programme: Programme | None = None
        #: Where on the feed the present turn has to end, should the programme have changed.
        self._must_end: Fraction | None = None
        self._looked = 0.0
        #: What an earlier supervisor's player played, and from where, that ended unseen.
        self._missed: tuple[Turn, Fraction] | None = None

    # ---- what the page asks

    def coming(self, plan: ChannelPlan, clock: HubClock | None, now: Now) -> Item | None:
        """What will be on air after the item that is on air now."""
        on_air = self.timeline.on_air
        for slot in self.timeline.slots:
            if on_air is not None and slot.start > on_air.start:
                return slot.item
        until = None if on_air is None else self.timeline.until(on_air)
        return self.choice.coming(plan, when(self.wall(until, clock, now)))

    def wall(self, at: Fraction | None, clock: HubClock | None, now: Now) -> float:
        """When that point of the feed is on air; now, where nobody knows. Since the epoch."""
        if at is not None and self.policy.began is not None:
            return self.policy.began + float(at - START)
        return now.wall if at is None or clock is None else now.at(clock.moment(at))

    def buffered(self, clock: HubClock | None, now: float) -> float | None:
        """Seconds between what is sent and what was fed; None while the hub has no clock."""
        return None if clock is None else float(self.timeline.head - clock.position(now))

    @property
    def cutting(self) -> bool:
        """Whether a player has been asked to end, and has not yet."""
        return self._cut is not None

    # ---- adoption

    def adopt(self, role: Role) -> None:
        """Take over a player that an earlier supervisor started.

        Raises `KeyError`, `TypeError` or `ValueError` where the record is another's.
        """
        notes = role.process.record.notes
        turn, head = turn_of(notes), Fraction(notes["offset"])
        self.timeline = Timeline(head=head).begin(turn)
        self.player = role
        self.choice.cursors = turn.cursors
        # Its start-up is long over: low water counts at once.
        self._filled = True

    def missed(self, notes: dict[str, Any]) -> None:
        """An earlier supervisor's player has ended unseen: what follows it is next."""
        with suppress(KeyError, TypeError, ValueError):
            turn, offset = turn_of(notes), Fraction(notes["offset"])
            self._missed = turn, offset
            self.choice.cursors = turn.cursors

    def resume(self, head: Fraction) -> None:
        """Go on where the feed ends: an earlier supervisor's player is gone."""
        self.timeline = Timeline(head=head)

    def fate(self, plan: ChannelPlan, at: float) -> Cut:
        """How it ended that was missed; where it had more to give, its list goes on with it.

        `at`: when the feed ends.
        """
        missed, self._missed = self._missed, None
        if missed is None:
            return WHOLE
        turn, offset = missed
        played, length = self.timeline.head - offset, turn.length(plan.house)
        if length is not None and played < length - 1:
            self.choice.cut_off(turn, played, when(at))
            return Cut("cut", "Its player ended while nobody supervised.")
        return BY_PLAN if turn.was_cut(played, plan.house.frame) else WHOLE

    # ---- the loop

    def beat(self, plan: ChannelPlan, clock: HubClock | None, now: Now) -> None:
        if self.player is not None:
            self.player.read(now.mono)
            if self.player.process.exited():
                self._ended(plan, self.player, clock, now)
            else:
                self._hold_to(plan, clock, now)
                self._watch(plan, self.player, clock, now.mono)
        if self.player is None and self._due(clock, now.mono):
            self._begin(plan, clock, now)

    def cut(self, now: float, ending: str, cause: str, *, resumes: bool = False) -> None:
        """End the present item early; the next beat begins another.

        `resumes`: by the rule of return its list may go on with it.
        """
        if self.player is None:
            return
        if self._cut is None:
            self._cut = Cut(ending, cause, resumes)
        self.player.halt(now, self.policy.grace)

    def stop(self, now: float) -> bool:
        """End the player. True when there is none."""
        if self.player is None:
            return True
        self.player.halt(now, STOP_GRACE)
        if self.player.process.exited():
            process.forget(self.folder, self.player.name)
            self.player.close()
            self.player = None
        return self.player is None

    def _due(self, clock: HubClock | None, now: float) -> bool:
        if now < self._not_before:
            return False
        if not self.policy.paced:
            return True
        buffered = self.buffered(clock, now)
        # A short or quiet item would otherwise let minutes pile up in the pipe.
        return buffered is None or buffered <= self.policy.lead

    def _hold_to(self, plan: ChannelPlan, clock: HubClock | None, now: Now) -> None:
        """End a turn that the programme, as it is by now, would not let go on for so long."""
        if clock is None or not self.policy.paced or now.mono - self._looked < LOOK:
            return
        self._looked = now.mono
        slot, position = self.timeline.slots[-1], clock.position(now.mono)
        if slot.turn.stands_in and position - slot.start > HOLD:
            if slot.item.kind is Kind.FILLER and self.choice.well_again(plan, when(now.wall)):
                self.cut(now.mono, "cut", "Back to the programme.")
            return
        if plan.programme is not self._programme:
            self._programme, self._must_end = plan.programme, None
            begins = max(position, slot.start)
            room = schedule.room(plan.programme, when(self.wall(begins, clock, now)))
            until = self.timeline.until(slot)
            if room is not None and (until is None or begins + room < until - TOLERANCE):
                self._must_end = begins + room
        # What is in the pipe is on its way already.
        if self._must_end is not None and position + round(self.policy.lead) >= self._must_end:
            self._must_end = None
            self.cut(now.mono, "cut", "The programme was changed.", resumes=True)

    def _watch(
        self, plan: ChannelPlan, player: Role, clock: HubClock | None, now: float
    ) -> None:
        """A player that gives too little is replaced before the pipe is empty."""
        if self._cut is not None:
            player.halt(now, self.policy.grace)
            return
        low = int(self.policy.low_water * plan.house.bytes_per_second)
        level = self.feed.level()
        if level > low:
            self._filled = True
            if player.has_moved:
                self.choice.played(self.timeline.slots[-1].turn)
            return
        if not self.policy.paced:
            return
        waited = now - max(player.since, player.moved)
        # Where nothing was ever buffered, the source gets its time to start.
        patience = 0.5 if self._filled and clock is not None else self.policy.first_byte
        if waited < patience or self._moves(player, level, now):
            return
        item = self.timeline.slots[-1].item
        self._filled = False
        self.sources.distrust(item)
        # Another stalled source would be one too many: what is next must be at hand.
        fault = f"{item.title} was cut: its source gives nothing."
        self.choice.failed(fault, self.timeline.slots[-1].turn, stalled=True)
        self._cut = Cut("failed", "The source stalled.")
        # It may wait for the network without looking at signals: there is no time for grace.
        player.kill(now)

    def _moves(self, player: Role, level: int, now: float) -> bool:
        """Whether an item of few bytes simply plays on: little in the pipe, but it advances."""
        return level > 0 and now - player.moved < ADVANCING

    def _ended(self, plan: ChannelPlan, player: Role, clock: HubClock | None, now: Now) -> None:
        cut, self.player, self._cut = self._cut, None, None
        self.relay(player)
        slot = self.timeline.slots[-1]
        turn, code = slot.turn, player.process.code()
        head = self._head_after(plan, player, code)
        played, at = head - slot.start, when(self.wall(head, clock, now))
        if cut is None and (fault := self._fault(plan, player, turn, played)):
            cut = Cut("failed", fault)
            self.choice.failed(fault, turn)
            if code is not None and code > 0:
                # FFmpeg's own verdict, not somebody's signal.
                self.sources.distrust(turn.item)
            if played <= 0 and turn.item.kind is Kind.SLATE:
                self._not_before = now.mono + PAUSE
        if cut is None:
            self.choice.played(turn)
            cut = BY_PLAN if turn.was_cut(played, plan.house.frame) else WHOLE
        elif cut.ending == "failed":
            self.choice.broken_off(turn, played, at)
        elif cut.resumes:
            self.choice.cut_off(turn, played, at)
        else:
            self.choice.passed_over(turn)
        self.timeline = self.timeline.end(head, cut.ending, cut.cause)
        process.forget(self.folder, player.name)
        player.close()
        self._align()

    def _fault(self, plan: ChannelPlan, player: Role, turn: Turn, played: Fraction) -> str:
        """Why it ended badly; empty when it ended well."""
        code, length = player.process.code(), turn.length(plan.house)
        # Of an adopted one nobody has the status, but there may have been more to come.
        short = code is None and length is not None and played < length - 1
        if code not in {0, None} or short:
            return diagnosis.player(turn.item.title, code, list(player.lines), begun=played > 0)
        return "" if played > 0 else f"{turn.item.title} was skipped: there is nothing in it."

    def _head_after(self, plan: ChannelPlan, player: Role, code: int | None) -> Fraction:
        """Where the ended player's stream ends: looked up in the pipe, to the frame."""
        slot = self.timeline.slots[-1]
        length = slot.turn.length(plan.house)
        if code == 0 and length is not None and not player.halted:
            return slot.start + length
        near = slot.start + Fraction(player.progress.out_time_us or 0, 1_000_000)
        tail = mpegts.tail(self.feed.peek())
        cut = player.halted or code not in {0, None}
        found = mpegts.end(tail, near, plan.house.frame, AUDIO_FRAME, cut=cut)
        if found is not None and found > slot.start:
            return found
        if player.progress.out_time_us:
            # The pipe is empty: the hub has had everything.
            return on_frame(near, plan.house.frame) + plan.house.frame
        return slot.start

    def _room_for(self, item: Item) -> Fraction:
        """Seconds to leave for B-frames: an item's first timestamps lie before its start."""
        slots = self.timeline.slots
        taken = slots[-1].item.reorder if slots and slots[-1].ending == "whole" else Fraction(0)
        return max(Fraction(0), item.reorder - taken)

    def _align(self) -> None:
        """Fill up a packet that a killed player left unfinished, or the next one is misread."""
        missing = mpegts.tail(self.feed.peek()).missing
        if missing and not self.feed.write_now(b"\xff" * missing):
            log.warning("feed.misaligned", missing=missing)

    def _begin(self, plan: ChannelPlan, clock: HubClock | None, now: Now) -> None:
        buffered = self.buffered(clock, now.mono)
        if clock is not None and self.policy.paced:
            starved = float(clock.position(now.mono) - self.timeline.head)
            if starved > self.policy.lead:
                # The hub keeps wall-clock time: it would rush through the backlog.
                self.timeline = self.timeline.jump(
                    on_frame(clock.position(now.mono), plan.house.frame)
                )
        at = when(self.wall(self.timeline.head, clock, now))
        hurried = buffered is not None and buffered < NO_TIME
        turn = self.choice.next(plan, at, hurried=hurried)
        item, self._programme, self._must_end = turn.item, plan.programme, None
        room = self._room_for(item)
        start = self.timeline.head + room
        try:
            location = self.sources.locate(item)
            sock = process.progress_socket()
            started = process.spawn(
                self.tools,
                self.folder,
                process.PLAYER,
                commands.player(
                    self.tools.ffmpeg,
                    sock.getsockname()[1],
                    turn,
                    location,
                    plan.house,
                    start,
                ),
                sock=sock,
                stdout=self.feed.fd,
                notes=notes_of(turn, start),
            )
        except (SourceError, process.SpawnError, OSError) as error:
            self.choice.failed(f"{item.title} was skipped: {error}", turn)
            if item.kind is Kind.SLATE:
                self._not_before = now.mono + PAUSE
            return
        self.player = Role(started, now.mono)
        self.timeline = self.timeline.begin(turn, room)
        log.log(logging.DEBUG, "player.started", item=item.title, at=float(start))


def when(wall: float) -> datetime:
    return datetime.fromtimestamp(wall, tz=UTC)
