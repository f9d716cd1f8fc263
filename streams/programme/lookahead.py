"""Computes what a channel will have on air, within its hours and as viewers see it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction

from streams.programme.item import Kind
from streams.programme.model import FILLER, Cursors, Pick, Programme
from streams.programme.schedule import between, preview

#: A start and an end.
Span = tuple[datetime, datetime]


def spans(begins: datetime, until: datetime, hours: Iterable[Span], *, on: bool) -> list[Span]:
    """Return when a channel will be on air: its present state, changed by its hours.

    A channel started outside its hours runs until they next end. A channel stopped within them
    stays off until they next begin.
    """
    on_air: list[Span] = []
    since = begins if on else None
    for opens, ends in merged(hours):
        if since is None and begins < opens < until:
            since = opens
        if since is not None and since < ends <= until:
            on_air.append((since, ends))
            since = None
    return [*on_air, (since, until)] if since is not None and since < until else on_air


def merged(hours: Iterable[Span]) -> list[Span]:
    """Merge spans that overlap or touch, and drop empty ones."""
    joined: list[Span] = []
    for opens, ends in sorted(hours):
        if opens >= ends:
            continue
        if joined and opens <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], ends))
        else:
            joined.append((opens, ends))
    return joined


def picks(programme: Programme, on_air: Sequence[Span], cursors: Cursors) -> Iterator[Pick]:
    """Yield the picks of these spans if nothing fails. Each span's end cuts the item."""
    for begins, ends in on_air:
        for pick in preview(programme, begins, ends, cursors):
            shortened = pick if pick.ends <= ends else _cut_pick(pick, ends)
            cursors = shortened.cursors
            yield shortened


def _cut_pick(pick: Pick, ends: datetime) -> Pick:
    end = pick.start + between(pick.begins, ends)
    cursors = pick.cursors
    if pick.entry is not None and pick.rule != FILLER:
        cursor = replace(cursors[pick.rule], into=end, cut_at=ends)
        cursors = {**cursors, pick.rule: cursor}
    return replace(pick, ends=ends, end=end, cursors=cursors)


@dataclass(frozen=True, slots=True)
class Airing:
    """An entry of the guide, from one moment to another."""

    kind: Kind
    title: str
    begins: datetime
    ends: datetime
    rule: str = ""
    #: Seconds into the item at which it starts.
    into: Fraction = Fraction(0)
    #: The item's id; None if it is not an item of the library.
    media: int | None = None


def airings(picked: Iterable[Pick]) -> Iterator[Airing]:
    """Convert picks to airings, each stretch of filler and slate as one."""
    return joined(map(_airing, picked))


def joined(parts: Iterable[Airing]) -> Iterator[Airing]:
    """Join consecutive filler and slate; parts of an item stay separate."""
    last: Airing | None = None
    for part in parts:
        if last is None:
            last = part
        elif Kind.ITEM not in {last.kind, part.kind} and last.ends == part.begins:
            last = replace(last, ends=part.ends)
        else:
            yield last
            last = part
    if last is not None:
        yield last


def _airing(pick: Pick) -> Airing:
    entry = pick.entry
    if entry is None:
        return Airing(Kind.SLATE, "", pick.begins, pick.ends, pick.rule)
    return Airing(
        Kind.FILLER if pick.rule == FILLER else Kind.ITEM,
        entry.item.title,
        pick.begins,
        pick.ends,
        pick.rule,
        pick.start,
        entry.item.media,
    )
