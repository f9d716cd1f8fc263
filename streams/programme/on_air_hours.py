"""Computes when a channel's hours start and stop it. Pure.

Only the moments at which hours begin and end count: a person's Start or Stop in between stands
until the next one. After a downtime only the last missed moment is carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from streams.programme.block_times import slots
from streams.programme.lookahead import Span, merged
from streams.programme.model import Programme

#: How far ahead the next edge is searched: hours recur every week.
LOOKAHEAD: Final = timedelta(days=8)
#: Margin on both sides: hours farther away can't affect the span in question.
MARGIN: Final = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Edge:
    """A moment at which the channel goes on or off the air."""

    at: datetime
    on: bool


def spans(hours: Programme, begins: datetime, ends: datetime) -> list[Span]:
    """Return the hours from `begins` to `ends`, and some around them, merged if they touch.

    `hours`: as blocks (`streams.planning.forecast.hours_of`).
    """
    occurrences = slots(hours, begins - MARGIN, ends + MARGIN)
    return merged((slot.begins, slot.ends) for slot in occurrences)


def edges(hours: Programme, after: datetime, until: datetime) -> list[Edge]:
    """Return the edges after `after` and up to `until`, in order."""
    inside = [
        edge
        for begins, ends in spans(hours, after, until)
        for edge in (Edge(begins, on=True), Edge(ends, on=False))
        if after < edge.at <= until
    ]
    return sorted(inside, key=lambda edge: edge.at)


def due(hours: Programme, done: datetime | None, now: datetime) -> Edge | None:
    """Return the edge to carry out now; None: nothing.

    `done`: the moment up to which the hours were carried out. None: they are new. New hours
    start a channel that should be on the air, but never stop one: an operator who sets up hours
    while the channel plays does not want to interrupt it.
    """
    if done is not None:
        return next(iter(reversed(edges(hours, done, now))), None)
    inside = any(begins <= now < ends for begins, ends in spans(hours, now, now))
    return Edge(now, on=True) if inside else None


def coming(hours: Programme, now: datetime) -> Edge | None:
    """Return the next edge within a week, if there is one."""
    return next(iter(edges(hours, now, now + LOOKAHEAD)), None)
