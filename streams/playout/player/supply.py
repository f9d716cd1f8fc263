"""Measures how many seconds of air a player has delivered, and detects stalls."""

from __future__ import annotations

import stat
from fractions import Fraction
from pathlib import Path
from typing import Final

from media_library.house_format import HouseFormat
from streams.playout.contract.plan import Policy
from streams.playout.ffmpeg import mpegts
from streams.playout.ffmpeg.monitored_process import MonitoredProcess
from streams.playout.ffmpeg.pipe import FeedPipe
from streams.playout.player import stall
from streams.playout.player.splice import AUDIO_FRAME
from streams.playout.player.timeline import HubClock, Slot

#: Seconds of idleness after which a source has stalled: a player reports once a second.
RUNNING_S: Final = 1.5
#: Seconds that a player may take to its first report while there is little in the pipe:
#: FFmpeg's own start takes a tenth of a second, and delays of a busy machine do not count.
FIRST_S: Final = 0.5


class Supply:
    """Tracks how well the present player fills the feed."""

    def __init__(self, feed: FeedPipe, policy: Policy) -> None:
        self.feed = feed
        self.policy = policy
        #: The pipe was full enough since the last reset: low water counts at once.
        self.filled = False
        #: The latest observed end of the present player's output. The hub takes out more than
        #: it sends: for an item of low bit rate the pipe may be empty seconds before the end.
        self.tail: mpegts.Tail | None = None
        self._idle: stall.Idle | None = None

    @property
    def in_doubt(self) -> bool:
        """Whether the pipe is not full, so that a quick poll is needed."""
        return self._idle is not None

    def begin(self) -> None:
        """Reset for another player."""
        self._idle = self.tail = None

    def drained(self) -> None:
        """The pipe was drained on purpose: the next player gets its time to start."""
        self.filled, self._idle = False, None

    def stalled(
        self,
        slot: Slot,
        player: MonitoredProcess,
        clock: HubClock | None,
        house_format: HouseFormat,
        now: float,
    ) -> bool | None:
        """Whether the player's source has stalled; None: enough is buffered."""
        if self._full():
            self.filled, self._idle = True, None
            return None
        fed = slot.start + Fraction(player.progress.out_time_us or 0, 1_000_000)
        buffered = self._buffered(fed, player.moved, clock, house_format, now)
        low = self.policy.low_water
        self.filled = self.filled or buffered >= low
        seen = stall.Observation(
            now,
            max(player.since, player.moved),
            buffered,
            fed,
            stall.work_of(player.process.pid),
            local=_reads_file(player),
            filled=self.filled and clock is not None,
        )
        patience = stall.Bounds(
            low,
            running=RUNNING_S if player.has_moved else FIRST_S,
            starting=self.policy.first_byte,
            local=self.policy.stall,
        )
        self._idle, stalled = stall.step(self._idle, seen, patience)
        return None if buffered >= low else stalled

    def _full(self) -> bool:
        return self.feed.waiting_bytes() >= stall.FULL_SHARE * self.feed.capacity

    def _buffered(
        self,
        reported: Fraction,
        moved: float,
        clock: HubClock | None,
        house_format: HouseFormat,
        now: float,
    ) -> float:
        """Seconds of air waiting in the pipe.

        `reported`: position on the feed up to which the player has reported to have fed.
        """
        sent = None if clock is None else clock.position(now)
        fresh = now - moved < RUNNING_S
        if fresh and sent is not None and reported - sent >= self.policy.low_water:
            # The player reports once a second, so there is more by now.
            return float(reported - sent)
        tail = mpegts.tail(self.feed.peek())
        end = mpegts.end(tail, reported, house_format.frame, AUDIO_FRAME)
        if end is not None and end > reported:
            self.tail = tail
        elif self.tail is not None:
            end = mpegts.end(self.tail, reported, house_format.frame, AUDIO_FRAME)
        fed = max(reported, end or reported)
        if sent is None:
            # Nothing is sent yet, so everything in the pipe waits.
            first = tail.first_dts
            sent = fed if first is None else mpegts.unwrap(first, reported)
        return float(fed - sent)


def _reads_file(player: MonitoredProcess) -> bool:
    """Whether it reads a regular file of this machine, which only a disk can stall."""
    path = player.process.record.notes.get("path")
    if path is None:
        return False
    try:
        return stat.S_ISREG(Path(path).stat().st_mode)
    except OSError:
        return False
