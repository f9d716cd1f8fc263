"""Decides what a channel's player does, as a pure step: values in, actions out.

    NOTHING ──BufferLow──▶ PLAYING ──Followed (queued behind it)──▶ PLAYING
       ▲ ▲                  │   │                                      │
       │ └─StartFailed──────┘   │ Polled: it stalls, or its airtime is over
       │                        │ SkipOrdered, TakeoverChanged,        │
       │                        │ OutOfStep                            │
       │                        ▼                                      │
       └────Exited───────── ENDING (CutItem) ◀─────────────────────────┘

PLAYING: the newest slot of the timeline has a player. ENDING: that player was asked to end, and
nothing may be queued behind it. NOTHING: the next BufferLow starts an item, unless enough is
buffered. What is started is the turn that replaces the programme (a takeover), the scheduled
item, or a stand-in (`selection`).

The hub sends what was fed seconds ago: Sent moves the slots on the air. After a restart of the
supervisor, Resumed continues from the records of the earlier one's players.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from fractions import Fraction
from typing import Final, assert_never

from streams.playout.contract.moment import Now, when
from streams.playout.contract.place import Place
from streams.playout.contract.plan import ChannelPlan, Policy, Sources
from streams.playout.contract.turn import TAKEOVER, Turn
from streams.playout.ffmpeg import diagnosis
from streams.playout.player import ending, events, following
from streams.playout.player.ending import WHOLE, Cut
from streams.playout.player.events import Action, Event
from streams.playout.player.selection import Selection
from streams.playout.player.timeline import START, HubClock, Slot, Timeline, on_frame
from streams.playout.takeover.controller import Substitution, matches
from streams.programme import schedule
from streams.programme.item import Item, Kind
from streams.programme.model import Cursors, Programme

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
#: Items that another node may have begun since it was last heard of.
MAX_FOLLOWING_ITEMS: Final = 5

NO_SKIP_LIVE: Final = (
    "Nothing can be skipped while a live feed is on air: return to the programme first."
)


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of a channel: the clocks, and what it is to play."""

    now: Now
    plan: ChannelPlan
    policy: Policy
    sources: Sources
    #: The hub's clock; None: it has not reported yet.
    clock: HubClock | None = None

    def wall(self, at: Fraction | None) -> float:
        """When that position is on air, in seconds since the epoch; now, if unknown."""
        if at is not None and self.policy.began is not None:
            return self.policy.began + float(at - START)
        if at is None or self.clock is None:
            return self.now.wall
        return self.now.at(self.clock.moment(at))

    def when(self, at: Fraction | None) -> datetime:
        return when(self.wall(at))

    def buffered(self, head: Fraction) -> float | None:
        """Seconds between the sent and the fed position; None while the hub has no clock."""
        return None if self.clock is None else float(head - self.clock.position(self.now.mono))


@dataclass(frozen=True, slots=True)
class State:
    """What the player of a channel does, and how it came to that."""

    timeline: Timeline = field(default_factory=Timeline)
    selection: Selection = field(default_factory=Selection)
    #: The newest slot has a player.
    playing: bool = False
    #: Why that player was asked to end.
    cut: Cut | None = None
    #: The turn that replaces the programme; None: the programme plays.
    substitution: Substitution | None = None
    #: What the node that plays the channel plays, until this one has joined it.
    join: Place | None = None
    #: Nothing is started before this moment, because not even the slate could be played.
    not_before: float = 0.0
    #: Cursors of the lists before the present turn was selected.
    before: Cursors = field(default_factory=dict)
    #: The programme against which the present turn was last checked, and when.
    programme: Programme | None = None
    checked_at: float = 0.0
    #: Position on the feed at which the present turn must end, if the programme has changed.
    must_end: Fraction | None = None
    #: Ending of the turn that an earlier supervisor left on air.
    previous: Cut = WHOLE

    @property
    def turn(self) -> Turn | None:
        """The turn that the present player plays; None: there is no player."""
        return self.timeline.slots[-1].turn if self.playing else None

    @property
    def may_queue(self) -> bool:
        """Whether the present turn may play to its end, so that others may wait behind it."""
        free = self.substitution is None and self.join is None
        return self.cut is None and self.must_end is None and free

    def upcoming(self, moment: Moment) -> Item | None:
        """The item that will be on air after the present one."""
        on_air = self.timeline.on_air
        for slot in self.timeline.slots:
            if on_air is not None and slot.start > on_air.start:
                return slot.item
        until = None if on_air is None else self.timeline.until(on_air)
        return self.selection.upcoming(moment.plan, moment.when(until))


Result = tuple[State, tuple[Action, ...]]


