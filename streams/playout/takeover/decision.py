"""Decides when a live feed replaces the programme, and when the programme returns. Pure.

    PROGRAMME ──a feed is ready──▶ LIVE ──it broke, or is silent for 3 s─────▶ TROUBLE
        │  ▲                       ▲ │                                           │  │
        │  ├─its publisher ended it┼─┤◀───────────────a feed is ready────────────┘  │
        │  ├───returned by hand────┼─┘                                              │
        │  └───────────────────────┼────the hold is over, or returned by hand───────┘
        │                          │
        └──it has no video────▶ SOON ──it ended, or 30 s went by──▶ PROGRAMME

A feed is ready when it has lasted for the debounce and its video arrives steadily: a conformer
that ends still outputs the last frames it held back. The video is measured at the conformer
instead of trusting the ingest server's status: unknown is not offline.

A stream that is gone was ended by its publisher if the server says so. If the server does not
know (MediaMTX), the way the data stopped decides: a connection that is closed while video
arrives was closed by the publisher's side; a connection that breaks is silent first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from streams.playout.contract.live_feed import LOST_S, IngestState, LiveFeed

#: Seconds for which video must have arrived before a feed goes on air, and maximum seconds
#: since the last frame: the last output of an ending conformer lasts less.
STEADY_S: Final = 1.0
FRESH_S: Final = 1.0
#: Seconds beyond the debounce before viewers see that a feed without video is announced.
GRACE_S: Final = 2.0
#: Seconds for which viewers see the slate that somebody goes live soon.
SOON_S: Final = 30.0
#: Minimum seconds on air of a feed or the programme before another feed replaces it: a feed
#: that comes and goes must not make the channel flicker.
DWELL_S: Final = 5.0


#: Parts of audio codec names as MediaMTX and nginx-rtmp report them, in lower case.
_AUDIO_CODECS: Final = (
    *("aac", "mpeg-4 audio", "mp3", "mpeg-1/2 audio", "opus", "ac-3", "ac3", "vorbis"),
    *("speex", "g711", "g722", "g726", "lpcm", "nellymoser"),
)
ENDED: Final = "The publisher has ended the stream."


class Shown(StrEnum):
    PROGRAMME = "programme"
    #: The slate that announces that somebody goes live soon.
    SOON = "soon"
    LIVE = "live"
    #: The slate that reports technical difficulties.
    TROUBLE = "trouble"


@dataclass(frozen=True, slots=True)
class Signal:
    """Measurements of a feed. Times are seconds of the monotonic clock."""

    #: When it was first seen.
    began: float
    #: Whether its video arrives.
    has_video: bool
    #: When its last frame arrived.
    moved: float
    #: Since when video has arrived without a gap.
    since: float = float("-inf")
    #: Why it can't be read, as a sentence; empty: it can, or that is unknown.
    fault: str = ""


@dataclass(frozen=True, slots=True)
class State:
    shown: Shown = Shown.PROGRAMME
    #: Seconds of the monotonic clock.
    since: float = float("-inf")
    #: The feed that is on air, announced or lost.
    stream: int | None = None
    #: A sentence for people.
    why: str = ""
    #: Feeds that had no video for so long that they are not announced again.
    given_up: frozenset[int] = frozenset()


def decide(
    state: State, ingest: IngestState, signals: Mapping[int, Signal], now: float
) -> State:
    """Decide what is shown from now on."""
    given_up = state.given_up & ingest.present
    state = replace(state, given_up=given_up) if given_up != state.given_up else state
    if ingest.returned and state.shown is not Shown.PROGRAMME:
        return _return_to_programme(state, "Returned by hand.", now)
    ready = next((f for f in ingest.feeds if is_ready(f, ingest, signals, now)), None)
    match state.shown:
        case Shown.PROGRAMME:
            return _programme(state, ingest, signals, ready, now)
        case Shown.SOON:
            return _soon(state, ingest, signals, ready, now)
        case Shown.LIVE:
            return _live(state, ingest, signals, ready, now)
        case Shown.TROUBLE:
            if ready is not None:
                return _go_live(state, ready, now)
            if state.stream in ingest.finished:
                return _return_to_programme(state, ENDED, now)
            if now - state.since >= ingest.hold:
                why = f"The feed did not come back within {ingest.hold:.0f} s."
                return _return_to_programme(_give_up(state), why, now)
            return state


def streams_to_read(
    state: State, ingest: IngestState, signals: Mapping[int, Signal]
) -> Iterator[int]:
    """Yield the streams to read and encode now: the one on air and its possible successors."""
    if ingest.returned:
        return
    if state.shown is Shown.LIVE and state.stream in ingest.present:
        yield state.stream
    for feed in ingest.feeds:
        if state.shown is Shown.LIVE and feed.stream == state.stream:
            return
        yield feed.stream
        # A feed of lower rank than one with video is not needed, and costs a third of a core.
        if (signal := signals.get(feed.stream)) is not None and signal.has_video:
            return


def is_ready(
    feed: LiveFeed, ingest: IngestState, signals: Mapping[int, Signal], now: float
) -> bool:
    signal = signals.get(feed.stream)
    if signal is None or not signal.has_video:
        return False
    comes = now - signal.moved < FRESH_S and now - signal.since >= STEADY_S
    return comes and now - signal.began >= ingest.debounce


def _programme(
    state: State,
    ingest: IngestState,
    signals: Mapping[int, Signal],
    ready: LiveFeed | None,
    now: float,
) -> State:
    if now - state.since < DWELL_S:
        return state
    if ready is not None:
        return _go_live(state, ready, now)
    for feed in ingest.feeds:
        signal = signals.get(feed.stream)
        if signal is None or signal.has_video or feed.stream in state.given_up:
            continue
        if signal.fault:
            # Viewers are not shown an announcement of a feed that will not come.
            return replace(state, given_up=state.given_up | {feed.stream})
        if now - signal.began >= ingest.debounce + GRACE_S:
            why = f"{feed.name} goes live: there is no video yet."
            return replace(state, shown=Shown.SOON, since=now, stream=feed.stream, why=why)
    return state


def _soon(
    state: State,
    ingest: IngestState,
    signals: Mapping[int, Signal],
    ready: LiveFeed | None,
    now: float,
) -> State:
    if ready is not None:
        return _go_live(state, ready, now)
    if state.stream is None or state.stream not in {feed.stream for feed in ingest.feeds}:
        return _return_to_programme(state, "The feed ended before its video arrived.", now)
    signal = signals.get(state.stream)
    if signal is not None and signal.fault:
        return _return_to_programme(_give_up(state), signal.fault, now)
    if now - state.since >= SOON_S:
        return _return_to_programme(
            _give_up(state), f"The feed has had no video for {SOON_S:.0f} s.", now
        )
    return state


def _live(
    state: State,
    ingest: IngestState,
    signals: Mapping[int, Signal],
    ready: LiveFeed | None,
    now: float,
) -> State:
    signal = None if state.stream is None else signals.get(state.stream)
    if state.stream in ingest.finished:
        return _return_to_programme(state, ENDED, now)
    if state.stream not in ingest.present:
        if state.stream in ingest.broken or ingest.feeds:
            # The publisher may also have come back by another connection.
            why = "The connection to the feed broke."
            return replace(state, shown=Shown.TROUBLE, since=now, why=why)
        # It was not silent before, or it would not be on air.
        return _return_to_programme(state, ENDED, now)
    if signal is None:
        # Its conformer ended while no supervisor was running.
        why = "The connection to the feed broke."
        return replace(state, shown=Shown.TROUBLE, since=now, why=why)
    if now - signal.moved >= LOST_S:
        # A feed whose conformer has ended gets the same time: the server may report why.
        why = f"The feed has sent no data for {LOST_S:.0f} s."
        return replace(state, shown=Shown.TROUBLE, since=now, why=why)
    if ready is None or ready.stream == state.stream or now - state.since < DWELL_S:
        return state
    # The first ready feed is another one: of a higher rank, or taken by hand.
    return _go_live(state, ready, now)


def _go_live(state: State, feed: LiveFeed, now: float) -> State:
    why = f"{feed.name} is live."
    return replace(state, shown=Shown.LIVE, since=now, stream=feed.stream, why=why)


def _give_up(state: State) -> State:
    """Never announce this feed again; once it has video, it may still go on air."""
    if state.stream is None:
        return state
    return replace(state, given_up=state.given_up | {state.stream})


def _return_to_programme(state: State, why: str, now: float) -> State:
    return replace(state, shown=Shown.PROGRAMME, since=now, stream=None, why=why)


def is_audio(track: str) -> bool:
    """Whether a codec is an audio codec, by the ingest server's name for it."""
    return any(name in track.lower() for name in _AUDIO_CODECS)
