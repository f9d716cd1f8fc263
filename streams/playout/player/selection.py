"""Selects the next turn: the programme, or a stand-in if it can't be played.

The order is item, filler, slate. While the storage is unreachable, items on this machine's disk
keep playing, and the programme waits at its position for the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from fractions import Fraction
from typing import Final

from streams.playout.contract.plan import ChannelPlan, Sources
from streams.playout.contract.turn import FAILOVER, Turn
from streams.programme import schedule
from streams.programme.item import Item, Kind
from streams.programme.model import BASE, FILLER, Cursor, Cursors, Entry, Pick

#: Consecutive items to try before a stand-in. Each try costs a process start.
MAX_TRIES: Final = 4
#: Minimum seconds that an item must play before it is resumed where it broke off. An item that
#: plays less may be damaged just there, and would be retried forever.
MIN_RESUME_S: Final = 10

#: Maximum number of remembered cursors, including those of deleted blocks.
MAX_CURSORS: Final = 100


@dataclass(frozen=True, slots=True)
class Selection:
    """The lists' positions, and how the last turns ended. Each method returns the next one."""

    #: Cursors of the lists after the last selected turn has played.
    cursors: Cursors = field(default_factory=dict)
    #: Why the programme can't be played; None: it can. Empty: an earlier supervisor knew.
    trouble: str | None = None
    #: The last selected turn.
    last: Turn | None = None
    #: Consecutive items that failed since one played, or since a stand-in.
    failures: int = 0
    #: The last failure took time: its source stalled.
    stalled: bool = False
    #: The last selection was a stand-in.
    stood_in: bool = False
    filler_failed: bool = False
    #: The last item that broke off: rule, entry, second.
    broken: tuple[str, int | None, Fraction] = ("", None, Fraction(0))

    # ---- results

    def failed(self, cause: str, turn: Turn, *, stalled: bool = False) -> Selection:
        """The selected item failed: its list continues with the next one."""
        return replace(
            self.skipped(turn),
            failures=self.failures + 1,
            stalled=stalled,
            filler_failed=self.last is not None and self.last.item.kind is Kind.FILLER,
            trouble=cause,
        )

    def interrupted(self, turn: Turn, fed: Fraction, at: datetime) -> Selection:
        """The item was cut after `fed` seconds: its list resumes it by the return rule."""
        return replace(self, cursors=cut_at(turn, fed, at))

    def broke_off(self, turn: Turn, fed: Fraction, at: datetime) -> Selection:
        """The item failed after `fed` seconds: its list resumes it, unless it is at fault."""
        entry, second = turn.cursors.get(turn.rule, Cursor()).last, turn.into + fed
        again = (
            self.broken[:2] == (turn.rule, entry)
            and abs(self.broken[2] - second) < MIN_RESUME_S
        )
        after = replace(self, broken=(turn.rule, entry, second))
        if fed < MIN_RESUME_S or again:
            return after
        return after.interrupted(turn, fed, at)

    def skipped(self, turn: Turn) -> Selection:
        """The item was skipped or unavailable: its list continues with the next one."""
        if (cursor := self.cursors.get(turn.rule)) is None:
            return self
        cursor = replace(cursor, into=None, cut_at=None)
        return replace(self, cursors={**self.cursors, turn.rule: cursor})

    def diverted(self, cause: str) -> Selection:
        """A stand-in follows, although the programme could be played."""
        return replace(self, failures=max(self.failures, MAX_TRIES), trouble=cause)

    def played(self, turn: Turn) -> Selection:
        """The item delivers data, or has played to its end."""
        if not turn.stands_in:
            return replace(self, failures=0, stalled=False)
        if turn.item.kind is Kind.FILLER:
            return replace(self, filler_failed=False)
        return self

    def aired(self, turn: Turn) -> Selection:
        """An item came on air, which ends the programme's trouble for the viewer."""
        # The item on air was fed seconds ago: a stand-in may have been selected since.
        stands_in = turn.stands_in or (self.last is not None and self.last.stands_in)
        return self if self.failures or stands_in else replace(self, trouble=None)

    # ---- selection

    def next(
        self, plan: ChannelPlan, sources: Sources, at: datetime, *, hurried: bool
    ) -> tuple[Selection, Turn]:
        """Select the next turn.

        `hurried`: there is no time to try an item that may not play.
        """
        pick = schedule.pick(plan.programme, at, self.cursors)
        before = self
        if pick.list_empty and self.trouble is None:
            before = replace(self, trouble=pick.why)
        away = "" if pick.entry is None else _unreachable_cause(sources, pick.entry.item)
        if (
            pick.entry is not None
            and not away
            and not self._stand_in_due(plan, sources, pick.entry.item, hurried=hurried)
        ):
            turn = _turn_of(plan, pick, pick.entry)
            return before.started(plan, turn), turn
        after, turn = _stand_in(before, plan, sources, pick, away)
        after = replace(after, failures=0, stalled=False)
        return replace(after.started(plan, turn), stood_in=True), turn

    def ahead(
        self, plan: ChannelPlan, sources: Sources, at: datetime, cursors: Cursors
    ) -> Turn | None:
        """Return what `next` would select at that moment, with the lists at `cursors`.

        None: unknown, because of a present failure or because a stand-in would be needed.
        """
        return None if self.stood_in else self._scheduled(plan, sources, at, cursors)

    def started(self, plan: ChannelPlan, turn: Turn) -> Selection:
        """A turn that was selected has begun."""
        cursors = turn.cursors
        if len(cursors) > MAX_CURSORS:
            rules = {BASE, FILLER, *(block.rule for block in plan.programme.blocks)}
            cursors = {rule: at for rule, at in cursors.items() if rule in rules}
        return replace(self, cursors=cursors, last=turn, stood_in=False)

    def is_available_again(self, plan: ChannelPlan, sources: Sources, at: datetime) -> bool:
        """Whether the programme's item is available again while a stand-in plays."""
        return self._scheduled(plan, sources, at, self.cursors) is not None

    def upcoming(self, plan: ChannelPlan, at: datetime) -> Item | None:
        """The item that the programme schedules next."""
        entry = schedule.pick(plan.programme, at, self.cursors).entry
        return None if entry is None else entry.item

    def _scheduled(
        self, plan: ChannelPlan, sources: Sources, at: datetime, cursors: Cursors
    ) -> Turn | None:
        """The programme's own turn, if nothing has failed and it can be played."""
        if self.failures:
            return None
        pick = schedule.pick(plan.programme, at, cursors)
        if pick.entry is None or pick.list_empty:
            return None
        if _unreachable_cause(sources, pick.entry.item):
            return None
        return _turn_of(plan, pick, pick.entry)

    def _stand_in_due(
        self, plan: ChannelPlan, sources: Sources, item: Item, *, hurried: bool
    ) -> bool:
        if self.stood_in:
            # Never two stand-ins in a row after a failure: if the slate is at fault, an item
            # may play.
            return self.filler_failed
        if not self.failures:
            return False
        if self.failures == 1 and sources.is_local(item):
            return False
        tries = min(MAX_TRIES, len(plan.programme.base.entries) or MAX_TRIES)
        return hurried or self.stalled or self.failures >= tries


