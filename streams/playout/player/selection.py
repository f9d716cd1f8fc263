"""Selects the next turn: the programme, or a stand-in if it can't be played.

The order is item, filler, slate. While the storage is unreachable, items on this machine's disk
keep playing, and the programme waits at its position for the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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

#: Reports that the programme is in trouble (a sentence) or plays again ("").
Trouble = Callable[[str], None]


class Selector:
    """Selects one item after another, and remembers how the last ones ended."""

    def __init__(self, sources: Sources, trouble: Trouble) -> None:
        self.sources = sources
        self.trouble = trouble
        #: Cursors of the lists after the last selection has played.
        self.cursors: Cursors = {}
        self.troubled = False
        #: Consecutive items that failed since one played, or since a stand-in.
        self.failures = 0
        #: The last failure took time: its source stalled.
        self._stalled = False
        #: The last selection was a stand-in.
        self._stood_in = False
        self._chosen = Kind.ITEM
        self._filler_failed = False
        #: The last selection counts as a stand-in for the programme.
        self._standing = False
        self._cause = ""
        #: The last item that broke off: rule, entry, second.
        self._broken: tuple[str, int | None, Fraction] = ("", None, Fraction(0))

    # ---- results

    def failed(self, cause: str, turn: Turn, *, stalled: bool = False) -> None:
        """The selected item failed: its list continues with the next one."""
        self.skipped(turn)
        self.failures += 1
        self._stalled = stalled
        self._filler_failed = self._chosen is Kind.FILLER
        self._report_trouble(cause)

    def start_failed(self, cause: str, cursors: Cursors) -> None:
        """The item could not be started, and nothing else could: the cursors stay unchanged."""
        self.cursors = cursors
        self._report_trouble(cause)

    def _report_trouble(self, cause: str) -> None:
        self.troubled, self._cause = True, cause
        self.trouble(cause)

    def interrupted(self, turn: Turn, fed: Fraction, at: datetime) -> None:
        """The item was cut after `fed` seconds: its list resumes it by the return rule."""
        self.cursors = cut_at(turn, fed, at)

    def broke_off(self, turn: Turn, fed: Fraction, at: datetime) -> None:
        """The item failed after `fed` seconds: its list resumes it, unless it is at fault."""
        cursor = turn.cursors.get(turn.rule, Cursor())
        before, self._broken = self._broken, (turn.rule, cursor.last, turn.into + fed)
        again = (
            before[:2] == self._broken[:2] and abs(before[2] - turn.into - fed) < MIN_RESUME_S
        )
        if fed >= MIN_RESUME_S and not again:
            self.interrupted(turn, fed, at)

    def skipped(self, turn: Turn) -> None:
        """The item was skipped or unavailable: its list continues with the next one."""
        if (cursor := self.cursors.get(turn.rule)) is not None:
            cursor = replace(cursor, into=None, cut_at=None)
            self.cursors = {**self.cursors, turn.rule: cursor}

    def played(self, turn: Turn) -> None:
        """The item delivers data, or has played to its end."""
        if not turn.stands_in:
            self.failures, self._stalled = 0, False
        elif turn.item.kind is Kind.FILLER:
            self._filler_failed = False

    def aired(self, turn: Turn) -> None:
        """An item came on air, which ends the programme's trouble for the viewer."""
        # The item on air was fed seconds ago: a stand-in may have been selected since.
        well = not self.failures and not self._standing
        if self.troubled and well and not turn.stands_in:
            self.troubled = False
            self.trouble("")

    # ---- selection

    def next(self, plan: ChannelPlan, at: datetime, *, hurried: bool) -> Turn:
        """Select the next turn.

        `hurried`: there is no time to try an item that may not play.
        """
        pick = schedule.pick(plan.programme, at, self.cursors)
        if pick.list_empty and not self.troubled:
            self._report_trouble(pick.why)
        away = "" if pick.entry is None else self._unreachable_cause(pick.entry.item)
        if (
            pick.entry is not None
            and not away
            and not self._stand_in_due(plan, pick.entry.item, hurried)
        ):
            turn, self._stood_in = self._turn_of(plan, pick, pick.entry), False
        else:
            turn = self._stand_in(plan, pick, away)
            self._stood_in = True
            self.failures, self._stalled = 0, False
        self._select(plan, turn)
        return turn

    def ahead(self, plan: ChannelPlan, at: datetime, cursors: Cursors) -> Turn | None:
        """Return what `next` would select at that moment, with the lists at `cursors`.

        None: unknown, because of a present failure or because a stand-in would be needed.
        Nothing is changed: `took` follows when the turn has begun.
        """
        if self.failures or self._stood_in:
            return None
        pick = schedule.pick(plan.programme, at, cursors)
        if pick.entry is None or pick.list_empty or self._unreachable_cause(pick.entry.item):
            return None
        return self._turn_of(plan, pick, pick.entry)

    def started(self, plan: ChannelPlan, turn: Turn) -> None:
        """A turn that was selected ahead has begun."""
        self._stood_in = False
        self._select(plan, turn)

    def _select(self, plan: ChannelPlan, turn: Turn) -> None:
        self._chosen, self._standing = turn.item.kind, turn.stands_in
        self.cursors = turn.cursors
        if len(self.cursors) > MAX_CURSORS:
            rules = {BASE, FILLER, *(block.rule for block in plan.programme.blocks)}
            self.cursors = {r: at for r, at in self.cursors.items() if r in rules}

    def is_available_again(self, plan: ChannelPlan, at: datetime) -> bool:
        """Whether the programme's item is available again while a stand-in plays."""
        pick = schedule.pick(plan.programme, at, self.cursors)
        if pick.entry is None or pick.list_empty or self.failures:
            return False
        return not self._unreachable_cause(pick.entry.item)

    def upcoming(self, plan: ChannelPlan, at: datetime) -> Item | None:
        """The item that the programme schedules next."""
        entry = schedule.pick(plan.programme, at, self.cursors).entry
        return None if entry is None else entry.item

    def _turn_of(self, plan: ChannelPlan, pick: Pick, entry: Entry) -> Turn:
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

    def _unreachable_cause(self, item: Item) -> str:
        """Why the item's bytes are known to be unreachable; empty if they may be available."""
        return "" if self.sources.is_local(item) else self.sources.fault() or ""

    def _stand_in_due(self, plan: ChannelPlan, item: Item, hurried: bool) -> bool:  # noqa: FBT001 - as its caller has it
        if self._stood_in:
            # Never two stand-ins in a row after a failure: if the slate is at fault, an item
            # may play.
            return self._filler_failed
        if not self.failures:
            return False
        if self.failures == 1 and self.sources.is_local(item):
            return False
        tries = min(MAX_TRIES, len(plan.programme.base.entries) or MAX_TRIES)
        return hurried or self._stalled or self.failures >= tries

    # ---- stand-ins

    def _stand_in(self, plan: ChannelPlan, pick: Pick, away: str) -> Turn:
        at, cursors = pick.begins, self.cursors
        if not self._filler_failed and (filler := self._filler(plan, at)) is not None:
            self._wait_for(pick.entry, away)
            entry, cursor = filler
            return self._instead(plan, pick, entry, {**cursors, FILLER: cursor})
        self._filler_failed = False
        if away:
            for rule, other, cursor in schedule.scheduled_entries(plan.programme, at, cursors):
                if self.sources.is_local(other.item):
                    return self._instead(plan, pick, other, {**cursors, rule: cursor}, rule)
        self._wait_for(pick.entry, away)
        slate = Entry(plan.slate, plan.programme.slate)
        rule = pick.rule if pick.list_empty else FAILOVER
        return self._instead(plan, pick, slate, cursors, rule)

    def _filler(self, plan: ChannelPlan, at: datetime) -> tuple[Entry, Cursor] | None:
        """Return the next local filler; otherwise the next one, if the storage is healthy."""
        fillers = list(schedule.fillers(plan.programme, at, self.cursors))
        for filler in fillers:
            if self.sources.is_local(filler[0].item):
                return filler
        well = not self._stalled and self.sources.fault() == ""
        return fillers[0] if fillers and well else None

    def _instead(
        self,
        plan: ChannelPlan,
        pick: Pick,
        entry: Entry,
        cursors: Cursors,
        rule: str = FAILOVER,
    ) -> Turn:
        room = schedule.room(plan.programme, pick.begins)
        limit = room if room is not None and room < entry.seconds else None
        return Turn(
            entry.item,
            rule,
            self._cause or pick.why,
            limit=limit,
            seconds=entry.seconds if limit is None else limit,
            cursors=cursors,
            stands_in=entry.item.kind is not Kind.ITEM,
        )

    def _wait_for(self, entry: Entry | None, away: str) -> None:
        if entry is not None and away:
            self._report_trouble(f"{entry.item.title} must wait: {away}")


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