def step(state: State, event: Event, moment: Moment) -> Result:
    after, actions = _step(state, event, moment)
    trouble = after.selection.trouble
    if trouble != state.selection.trouble:
        actions = (events.Trouble(trouble or ""), *actions)
    return after, actions


def _step(state: State, event: Event, moment: Moment) -> Result:
    match event:
        case events.BufferLow():
            result = _start(state, moment)
        case events.StartFailed():
            result = _start_failed(state, event, moment)
        case events.Polled():
            result = _polled(state, event, moment)
        case events.Exited():
            result = _exited(state, event, moment)
        case events.Followed():
            result = _followed(state, event, moment)
        case events.SkipOrdered():
            result = _skip(state, event, moment)
        case events.TakeoverChanged() | events.OutOfStep():
            result = _diverted(state, event)
        case events.Sent(position):
            result = _sent(state, position)
        case events.Resumed():
            result = _resumed(state, event, moment)
        case _:
            assert_never(event)
    return result


# ---- starting


def _start(state: State, moment: Moment) -> Result:
    plan, selection, timeline = moment.plan, state.selection, state.timeline
    buffered = moment.buffered(timeline.head)
    if moment.now.mono < state.not_before:
        return state, ()
    if moment.policy.paced and moment.clock is not None and buffered is not None:
        # An item that is short or of low bit rate would otherwise let minutes pile up in the
        # pipe.
        if buffered > moment.policy.lead:
            return state, ()
        if -buffered > MAX_DRY_S:
            # The hub keeps wall-clock time: it would send the backlog too fast.
            position = moment.clock.position(moment.now.mono)
            timeline = timeline.jump(on_frame(position, plan.house_format.frame))
    join, hurried = None, buffered is not None and buffered < HURRIED_BELOW_S
    if state.substitution is not None:
        # The cursors stay unchanged.
        turn = replace(state.substitution.turn, cursors=selection.cursors)
    elif state.join is not None and moment.clock is not None:
        at = moment.clock.moment(timeline.head)
        selection, turn, join = _join(selection, state.join, at, moment, hurried=hurried)
    else:
        selection, turn = selection.next(
            *(plan, moment.sources, moment.when(timeline.head)), hurried=hurried
        )
        back = bool(timeline.slots) and timeline.slots[-1].turn.rule == TAKEOVER
        turn = replace(turn, fade=True) if back and turn.item.kind is Kind.ITEM else turn
    begun = replace(
        state,
        timeline=timeline.begin(turn, timeline.room_for(turn.item)),
        selection=selection,
        playing=True,
        join=join,
        before=state.selection.cursors,
        programme=plan.programme,
        must_end=None,
    )
    return begun, (events.StartItem(begun.timeline.slots[-1]),)


def _join(
    selection: Selection, place: Place, at: float, moment: Moment, *, hurried: bool
) -> tuple[Selection, Turn, Place | None]:
    """Join what another node plays at that moment, or the items that follow it there.

    Returns the turn, and the place if the turn only fills the time to the next keyframe.
    """
    plan, house_format = moment.plan, moment.plan.house_format
    turn, joined = following.turn_at(place, at, plan.programme, house_format)
    for _ in range(MAX_FOLLOWING_ITEMS):
        if turn is not None:
            break
        length = place.turn.length(house_format) or place.turn.seconds or Fraction(0)
        began = place.began + float(length)
        selection = replace(selection, cursors=place.turn.cursors)
        after, next_turn = selection.next(
            plan, moment.sources, when(moment.now.at(began)), hurried=hurried
        )
        if next_turn.stands_in:
            return after, next_turn, None
        place = replace(place, turn=next_turn, began=began)
        turn, joined = following.turn_at(place, at, plan.programme, house_format)
    turn = turn or place.turn
    return selection.started(plan, turn), turn, None if joined else place


def _start_failed(state: State, event: events.StartFailed, moment: Moment) -> Result:
    *slots, slot = state.timeline.slots
    timeline = replace(state.timeline, slots=tuple(slots))
    failed = replace(state, timeline=timeline, playing=False, join=None)
    if event.item:
        cause = f"{slot.item.title} was skipped: {event.error}"
        return replace(failed, selection=state.selection.failed(cause, slot.turn)), ()
    return _postponed(failed, f"Nothing can be played: {event.error}", moment), ()


def _postponed(state: State, cause: str, moment: Moment) -> State:
    """Nothing can be started now. The lists stay: it is not the fault of their items."""
    selection = replace(state.selection, cursors=state.before, trouble=cause)
    return replace(state, selection=selection, not_before=moment.now.mono + RETRY_PAUSE_S)


