"""Decides what is done about a flaw of the air, by the channel's rules. Pure.

Never in a loop: each turn is acted on once, and a few within an hour at most. What is left then
is a programme that is at fault as a whole, and people know of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from streams.playout.contract.air_flaws import SENTENCES, Watched
from streams.playout.contract.picture import Flaw, Remedy
from streams.playout.contract.turn import TAKEOVER, Turn

HOUR_S: Final = 3600.0
#: Turns that are skipped within an hour.
MAX_SKIPS: Final = 3
#: Sessions of one output that are renewed within an hour.
MAX_RENEWALS: Final = 2


@dataclass(frozen=True, slots=True)
class Playing:
    """What is on air, and since when. All times here are of the monotonic clock."""

    turn: Turn
    since: float


@dataclass(frozen=True, slots=True)
class Past:
    """What was done within the last hour."""

    skips: tuple[float, ...] = ()
    #: When the turn began that was acted on last.
    turn: float | None = None
    renewals: Mapping[int, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Skip:
    """`text`: for the log; `cause`: of the item's end."""

    cause: str
    text: str
    filler: bool


def skip(
    past: Past,
    watched: Watched,
    remedies: Mapping[Flaw, Remedy],
    playing: Playing,
    now: float,
) -> tuple[Past, Skip | str]:
    """Return what is done about the turn on air.

    A text: nothing, and that is worth a line in the log; empty: there is no reason.
    """
    turn = playing.turn
    if turn.stands_in or turn.rule == TAKEOVER or past.turn == playing.since:
        return past, ""
    for flaw in watched.since:
        order = remedies.get(flaw, Remedy.REPORT)
        # Counted to the last look: what came after it is unknown, and no reason to act.
        if order not in {Remedy.SKIP, Remedy.FILLER} or not watched.lasts(flaw, playing.since):
            continue
        recent = tuple(at for at in past.skips if now - at < HOUR_S)
        after = replace(past, skips=recent, turn=playing.since)
        if len(recent) >= MAX_SKIPS:
            return after, (
                f"{turn.item.title} is not skipped: {MAX_SKIPS} items were within an hour."
            )
        cause = f"Skipped by the channel's rule: {SENTENCES[flaw]}"
        done = replace(after, skips=(*recent, now))
        text = f"{turn.item.title} is skipped by the channel's rule. {SENTENCES[flaw]}"
        return done, Skip(cause, text, order is Remedy.FILLER)
    return past, ""


def renews(past: Past, output: int, now: float) -> tuple[Past, bool]:
    """Return whether the session of an output that is late is renewed."""
    recent = tuple(at for at in past.renewals.get(output, ()) if now - at < HOUR_S)
    if len(recent) >= MAX_RENEWALS:
        return past, False
    return replace(past, renewals={**past.renewals, output: (*recent, now)}), True