# ---- stand-ins


def _stand_in(
    selection: Selection, plan: ChannelPlan, sources: Sources, pick: Pick, away: str
) -> tuple[Selection, Turn]:
    at, cursors = pick.begins, selection.cursors
    waiting = selection
    if pick.entry is not None and away:
        waiting = replace(selection, trouble=f"{pick.entry.item.title} must wait: {away}")
    if not selection.filler_failed:
        filler = _filler(plan, sources, at, selection)
        if filler is not None:
            entry, cursor = filler
            cause = waiting.trouble
            return waiting, _instead(plan, pick, entry, {**cursors, FILLER: cursor}, cause)
    if away:
        for rule, other, cursor in schedule.scheduled_entries(plan.programme, at, cursors):
            if sources.is_local(other.item):
                moved = {**cursors, rule: cursor}
                turn = _instead(plan, pick, other, moved, selection.trouble, rule)
                return replace(selection, filler_failed=False), turn
    slate = Entry(plan.slate, plan.programme.slate)
    rule = pick.rule if pick.list_empty else FAILOVER
    turn = _instead(plan, pick, slate, cursors, waiting.trouble, rule)
    return replace(waiting, filler_failed=False), turn


def _filler(
    plan: ChannelPlan, sources: Sources, at: datetime, selection: Selection
) -> tuple[Entry, Cursor] | None:
    """Return the next local filler; otherwise the next one, if the storage is healthy."""
    fillers = list(schedule.fillers(plan.programme, at, selection.cursors))
    for filler in fillers:
        if sources.is_local(filler[0].item):
            return filler
    well = not selection.stalled and sources.fault() == ""
    return fillers[0] if fillers and well else None


def _instead(
    plan: ChannelPlan,
    pick: Pick,
    entry: Entry,
    cursors: Cursors,
    cause: str | None,
    rule: str = FAILOVER,
) -> Turn:
    room = schedule.room(plan.programme, pick.begins)
    limit = room if room is not None and room < entry.seconds else None
    return Turn(
        entry.item,
        rule,
        cause or pick.why,
        limit=limit,
        seconds=entry.seconds if limit is None else limit,
        cursors=cursors,
        stands_in=entry.item.kind is not Kind.ITEM,
    )


def _turn_of(plan: ChannelPlan, pick: Pick, entry: Entry) -> Turn:
    limit = pick.end - pick.start if pick.end < entry.seconds else None
    if not entry.exact and (room := schedule.room(plan.programme, pick.begins)) is not None:
        # The item may be longer than its estimated length.
        limit = room if limit is None else min(limit, room)
    return Turn(
        entry.item,
        pick.rule,
        pick.why,
        into=pick.start,
        limit=limit,
        seconds=pick.end - pick.start,
        cursors=pick.cursors,
        stands_in=pick.list_empty,
    )


def _unreachable_cause(sources: Sources, item: Item) -> str:
    """Why the item's bytes are known to be unreachable; empty if they may be available."""
    return "" if sources.is_local(item) else sources.fault() or ""


def advance_last_cut(cursors: Cursors, seconds: Fraction) -> Cursors:
    """Move the cursor that was cut last `seconds` further into its item."""
    cut = [
        (cursor.cut_at, rule) for rule, cursor in cursors.items() if cursor.cut_at is not None
    ]
    if not cut:
        return cursors
    _, rule = max(cut)
    cursor = cursors[rule]
    into = None if cursor.into is None else cursor.into + seconds
    return {**cursors, rule: replace(cursor, into=into)}


def cut_at(turn: Turn, fed: Fraction, at: datetime) -> Cursors:
    """Return the cursors if a turn is cut after `fed` seconds."""
    cursor = turn.cursors.get(turn.rule)
    if cursor is None or turn.item.kind is not Kind.ITEM:
        return turn.cursors
    cut = replace(cursor, into=turn.into + max(fed, Fraction(0)), cut_at=at)
    return {**turn.cursors, turn.rule: cut}