def _followed(state: State, event: events.Followed, moment: Moment) -> Result:
    selection, timeline, before = state.selection, state.timeline, state.before
    if state.playing:
        turn, start = timeline.slots[-1].turn, timeline.slots[-1].start
        length = turn.length(moment.plan.house_format) or Fraction(0)
        cut = ending.as_planned(turn, length, moment.plan.house_format)
        selection = selection.played(turn)
        timeline = timeline.end(start + length, cut.ending, cut.cause)
        before = selection.cursors
    followed = replace(
        state,
        timeline=timeline.begin(event.slot.turn, event.slot.start - timeline.head),
        selection=selection.started(moment.plan, event.slot.turn),
        playing=True,
        cut=None,
        before=before,
        programme=event.programme,
        must_end=None,
    )
    return followed, ()


# ---- playing


def _polled(state: State, event: events.Polled, moment: Moment) -> Result:
    turn = state.timeline.slots[-1].turn
    state, why = _check_programme(state, moment)
    if why is not None and state.cut is None:
        return _cut(state, why)
    if event.stalled is None and event.moved:
        return replace(state, selection=state.selection.played(turn)), ()
    # A live feed is measured at its conformer.
    if not event.stalled or not moment.policy.paced or turn.item.kind is Kind.LIVE:
        return state, ()
    # There is no time for another stalled source: the next item must be local.
    fault = f"{turn.item.title} was cut: its source delivers no data."
    state = replace(state, selection=state.selection.failed(fault, turn, stalled=True))
    # It may wait for the network without handling signals: there is no time for grace. The
    # stall says nothing about a file on this machine's disk.
    state, actions = _cut(state, Cut("failed", "The source stalled."), kill=True)
    return state, (events.ReportFailure(turn.item, local=False), *actions)


def _cut(state: State, cut: Cut, *, kill: bool = False) -> Result:
    # A relay that is asked to end waits for its input and discards what it was about to write,
    # so that a piece in the middle would be missing. Killed, it ends where it is.
    live = state.timeline.slots[-1].item.kind is Kind.LIVE
    return replace(state, cut=cut), (events.CutItem(kill=kill or cut.sharp or live),)


def _check_programme(state: State, moment: Moment) -> tuple[State, Cut | None]:
    """Find a turn that exceeds the airtime that the present programme gives it."""
    now, clock = moment.now.mono, moment.clock
    due = now - state.checked_at >= PROGRAMME_CHECK_INTERVAL_S
    if clock is None or not moment.policy.paced or not due:
        return state, None
    state = replace(state, checked_at=now)
    slot, position = state.timeline.slots[-1], clock.position(now)
    if slot.turn.rule == TAKEOVER:
        return state, None
    plan, sources = moment.plan, moment.sources
    if slot.turn.stands_in and position - slot.start > MIN_STAND_IN_S:
        back = slot.item.kind is Kind.FILLER and state.selection.is_available_again(
            plan, sources, when(moment.now.wall)
        )
        return state, Cut("cut", "Back to the programme.") if back else None
    if plan.programme is not state.programme:
        state = replace(state, programme=plan.programme, must_end=None)
        begins = max(position, slot.start)
        room = schedule.room(plan.programme, moment.when(begins))
        until = state.timeline.until(slot)
        if room is not None and (until is None or begins + room < until - OVERRUN_TOLERANCE_S):
            state = replace(state, must_end=begins + room)
    # Data in the pipe can't be stopped any more.
    if state.must_end is None or position + round(moment.policy.lead) < state.must_end:
        return state, None
    return replace(state, must_end=None), Cut("cut", "The programme was changed.", resumes=True)


# ---- orders


def _skip(state: State, event: events.SkipOrdered, moment: Moment) -> Result:
    if state.turn is not None and state.turn.rule == TAKEOVER:
        return state, (events.Refuse(NO_SKIP_LIVE),)
    slots, clock = state.timeline.slots, moment.clock
    if slots and clock and slots[-1].start > clock.position(moment.now.mono):
        # A cut would hit the next item instead of the visible one.
        return state, (events.Refuse(f"{slots[-1].item.title} is already about to go on air."),)
    if not state.playing:
        return state, ()
    return _cut(state, state.cut or Cut("cut", event.cause, filler=event.filler))


def _diverted(state: State, event: events.TakeoverChanged | events.OutOfStep) -> Result:
    if isinstance(event, events.TakeoverChanged):
        return _takeover_changed(state, event)
    if state.substitution is not None:
        return state, ()
    state = replace(state, join=event.place)
    if not state.playing or state.cut is not None:
        return state, ()
    return _cut(state, Cut("cut", "Back in step with the node that plays the channel."))


