"""Schedules the next item from the programme, the clock and the cursors. Pure.

The same function plays, previews and explains.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Final

from streams.programme.block_times import DAY, next_cut, next_edge, on_air
from streams.programme.model import (
    BASE,
    FILLER,
    Cursor,
    Cursors,
    Entry,
    Pick,
    Programme,
    Return,
    Rotation,
)
from streams.programme.rotation import advanced, following

#: Tolerance in seconds: moments are rounded, and the hub's clock is measured.
SLACK_S: Final = Fraction(1, 100)
#: Seconds to look ahead for a block that cuts in.
LOOKAHEAD_S: Final = Fraction(DAY // timedelta(seconds=1))


def moment(at: datetime, seconds: Fraction) -> datetime:
    return at + timedelta(microseconds=round(seconds * 1_000_000))


def between(earlier: datetime, later: datetime) -> Fraction:
    return Fraction((later - earlier) // timedelta(microseconds=1), 1_000_000)


def pick(programme: Programme, at: datetime, cursors: Cursors) -> Pick:
    """Return what begins at that moment, until when, and the cursors afterwards."""
    # Items are cut on the grid, so a block that cuts in is due up to one step before its time.
    due = moment(at, programme.cut)
    return _Picker(programme, at, due, cursors).pick()


def room(programme: Programme, at: datetime) -> Fraction | None:
    """Return seconds, on the grid, until something cuts in; None: nothing within a day.

    For turns that don't end when the programme says: a stand-in, or an item of unknown length.
    """
    limit = _Picker(programme, at, moment(at, programme.cut), {}).limit(LOOKAHEAD_S)
    return None if limit is None else on_grid(programme, between(at, limit[0]))


def on_grid(programme: Programme, seconds: Fraction) -> Fraction:
    """Round down to the grid; at least one step."""
    return max(1, (seconds + SLACK_S) // programme.cut) * programme.cut


def scheduled_entries(
    programme: Programme, at: datetime, cursors: Cursors
) -> Iterator[tuple[str, Entry, Cursor]]:
    """Yield the entries of the scheduled list: rule, entry, cursor after it.

    One round, starting with the next entry.
    """
    picker = _Picker(programme, at, moment(at, programme.cut), cursors)
    for entry, cursor in picker.round(picker.rotation, picker.rule):
        yield picker.rule, entry, cursor


def fillers(
    programme: Programme, at: datetime, cursors: Cursors
) -> Iterator[tuple[Entry, Cursor]]:
    """Yield the fillers that may be played now, each with the cursor after it.

    One round, starting with the next entry.
    """
    picker = _Picker(programme, at, moment(at, programme.cut), cursors)
    return picker.round(programme.filler, FILLER)


def preview(
    programme: Programme, at: datetime, until: datetime, cursors: Cursors
) -> Iterator[Pick]:
    """Yield the picks from one moment to another, if nothing fails."""
    while at < until:
        present = pick(programme, at, cursors)
        if present.entry is None:
            # On air this is evaluated again every few seconds, with the same result until then.
            ends = max(present.ends, next_edge(programme, at, min(until, at + DAY)))
            present = replace(present, ends=ends, end=between(at, ends))
        yield present
        at, cursors = present.ends, present.cursors


class _Picker:
    """One decision."""

    def __init__(
        self, programme: Programme, at: datetime, due: datetime, cursors: Cursors
    ) -> None:
        self.programme = programme
        self.at = at
        self.cursors = cursors
        self.slot = slot = on_air(programme, due)
        self.due = due
        self.rotation = programme.base if slot is None else slot.block.rotation
        self.rule = BASE if slot is None else slot.block.rule

    def pick(self) -> Pick:
        rotation, rule = self.rotation, self.rule
        chosen = self._resumed(rotation, rule) or self._next(rotation, rule)
        if chosen is None:
            limit = self.limit(self.programme.slate)
            stand_in = self._fill(limit, "no entry of its list may be played")
            return replace(stand_in, list_empty=True)
        entry, cursor, start = chosen
        length = entry.seconds - start
        limit = self.limit(length)
        if limit is None:
            return self._result(entry, cursor, start, entry.seconds, rule)
        ends, cause = limit
        if cause == "fit" and self._filler(between(self.at, ends)) is not None:
            return self._fill(limit, f"{entry.item.title} no longer fits")
        return self._result(entry, cursor, start, start + self._seconds_until(ends), rule)

    # ---- the list

    def round(self, rotation: Rotation, rule: str) -> Iterator[tuple[Entry, Cursor]]:
        cursor = self.cursors.get(rule, Cursor())
        for _ in rotation.entries:
            successor = self._following(rotation, cursor)
            if successor is None:
                return
            yield successor
            cursor = successor[1]

    @property
    def _max_rating(self) -> int | None:
        limit = self.programme.max_rating
        if self.slot is not None and self.slot.block.max_rating is not None:
            own = self.slot.block.max_rating
            limit = own if limit is None else min(limit, own)
        return limit

    def _following(self, rotation: Rotation, cursor: Cursor) -> tuple[Entry, Cursor] | None:
        if (limit := self._max_rating) is not None:
            mildest = rotation.lowest_rating
            if mildest is None or mildest > limit:
                return None
        return following(rotation, cursor, self._allowed)

    def _allowed(self, entry: Entry) -> bool:
        limit = self._max_rating
        if entry.seconds < self.programme.cut:
            # Too short to be cut on the grid: the list would never advance.
            return False
        return limit is None or (entry.rating is not None and entry.rating <= limit)

    def _next(self, rotation: Rotation, rule: str) -> tuple[Entry, Cursor, Fraction] | None:
        cursor = self.cursors.get(rule, Cursor())
        successor = self._following(rotation, cursor)
        return None if successor is None else (*successor, Fraction(0))

    def _resumed(self, rotation: Rotation, rule: str) -> tuple[Entry, Cursor, Fraction] | None:
        """Return the entry that was cut, if the return rule resumes it."""
        cursor = self.cursors.get(rule, Cursor())
        if cursor.into is None or self.programme.on_return is Return.NEXT:
            return None
        if self.programme.on_return is Return.WALL_CLOCK and cursor.cut_at is not None:
            # The clock may have been set back.
            elapsed = max(Fraction(0), between(cursor.cut_at, self.at))
            cursor = advanced(rotation, cursor, elapsed, self._allowed)
        entry = next(
            (candidate for candidate in rotation.entries if candidate.pk == cursor.last), None
        )
        if entry is None or cursor.into is None or not self._allowed(entry):
            return None
        if self.programme.on_return is Return.RESTART:
            return entry, cursor, Fraction(0)
        start = (cursor.into + SLACK_S) // self.programme.resume * self.programme.resume
        if entry.seconds - start < self.programme.cut:
            return None
        return entry, cursor, start

    # ---- how long

    def limit(self, seconds: Fraction) -> tuple[datetime, str] | None:
        """Return the limit within so many seconds: a block that cuts in, or its own end."""
        until = moment(self.at, seconds - SLACK_S)
        cut = next_cut(self.programme, self.due, until)
        ends = None if cut is None else (cut.begins, "cut")
        if self.slot is None or not self.slot.block.fit or self.slot.ends >= until:
            return ends
        then = on_air(self.programme, self.slot.ends)
        if then is not None and then.block.pk == self.slot.block.pk:
            # On all day, every day: it does not end at midnight.
            return ends
        return (
            ends if ends is not None and ends[0] <= self.slot.ends else (self.slot.ends, "fit")
        )

    def _seconds_until(self, ends: datetime) -> Fraction:
        """Return seconds up to that moment, on the grid."""
        return on_grid(self.programme, between(self.at, ends))

    # ---- filler

    def _filler(self, seconds: Fraction | None) -> tuple[Entry, Cursor] | None:
        """Return the next filler if it fits, else the longest that fits, else the next."""
        rotation = self.programme.filler
        successor = self._following(rotation, self.cursors.get(FILLER, Cursor()))
        if successor is None or seconds is None:
            return successor
        seconds += SLACK_S
        if successor[0].seconds <= seconds:
            return successor
        fitting = [
            entry
            for entry in rotation.entries
            if self._allowed(entry) and entry.seconds <= seconds
        ]
        best = max(fitting, key=lambda entry: entry.seconds, default=None)
        return successor if best is None else (best, replace(successor[1], last=best.pk))

    def _fill(self, limit: tuple[datetime, str] | None, because: str) -> Pick:
        filler = self._filler(None if limit is None else between(self.at, limit[0]))
        if filler is not None and limit is None and (cut := self.limit(filler[0].seconds)):
            limit, filler = cut, self._filler(between(self.at, cut[0]))
        if filler is None:
            ends = moment(self.at, self.programme.slate) if limit is None else limit[0]
            length = self._seconds_until(ends)
            sentence = f"{self._list_name()}: {because}, and there is no filler."
            return Pick(
                None,
                self.at,
                moment(self.at, length),
                self.rule,
                sentence,
                end=length,
                cursors=self.cursors,
            )
        entry, cursor = filler
        end = (
            entry.seconds
            if limit is None
            else min(entry.seconds, self._seconds_until(limit[0]))
        )
        return self._result(entry, cursor, Fraction(0), end, FILLER, because)

    # ---- the result

    def _result(
        self,
        entry: Entry,
        cursor: Cursor,
        start: Fraction,
        end: Fraction,
        rule: str,
        because: str = "",
    ) -> Pick:
        end = min(end, entry.seconds)
        at_end = moment(self.at, end - start)
        cut = end < entry.seconds
        resumes = cut and rule != FILLER
        cursor = replace(
            cursor, into=end if resumes else None, cut_at=at_end if resumes else None
        )
        return Pick(
            entry,
            self.at,
            at_end,
            rule,
            self._sentence(rule, start, cut=cut, because=because),
            start,
            end,
            {**self.cursors, rule: cursor},
        )

    def _list_name(self) -> str:
        return "The base playlist" if self.slot is None else f"Block “{self.slot.block.name}”"

    def _sentence(self, rule: str, start: Fraction, *, cut: bool, because: str) -> str:
        text = (
            f"{self._list_name()}: {because}, so filler plays"
            if rule == FILLER
            else self._reason()
        )
        if start:
            text += f", resumed at {float(start):.0f} s"
        if cut:
            text += ", cut for the next block"
        return text + "."

    def _reason(self) -> str:
        if self.slot is None:
            return "The base playlist, because no block is on"
        local = [
            edge.astimezone(self.programme.zone) for edge in (self.slot.begins, self.slot.ends)
        ]
        span = " to ".join(f"{edge:%H:%M:%S}".removesuffix(":00") for edge in local)
        return f"Block “{self.slot.block.name}” is on from {span}"
