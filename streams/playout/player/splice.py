"""Finds, to the frame, where one player's stream ends in the feed and the next may start."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import structlog

from media_library.house_format import AAC_FRAME, SAMPLE_RATE, HouseFormat
from streams.playout.ffmpeg import mpegts
from streams.playout.ffmpeg.monitored_process import MonitoredProcess
from streams.playout.ffmpeg.pipe import FeedPipe
from streams.playout.player.timeline import Slot, on_frame
from streams.programme.item import Kind

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

AUDIO_FRAME: Final = Fraction(AAC_FRAME, SAMPLE_RATE)
#: Seconds of a cut turn that are still sent if its successor should start at once: a relay
#: takes a third of a second to start.
CUT_REMAINDER_S: Final = Fraction(3, 4)
EVERYTHING_S: Final = Fraction(1 << 20)


#: Bytes at the end of the waiting data that are searched for a live feed's end: one keyframe.
TAIL_BYTES: Final = 1_000 * mpegts.PACKET


@dataclass(frozen=True, slots=True)
class ObservedEnd:
    """The end of a relay's stream when it had written `size` bytes."""

    size: int
    end: Fraction


def observe_end(
    feed: FeedPipe, slot: Slot, player: MonitoredProcess, house_format: HouseFormat
) -> ObservedEnd | None:
    """Return where a relay's stream ends now; None: none of it is waiting.

    Recorded because the end is no longer visible once the hub has taken everything.
    """
    size = player.progress.total_size
    near = slot.start + Fraction(player.progress.out_time_us or 0, 1_000_000)
    end = mpegts.end(
        mpegts.tail(feed.peek()[-TAIL_BYTES:]), near, house_format.frame, AUDIO_FRAME
    )
    if size is None or end is None or end <= slot.start:
        return None
    return ObservedEnd(size, end)


def end_of(
    feed: FeedPipe,
    slot: Slot,
    player: MonitoredProcess,
    house_format: HouseFormat,
    *,
    sharp: bool = False,
    sent: Fraction | None = None,
    tail: mpegts.Tail | None = None,
    seen: ObservedEnd | None = None,
) -> Fraction:
    """Return where the ended player's stream ends on the feed's clock, read from the pipe.

    `sharp`: take back all waiting data except a remainder. That may be more than the player
    wrote: then its end lies before its start. `sent`: the position that the hub sends now, if
    known. `tail`: an earlier observation of an item's end. `seen`: the last observation of a
    live feed's end.
    """
    length, code = slot.turn.length(house_format), player.process.code()
    reported = Fraction(player.progress.out_time_us or 0, 1_000_000)
    if code == 0 and length is not None and reported > length - 1 and not player.halted:
        return slot.start + length
    near = slot.start + reported
    cut = player.halted or code not in {0, None}
    if sharp or slot.item.kind is Kind.LIVE:
        # A live feed is kept completely, except that its last frame is incomplete until the
        # next one arrives, while its audio is not.
        cut_ticks = _cut(feed, CUT_REMAINDER_S if sharp else EVERYTHING_S)
        if cut_ticks is not None:
            return mpegts.unwrap(cut_ticks, near)
    waiting = mpegts.end(
        mpegts.tail(feed.peek()), near, house_format.frame, AUDIO_FRAME, cut=cut
    )
    if waiting is not None and (sharp or waiting > slot.start):
        return waiting
    # The pipe is empty: the hub has taken everything.
    if seen is not None and seen.size >= (player.progress.total_size or 0):
        return seen.end
    before = (
        None
        if tail is None
        else mpegts.end(tail, near, house_format.frame, AUDIO_FRAME, cut=cut)
    )
    if before is not None and before > near and slot.item.kind is not Kind.LIVE:
        return before
    if slot.item.kind is Kind.LIVE and player.written:
        # A relay reports each frame; its last audio frame may still be in the muxer.
        played = Fraction(player.written, 1_000_000) - AUDIO_FRAME
        return slot.start + on_frame(played, house_format.frame)
    if slot.item.kind is Kind.LIVE and sent is not None and code is None:
        # An adopted relay whose feed is frozen reports nothing, but nothing is sent ahead of
        # time.
        near = max(near, sent)
    return (
        on_frame(near, house_format.frame) + house_format.frame
        if near > slot.start
        else slot.start
    )


def _cut(feed: FeedPipe, seconds: Fraction) -> int | None:
    """Take back the data that waits behind so many seconds. Returns its end in ticks."""
    places: list[int | None] = []

    def keep(data: bytes) -> bytes:
        head = mpegts.head(data, seconds)
        places.append(head.end)
        # There is no video frame to cut at.
        return data if head.end is None else head.data

    feed.cut(keep)
    return places[-1] if places else None


def align(feed: FeedPipe) -> None:
    """Complete a packet that a killed player left unfinished, so that the next is readable."""
    missing = mpegts.tail(feed.peek()).missing
    if missing and not feed.write_now(b"\xff" * missing):
        log.warning("feed.misaligned", missing=missing)
