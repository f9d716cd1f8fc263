"""Measures how many seconds of air a player has given, and judges whether it gives on."""

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

#: Seconds of idleness after which a source is at fault: a player reports once a second.
RUNNING_S: Final = 1.5
#: Seconds that one may take to its first report while there is little in the pipe: FFmpeg's own
#: start takes a tenth of one, and what a busy machine takes longer does not count.
FIRST_S: Final = 0.5


class Supply:
    """The present player's side of the feed."""

    def __init__(self, feed: FeedPipe, policy: Policy) -> None:
        self.feed = feed
        self.policy = policy
        #: There was enough in the pipe since the last reset: low water counts at once.
        self.filled = False
        #: The end of what the present player was seen to have put in. The hub takes out more
        #: than it sends: of a quiet item the pipe may be empty seconds before the end.
        self.tail: mpegts.Tail | None = None
        self._idle: stall.Idle | None = None

    @property
    def in_doubt(self) -> bool:
        """Whether the pipe is not full, so that a quick look is wanted."""
        return self._idle is not None

    def begin(self) -> None:
        """Another player is on."""
        self._idle = self.tail = None

    def drained(self) -> None:
        """Little is left in the pipe by intent: what follows gets its time to start."""
        self.filled, self._idle = False, None

    def stalled(
        self,
        slot: Slot,
        player: MonitoredProcess,
        clock: HubClock | None,
        house_format: HouseFormat,
        now: float,
    ) -> bool | None:
        """Whether the player's source gives nothing; None: there is enough of it."""
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
        return self.feed.level() >= stall.FULL_SHARE * self.feed.capacity

    def _buffered(
        self,
        reported: Fraction,
        moved: float,
        clock: HubClock | None,
        house_format: HouseFormat,
        now: float,
    ) -> float:
        """Seconds of air that wait. `told`: up to where it has reported to have fed."""
        sent = None if clock is None else clock.position(now)
        fresh = now - moved < RUNNING_S
        if fresh and sent is not None and reported - sent >= self.policy.low_water:
            # It reports once a second: there is more by now.
            return float(reported - sent)
        tail = mpegts.tail(self.feed.peek())
        end = mpegts.end(tail, reported, house_format.frame, AUDIO_FRAME)
        if end is not None and end > reported:
            self.tail = tail
        elif self.tail is not None:
            end = mpegts.end(self.tail, reported, house_format.frame, AUDIO_FRAME)
        fed = max(reported, end or reported)
        if sent is None:
            # Nothing is sent yet: all that is there waits.
            first = tail.first_dts
            sent = fed if first is None else mpegts.unwrap(first, reported)
        return float(fed - sent)


def _reads_file(player: MonitoredProcess) -> bool:
    """Whether it reads a regular file of this machine: nothing can stall that but a disk."""
    path = player.process.record.notes.get("path")
    if path is None:
        return False
    try:
        return stat.S_ISREG(Path(path).stat().st_mode)
    except OSError:
        return False
