"""Where one player's stream ends in the feed, and the next one's may begin: to the frame."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import structlog

from media_library.house_format import AAC_FRAME, SAMPLE_RATE, HouseFormat
from streams.playout.ffmpeg import mpegts
from streams.playout.ffmpeg.monitored_process import Role
from streams.playout.ffmpeg.pipe import Feed
from streams.playout.player.timeline import Slot, on_frame
from streams.programme.item import Kind

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

AUDIO_FRAME: Final = Fraction(AAC_FRAME, SAMPLE_RATE)
#: Seconds of a cut turn that are still sent where what follows is wanted at once: a relay takes
#: a third of one to begin.
REST: Final = Fraction(3, 4)
ALL: Final = Fraction(1 << 20)


#: Bytes of the end of what waits that are looked through for a live feed's end: a keyframe.
END: Final = 1_000 * mpegts.PACKET


@dataclass(frozen=True, slots=True)
class Seen:
    """Where a relay's stream ended when it had written so many bytes."""

    size: int
    end: Fraction


def look(feed: Feed, slot: Slot, player: Role, house: HouseFormat) -> Seen | None:
    """Where a relay's stream ends by now; None: nothing of it waits.

    Once the hub has had everything that is not to be seen any more.
    """
    size = player.progress.total_size
    near = slot.start + Fraction(player.progress.out_time_us or 0, 1_000_000)
    found = mpegts.end(mpegts.tail(feed.peek()[-END:]), near, house.frame, AUDIO_FRAME)
    if size is None or found is None or found <= slot.start:
        return None
    return Seen(size, found)


def end_of(
    feed: Feed,
    slot: Slot,
    player: Role,
    house: HouseFormat,
    *,
    sharp: bool = False,
    sent: Fraction | None = None,
    tail: mpegts.Tail | None = None,
    seen: Seen | None = None,
) -> Fraction:
    """Where the ended player's stream ends on the feed's clock: looked up in the pipe.

    `sharp`: all but a rest of what waits is taken back. That may be more than the player put
    in: then it ends before its start. `sent`: what the hub sends now, if that is known. `tail`:
    what was seen of an item's end before; `seen`: where a live feed ended when seen last.
    """
    length, code = slot.turn.length(house), player.process.code()
    told = Fraction(player.progress.out_time_us or 0, 1_000_000)
    if code == 0 and length is not None and told > length - 1 and not player.halted:
        return slot.start + length
    near = slot.start + told
    cut = player.halted or code not in {0, None}
    if sharp or slot.item.kind is Kind.LIVE:
        # Of a live feed all is kept: but its last picture waits for the next one to be whole,
        # and its sound does not.
        place = _cut(feed, REST if sharp else ALL)
        if place is not None:
            return mpegts.unwrap(place, near)
    found = mpegts.end(mpegts.tail(feed.peek()), near, house.frame, AUDIO_FRAME, cut=cut)
    if found is not None and (sharp or found > slot.start):
        return found
    # The pipe is empty: the hub has had everything.
    if seen is not None and seen.size >= (player.progress.total_size or 0):
        return seen.end
    before = None if tail is None else mpegts.end(tail, near, house.frame, AUDIO_FRAME, cut=cut)
    if before is not None and before > near and slot.item.kind is not Kind.LIVE:
        return before
    if slot.item.kind is Kind.LIVE and player.written:
        # A relay reports each frame; the last of its sound may not have left the muxer.
        played = Fraction(player.written, 1_000_000) - AUDIO_FRAME
        return slot.start + on_frame(played, house.frame)
    if slot.item.kind is Kind.LIVE and sent is not None and code is None:
        # An adopted one whose feed is frozen reports nothing: but nothing is sent before its
        # time.
        near = max(near, sent)
    return on_frame(near, house.frame) + house.frame if near > slot.start else slot.start


def _cut(feed: Feed, seconds: Fraction) -> int | None:
    """Take back what waits behind so many seconds. Where it ends now, in ticks."""
    places: list[int | None] = []

    def keep(data: bytes) -> bytes:
        head = mpegts.head(data, seconds)
        places.append(head.end)
        # Without a picture there is nothing to cut at.
        return data if head.end is None else head.data

    feed.shorten(keep)
    return places[-1] if places else None


def align(feed: Feed) -> None:
    """Fill up a packet that a killed player left unfinished, or the next one is misread."""
    missing = mpegts.tail(feed.peek()).missing
    if missing and not feed.write_now(b"\xff" * missing):
        log.warning("feed.misaligned", missing=missing)
