"""When the owner's live feed replaces the programme, and when that comes back. Pure.

    PROGRAMME ──a feed is ready──▶ LIVE ──it broke, or gives nothing for 3 s──▶ TROUBLE
        │  ▲                       ▲ │                                           │  │
        │  ├─its publisher ended it┼─┤◀───────────────a feed is ready────────────┘  │
        │  ├───returned by hand────┼─┘                                              │
        │  └───────────────────────┼────the hold is over, or returned by hand───────┘
        │                          │
        └──it has no picture──▶ SOON ──it ended, or 30 s went by──▶ PROGRAMME

A feed is ready when it has lasted for the debounce and its picture comes, steadily: a reader
that ends gives away the last pictures it held back. What comes is measured at the conformer,
not taken from what the ingest server says: unknown is not offline.

A stream that is gone was ended by its publisher where the server says so. Where it can't say
(MediaMTX), the way the data stopped decides: a connection that is closed while pictures come
was closed by the publisher's side; one that breaks is silent first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from streams.playout.contract.live_feed import LOST_S, LiveFeed, Wish

#: Seconds for which a feed's pictures must have come before it is on, and since the last of
#: them at most: what a reader gives away as it ends takes less.
STEADY_S: Final = 1.0
FRESH_S: Final = 1.0
#: Seconds that a feed without a picture is given beyond the debounce before viewers are told.
GRACE_S: Final = 2.0
#: Seconds for which they are told that somebody goes live soon.
SOON_S: Final = 30.0
#: Seconds for which a feed or the programme is on at least before another feed replaces it: one
#: that comes and goes must not make the channel flicker.
DWELL_S: Final = 5.0


#: In names of codecs of sound, as MediaMTX and nginx-rtmp have them, in small letters.
_SOUND: Final = (
    *("aac", "mpeg-4 audio", "mp3", "mpeg-1/2 audio", "opus", "ac-3", "ac3", "vorbis"),
    *("speex", "g711", "g722", "g726", "lpcm", "nellymoser"),
)
ENDED: Final = "The publisher has ended the stream."


class Shown(StrEnum):
    PROGRAMME = "programme"
    #: The slate that says that somebody goes live soon.
    SOON = "soon"
    LIVE = "live"
    #: The slate that says that there are technical difficulties.
    TROUBLE = "trouble"


@dataclass(frozen=True, slots=True)
class Signal:
    """What was measured of a feed. Times are seconds of the monotonic clock."""

    #: When it was seen first.
    began: float
    #: Whether its picture comes.
    picture: bool
    #: When pictures came last.
    moved: float
    #: Since when they have come without a break.
    since: float = float("-inf")
    #: Why it can't be read, in a sentence; empty: it can, or nobody knows.
    fault: str = ""


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
        return _return_to_programme(state, "Returned by hand.", now)
    ready = next((f for f in wish.feeds if is_ready(f, wish, signals, now)), None)
    match state.shown:
        case Shown.PROGRAMME:
            return _programme(state, wish, signals, ready, now)
        case Shown.SOON:
            return _soon(state, wish, signals, ready, now)
        case Shown.LIVE:
            return _live(state, wish, signals, ready, now)
        case Shown.TROUBLE:
            if ready is not None:
                return _go_live(state, ready, now)
            if state.stream in wish.finished:
                return _return_to_programme(state, ENDED, now)
            if now - state.since >= wish.hold:
                why = f"The feed did not come back within {wish.hold:.0f} s."
                return _return_to_programme(_give_up(state), why, now)
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
    comes = now - signal.moved < FRESH_S and now - signal.since >= STEADY_S
    return comes and now - signal.began >= wish.debounce


def _programme(
    state: State, wish: Wish, signals: Mapping[int, Signal], ready: LiveFeed | None, now: float
) -> State:
    if now - state.since < DWELL_S:
        return state
    if ready is not None:
        return _go_live(state, ready, now)
    for feed in wish.feeds:
        signal = signals.get(feed.stream)
        if signal is None or signal.picture or feed.stream in state.given_up:
            continue
        if signal.fault:
            # Viewers are not told of what will not come.
            return replace(state, given_up=state.given_up | {feed.stream})
        if now - signal.began >= wish.debounce + GRACE_S:
            why = f"{feed.name} goes live: the picture is not there yet."
            return replace(state, shown=Shown.SOON, since=now, stream=feed.stream, why=why)
    return state


def _soon(
    state: State, wish: Wish, signals: Mapping[int, Signal], ready: LiveFeed | None, now: float
) -> State:
    if ready is not None:
        return _go_live(state, ready, now)
    if state.stream is None or state.stream not in {feed.stream for feed in wish.feeds}:
        return _return_to_programme(state, "The feed ended before there was a picture.", now)
    signal = signals.get(state.stream)
    if signal is not None and signal.fault:
        return _return_to_programme(_give_up(state), signal.fault, now)
    if now - state.since >= SOON_S:
        return _return_to_programme(
            _give_up(state), f"The feed has had no picture for {SOON_S:.0f} s.", now
        )
    return state


def _live(
    state: State, wish: Wish, signals: Mapping[int, Signal], ready: LiveFeed | None, now: float
) -> State:
    signal = None if state.stream is None else signals.get(state.stream)
    if state.stream in wish.finished:
        return _return_to_programme(state, ENDED, now)
    if state.stream not in wish.present:
        if state.stream in wish.broken or wish.feeds:
            # Or the publisher has come again, by another connection.
            why = "The connection to the feed broke."
            return replace(state, shown=Shown.TROUBLE, since=now, why=why)
        # It was not silent before, or it would not be on.
        return _return_to_programme(state, ENDED, now)
    if signal is None:
        # Who read it ended while nobody supervised.
        why = "The connection to the feed broke."
        return replace(state, shown=Shown.TROUBLE, since=now, why=why)
    if now - signal.moved >= LOST_S:
        # One whose reader has ended is waited for as long: the server may say why.
        why = f"Nothing has come from the feed for {LOST_S:.0f} s."
        return replace(state, shown=Shown.TROUBLE, since=now, why=why)
    if ready is None or ready.stream == state.stream or now - state.since < DWELL_S:
        return state
    # The first that is ready, and not this one: of a higher rank, or taken by hand.
    return _go_live(state, ready, now)


def _go_live(state: State, feed: LiveFeed, now: float) -> State:
    why = f"{feed.name} is live."
    return replace(state, shown=Shown.LIVE, since=now, stream=feed.stream, why=why)


def _give_up(state: State) -> State:
    """Nobody is told of this feed again; with a picture it may be on all the same."""
    if state.stream is None:
        return state
    return replace(state, given_up=state.given_up | {state.stream})


def _return_to_programme(state: State, why: str, now: float) -> State:
    return replace(state, shown=Shown.PROGRAMME, since=now, stream=None, why=why)


def is_sound(track: str) -> bool:
    """Whether a codec is one of sound, by the ingest server's name for it."""
    return any(name in track.lower() for name in _SOUND)
