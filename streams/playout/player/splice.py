"""Where one player's stream ends in the feed, and the next one's may begin: to the frame."""

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
#: Seconds of a cut turn that are still sent where what follows is wanted at once: a relay takes
#: a third of one to begin.
CUT_REMAINDER_S: Final = Fraction(3, 4)
EVERYTHING_S: Final = Fraction(1 << 20)


#: Bytes of the end of what waits that are looked through for a live feed's end: a keyframe.
TAIL_BYTES: Final = 1_000 * mpegts.PACKET


@dataclass(frozen=True, slots=True)
class ObservedEnd:
    """Where a relay's stream ended when it had written so many bytes."""

    size: int
    end: Fraction


def observe_end(
    feed: FeedPipe, slot: Slot, player: MonitoredProcess, house_format: HouseFormat
) -> ObservedEnd | None:
    """Where a relay's stream ends by now; None: nothing of it waits.

    Once the hub has had everything that is not to be seen any more.
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
    """Where the ended player's stream ends on the feed's clock: looked up in the pipe.

    `sharp`: all but a rest of what waits is taken back. That may be more than the player put
    in: then it ends before its start. `sent`: what the hub sends now, if that is known. `tail`:
    what was seen of an item's end before; `seen`: where a live feed ended when seen last.
    """
    length, code = slot.turn.length(house_format), player.process.code()
    reported = Fraction(player.progress.out_time_us or 0, 1_000_000)
    if code == 0 and length is not None and reported > length - 1 and not player.halted:
        return slot.start + length
    near = slot.start + reported
    cut = player.halted or code not in {0, None}
    if sharp or slot.item.kind is Kind.LIVE:
        # Of a live feed all is kept: but its last picture waits for the next one to be whole,
        # and its sound does not.
        place = _cut(feed, CUT_REMAINDER_S if sharp else EVERYTHING_S)
        if place is not None:
            return mpegts.unwrap(place, near)
    waiting = mpegts.end(
        mpegts.tail(feed.peek()), near, house_format.frame, AUDIO_FRAME, cut=cut
    )
    if waiting is not None and (sharp or waiting > slot.start):
        return waiting
    # The pipe is empty: the hub has had everything.
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
        # A relay reports each frame; the last of its sound may not have left the muxer.
        played = Fraction(player.written, 1_000_000) - AUDIO_FRAME
        return slot.start + on_frame(played, house_format.frame)
    if slot.item.kind is Kind.LIVE and sent is not None and code is None:
        # An adopted one whose feed is frozen reports nothing: but nothing is sent before its
        # time.
        near = max(near, sent)
    return (
        on_frame(near, house_format.frame) + house_format.frame
        if near > slot.start
        else slot.start
    )


def _cut(feed: FeedPipe, seconds: Fraction) -> int | None:
    """Take back what waits behind so many seconds. Where it ends now, in ticks."""
    places: list[int | None] = []

    def keep(data: bytes) -> bytes:
        head = mpegts.head(data, seconds)
        places.append(head.end)
        # Without a picture there is nothing to cut at.
        return data if head.end is None else head.data

    feed.shorten(keep)
    return places[-1] if places else None


def align(feed: FeedPipe) -> None:
    """Fill up a packet that a killed player left unfinished, or the next one is misread."""
    missing = mpegts.tail(feed.peek()).missing
    if missing and not feed.write_now(b"\xff" * missing):
        log.warning("feed.misaligned", missing=missing)