def _takeover_changed(state: State, event: events.TakeoverChanged) -> Result:
    substitution = event.substitution
    state = replace(state, substitution=substitution)
    if (
        not state.playing
        or state.cut is not None
        or matches(state.timeline.slots[-1].turn, substitution)
    ):
        return state, ()
    live = substitution is not None and substitution.pipe is not None
    return _cut(state, Cut("cut", event.why, resumes=True, sharp=live))


# ---- ending


def _exited(state: State, event: events.Exited, moment: Moment) -> Result:
    cut, timeline, house_format = state.cut, state.timeline, moment.plan.house_format
    if cut is not None and cut.sharp:
        # The next item may have been started already.
        timeline = timeline.back_to(event.head)
    turn = timeline.slots[-1].turn
    played = event.head - timeline.slots[-1].start
    state = replace(state, playing=False, cut=None)
    actions: tuple[Action, ...] = ()
    if cut is None and turn.item.kind is Kind.LIVE:
        cut = Cut("failed", "Its relay ended and is restarted.")
    elif cut is None and (
        fault := ending.fault(event.code, event.lines, turn, played, house_format)
    ):
        cut = Cut("failed", fault)
        state, actions = _failed(state, event, turn, fault, moment)
        if played <= 0 and turn.item.kind is Kind.SLATE:
            state = replace(state, not_before=moment.now.mono + RETRY_PAUSE_S)
    selection = state.selection
    if cut is None:
        selection = selection.played(turn)
        cut = ending.as_planned(turn, played, house_format)
    elif turn.rule == TAKEOVER:
        # No list needs to resume it: the cursors stay unchanged.
        selection = replace(selection, cursors=turn.cursors)
    elif cut.ending == "failed":
        selection = selection.broke_off(turn, played, moment.when(event.head))
    elif cut.resumes:
        selection = selection.interrupted(turn, played, moment.when(event.head))
    else:
        selection = selection.skipped(turn)
        selection = selection.diverted(cut.cause) if cut.filler else selection
    timeline = timeline.end(event.head, cut.ending, cut.cause)
    return replace(state, timeline=timeline, selection=selection), actions


def _failed(
    state: State, event: events.Exited, turn: Turn, fault: str, moment: Moment
) -> Result:
    if event.code in diagnosis.NOT_RUN:
        return _postponed(state, fault, moment), ()
    state = replace(state, selection=state.selection.failed(fault, turn))
    if event.code is None or event.code < 0:
        # Only FFmpeg itself can find the item at fault: a signal proves nothing.
        return state, ()
    local = event.local and diagnosis.damaged(event.lines)
    return state, (events.ReportFailure(turn.item, local),)


def _sent(state: State, position: Fraction) -> Result:
    timeline, changes = state.timeline.air(position)
    selection = state.selection
    actions: list[Action] = []
    for before, slot in changes:
        selection = selection.aired(slot.turn)
        cut = state.previous if before is None else Cut(before.ending, before.cause)
        actions.append(events.OnAir(slot, before, cut))
    return replace(state, timeline=timeline, selection=selection), tuple(actions)


# ---- after a restart of the supervisor


def _resumed(state: State, event: events.Resumed, moment: Moment) -> Result:
    head, missed = event.head, event.missed
    timeline, selection = Timeline(head=head), state.selection
    if event.turn is not None:
        timeline = timeline.begin(event.turn)
        slots = (*_whole(missed), *timeline.slots)
        selection = replace(selection, cursors=event.turn.cursors)
        timeline = replace(timeline, slots=slots)
        return replace(state, timeline=timeline, selection=selection, playing=True), ()
    played = [slot for slot in missed if slot.start < head] or missed[:1]
    if not played:
        return replace(state, timeline=timeline), ()
    # All but the last one are whole; the last one's list resumes it if it was cut short.
    *whole, last = played
    cut = ending.unseen(last.turn, head - last.start, moment.plan.house_format)
    selection = replace(selection, cursors=last.turn.cursors)
    if cut.resumes:
        selection = selection.interrupted(last.turn, head - last.start, moment.when(head))
    state = replace(state, timeline=timeline, selection=selection)
    if whole:
        last = replace(last, ending=cut.ending, cause=cut.cause, end=head)
        state = replace(state, timeline=replace(timeline, slots=(*_whole(whole), last)))
    else:
        state = replace(state, previous=cut)
    return state, ()


def _whole(slots: Iterable[Slot]) -> tuple[Slot, ...]:
    return tuple(replace(slot, ending=WHOLE.ending) for slot in slots)
