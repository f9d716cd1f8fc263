"""When the owner's live feed replaces the programme, and when that comes back. Pure.

    PROGRAMME ──a feed is ready──▶ LIVE ──it ended, or gives nothing for 3 s──▶ TROUBLE
        │  ▲                       ▲ │                                           │  │
        │  └───returned by hand────┼─┘◀───────────────a feed is ready────────────┘  │
        │  └───────────────────────┼────the hold is over, or returned by hand───────┘
        │                          │
        └──it has no picture──▶ SOON ──it ended, or 30 s went by──▶ PROGRAMME

A feed is ready when it has lasted for the debounce and its picture comes. What comes is
measured at the conformer, not taken from what the ingest server says: unknown is not offline.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from streamsite.secret import Secret

#: Seconds without data after which a feed is lost.
LOST: Final = 3.0
#: Seconds that a feed without a picture is given beyond the debounce before viewers are told.
GRACE: Final = 2.0
#: Seconds for which they are told that somebody goes live soon.
SOON: Final = 30.0
#: Seconds for which a feed or the programme is on at least before another feed replaces it: one
#: that comes and goes must not make the channel flicker.
DWELL: Final = 5.0


class Shown(StrEnum):
    PROGRAMME = "programme"
    #: The slate that says that somebody goes live soon.
    SOON = "soon"
    LIVE = "live"
    #: The slate that says that there are technical difficulties.
    TROUBLE = "trouble"


@dataclass(frozen=True, slots=True)
class LiveFeed:
    """A broadcaster's stream at the ingest server."""

    #: The ledger's names of the stream and of who sends it.
    stream: int
    broadcaster: int
    name: str
    #: Where it is read. It may hold a token.
    url: Secret
    #: When it was asked for, in seconds since the epoch: it went live, or was taken by hand.
    asked: float
    #: False: it is known to have none.
    has_audio: bool = True


@dataclass(frozen=True, slots=True)
class Wish:
    """What people and the ingest server want of a channel."""

    #: Feeds that may be on, best first. Of a feed that was taken by hand: that one alone.
    feeds: tuple[LiveFeed, ...] = ()
    #: Streams that are there, also those which may not be on now.
    present: frozenset[int] = frozenset()
    #: The programme was taken back by hand.
    returned: bool = False
    #: Seconds that a feed has to last before it is on.
    debounce: float = 3.0
    #: Seconds for which a lost feed is waited for.
    hold: float = 20.0


@dataclass(frozen=True, slots=True)
class Signal:
    """What was measured of a feed. Times are seconds of the monotonic clock."""

    #: When it was seen first.
    began: float
    #: Whether its picture comes.
    picture: bool
    #: When data came last.
    moved: float


@dataclass(frozen=True, slots=True)
class State:
    shown: Shown = Shown.PROGRAMME
    #: Seconds of the monotonic clock.
    since: float = float("-inf")
    #: The feed that is on, waited for or missed.
    stream: int | None = None
    #: A sentence for people.
    why: str = ""
    #: Feeds that had no picture, or none any more, for so long that nobody is told of them.
    given_up: frozenset[int] = frozenset()


def decide(state: State, wish: Wish, signals: Mapping[int, Signal], now: float) -> State:
    """What is to be shown from now on."""
    given_up = state.given_up & wish.present
    state = replace(state, given_up=given_up) if given_up != state.given_up else state
    if wish.returned and state.shown is not Shown.PROGRAMME:
        return _back(state, "Returned by hand.", now)
    ready = next((f for f in wish.feeds if is_ready(f, wish, signals, now)), None)
    match state.shown:
        case Shown.PROGRAMME:
            return _programme(state, wish, signals, ready, now)
        case Shown.SOON:
            return _soon(state, wish, ready, now)
        case Shown.LIVE:
            return _live(state, wish, signals, ready, now)
        case Shown.TROUBLE:
            if ready is not None:
                return _on(state, ready, now)
            if now - state.since >= wish.hold:
                why = f"The feed did not come back within {wish.hold:.0f} s."
                return _back(_tired(state), why, now)
            return state


def conformed(state: State, wish: Wish, signals: Mapping[int, Signal]) -> Iterator[int]:
    """The streams that are to be read and encoded now: what is on, and what may follow."""
    if wish.returned:
        return
    if state.shown is Shown.LIVE and state.stream in wish.present:
        yield state.stream
    for feed in wish.feeds:
        if state.shown is Shown.LIVE and feed.stream == state.stream:
            return
        yield feed.stream
        # Of lower rank than one that has a picture: it costs a third of a core for nothing.
        if (signal := signals.get(feed.stream)) is not None and signal.picture:
            return


def is_ready(feed: LiveFeed, wish: Wish, signals: Mapping[int, Signal], now: float) -> bool:
    signal = signals.get(feed.stream)
    if signal is None or not signal.picture:
        return False
    return now - signal.moved < LOST and now - signal.began >= wish.debounce


def _programme(
    state: State, wish: Wish, signals: Mapping[int, Signal], ready: LiveFeed | None, now: float
) -> State:
    if now - state.since < DWELL:
        return state
    if ready is not None:
        return _on(state, ready, now)
    for feed in wish.feeds:
        signal = signals.get(feed.stream)
        if signal is None or signal.picture or feed.stream in state.given_up:
            continue
        if now - signal.began >= wish.debounce + GRACE:
            why = f"{feed.name} goes live: the picture is not there yet."
            return replace(state, shown=Shown.SOON, since=now, stream=feed.stream, why=why)
    return state


def _soon(state: State, wish: Wish, ready: LiveFeed | None, now: float) -> State:
    if ready is not None:
        return _on(state, ready, now)
    if state.stream not in {feed.stream for feed in wish.feeds}:
        return _back(state, "The feed ended before there was a picture.", now)
    if now - state.since >= SOON and state.stream is not None:
        return _back(_tired(state), f"The feed has had no picture for {SOON:.0f} s.", now)
    return state


def _live(
    state: State, wish: Wish, signals: Mapping[int, Signal], ready: LiveFeed | None, now: float
) -> State:
    signal = None if state.stream is None else signals.get(state.stream)
    if state.stream not in wish.present:
        return replace(state, shown=Shown.TROUBLE, since=now, why="The feed has ended.")
    if signal is None or not signal.picture:
        # None: who read it ended while nobody supervised.
        why = "The connection to the feed broke."
        return replace(state, shown=Shown.TROUBLE, since=now, why=why)
    if now - signal.moved >= LOST:
        why = f"Nothing has come from the feed for {LOST:.0f} s."
        return replace(state, shown=Shown.TROUBLE, since=now, why=why)
    if ready is None or ready.stream == state.stream or now - state.since < DWELL:
        return state
    # The first that is ready, and not this one: of a higher rank, or taken by hand.
    return _on(state, ready, now)


def _on(state: State, feed: LiveFeed, now: float) -> State:
    why = f"{feed.name} is live."
    return replace(state, shown=Shown.LIVE, since=now, stream=feed.stream, why=why)


def _tired(state: State) -> State:
    """Nobody is told of this feed again; with a picture it may be on all the same."""
    if state.stream is None:
        return state
    return replace(state, given_up=state.given_up | {state.stream})


def _back(state: State, why: str, now: float) -> State:
    return replace(state, shown=Shown.PROGRAMME, since=now, stream=None, why=why)
