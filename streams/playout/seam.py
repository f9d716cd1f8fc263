"""Where one player's stream ends in the feed, and the next one's may begin: to the frame."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import structlog

from media_library.house import AAC_FRAME, SAMPLE_RATE, House
from streams.playout import mpegts
from streams.playout.feed import Feed
from streams.playout.item import Kind
from streams.playout.role import Role
from streams.playout.timeline import Slot, on_frame

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

AUDIO_FRAME: Final = Fraction(AAC_FRAME, SAMPLE_RATE)
#: Seconds of a cut turn that are still sent where what follows is wanted at once: a relay takes
#: a third of one to begin.
REST: Final = Fraction(3, 4)
ALL: Final = Fraction(1 << 20)


def end_of(
    feed: Feed,
    slot: Slot,
    player: Role,
    house: House,
    *,
    sharp: bool = False,
    sent: Fraction | None = None,
    seen: mpegts.Tail | None = None,
) -> Fraction:
    """Where the ended player's stream ends on the feed's clock: looked up in the pipe.

    `sharp`: all but a rest of what waits is taken back. That may be more than the player put
    in: then it ends before its start. `sent`: what the hub sends now, if that is known. `seen`:
    what was seen of its end before.
    """
    length, code = slot.turn.length(house), player.process.code()
    told = Fraction(player.progress.out_time_us or 0, 1_000_000)
    if code == 0 and length is not None and told > length - 1 and not player.halted:
        return slot.start + length
    near = slot.start + told
    cut = player.halted or code not in {0, None}
    tail = mpegts.tail(_left(feed, slot, sharp=sharp))
    found = mpegts.end(tail, near, house.frame, AUDIO_FRAME, cut=cut)
    if found is not None and (sharp or found > slot.start):
        return found
    # The pipe is empty: the hub has had everything.
    before = None if seen is None else mpegts.end(seen, near, house.frame, AUDIO_FRAME, cut=cut)
    if before is not None and before > near and slot.item.kind is not Kind.LIVE:
        return before
    if slot.item.kind is Kind.LIVE and player.written:
        # A relay reports each frame; the last of its sound may not have left the muxer.
        return slot.start + Fraction(player.written, 1_000_000) - AUDIO_FRAME
    if slot.item.kind is Kind.LIVE and sent is not None and code is None:
        # An adopted one whose feed is frozen reports nothing: but nothing is sent before its
        # time.
        near = max(near, sent)
    return on_frame(near, house.frame) + house.frame if near > slot.start else slot.start


def _left(feed: Feed, slot: Slot, *, sharp: bool) -> bytes:
    """What is still to be sent."""
    if sharp:
        return feed.shorten(lambda data: mpegts.head(data, REST))
    if slot.item.kind is Kind.LIVE:
        # Its last picture waits for the next one to be whole; its sound does not.
        return feed.shorten(lambda data: mpegts.head(data, ALL))
    return feed.peek()


def align(feed: Feed) -> None:
    """Fill up a packet that a killed player left unfinished, or the next one is misread."""
    missing = mpegts.tail(feed.peek()).missing
    if missing and not feed.write_now(b"\xff" * missing):
        log.warning("feed.misaligned", missing=missing)
