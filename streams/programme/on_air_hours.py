"""When a channel's hours start it and stop it. Pure.

Only the moments count at which hours begin and end: a person's Start or Stop in between stands
until the next of them. After a downtime the last that was missed is made up for, and no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from streams.programme.block_times import slots
from streams.programme.lookahead import Span, merged
from streams.programme.model import Programme

#: How far ahead the next moment is looked for: hours come round every week.
LOOKAHEAD: Final = timedelta(days=8)
#: Hours farther away than this, on both sides, touch nothing that is asked about.
MARGIN: Final = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Edge:
    """A moment at which the channel goes on the air, or off it."""

    at: datetime
    on: bool


def spans(hours: Programme, begins: datetime, ends: datetime) -> list[Span]:
    """All hours from `begins` to `ends`, and some around them; those that touch are one.

    `hours`: as blocks (`streams.planning.forecast.hours_of`).
    """
    occurrences = slots(hours, begins - MARGIN, ends + MARGIN)
    return merged((slot.begins, slot.ends) for slot in occurrences)


def edges(hours: Programme, after: datetime, until: datetime) -> list[Edge]:
    """Those behind `after` and not behind `until`, the first one first."""
    inside = [
        edge
        for begins, ends in spans(hours, after, until)
        for edge in (Edge(begins, on=True), Edge(ends, on=False))
        if after < edge.at <= until
    ]
    return sorted(inside, key=lambda edge: edge.at)


def due(hours: Programme, done: datetime | None, now: datetime) -> Edge | None:
    """What must be ordered now; None: nothing.

    `done`: up to when the hours were carried out. None: they are new. Then they start the
    channel if it should be on the air, but never stop it: whoever sets up hours beside a
    channel that plays does not want to lose it.
    """
    if done is not None:
        return next(iter(reversed(edges(hours, done, now))), None)
    inside = any(begins <= now < ends for begins, ends in spans(hours, now, now))
    return Edge(now, on=True) if inside else None


def coming(hours: Programme, now: datetime) -> Edge | None:
    """The next edge, if there is one within a week."""
    return next(iter(edges(hours, now, now + LOOKAHEAD)), None)
