"""Measures how many seconds of air a player has given, and judges whether it gives on."""

from __future__ import annotations

import stat
from fractions import Fraction
from pathlib import Path

from media_library.house import House
from streams.playout import mpegts, stall
from streams.playout.feed import Feed
from streams.playout.plan import Policy
from streams.playout.role import Role
from streams.playout.seam import AUDIO_FRAME
from streams.playout.timeline import HubClock, Slot


class Supply:
    """The present player's side of the feed."""

    def __init__(self, feed: Feed, policy: Policy) -> None:
        self.feed = feed
        self.policy = policy
        #: There was enough in the pipe since the last reset: low water counts at once.
        self.filled = False
        self._short: stall.Short | None = None

    def begin(self) -> None:
        """Another player is on."""
        self._short = None

    def drained(self) -> None:
        """Little is left in the pipe by intent: what follows gets its time to start."""
        self.filled = False
        self._short = None

    def stalled(
        self, slot: Slot, player: Role, clock: HubClock | None, house: House, now: float
    ) -> bool | None:
        """Whether the player's source gives nothing; None: there is enough of it."""
        if self._full():
            self.filled, self._short = True, None
            return None
        buffered, fed = self._buffered(slot, player, clock, house, now)
        low = self.policy.low_water
        if buffered >= low:
            self.filled, self._short = True, None
            return None
        patience = stall.Patience(
            low, running=0.5, starting=self.policy.first_byte, local=self.policy.stall
        )
        seen = stall.Seen(
            now,
            buffered,
            fed,
            stall.work_of(player.process.pid),
            local=_reads_file(player),
            filled=self.filled and clock is not None,
        )
        self._short, stalled = stall.step(self._short, seen, patience)
        return stalled

    def _full(self) -> bool:
        return self.feed.level() >= stall.FULL_SHARE * self.feed.capacity

    def _buffered(
        self, slot: Slot, player: Role, clock: HubClock | None, house: House, now: float
    ) -> tuple[float, Fraction]:
        """Seconds of air that wait, and up to where on the feed's clock it was fed."""
        told = slot.start + Fraction(player.progress.out_time_us or 0, 1_000_000)
        sent = None if clock is None else clock.position(now)
        if sent is not None and told - sent >= self.policy.low_water:
            # It reports once a second: there is more by now.
            return float(told - sent), told
        tail = mpegts.tail(self.feed.peek())
        fed = mpegts.end(tail, told, house.frame, AUDIO_FRAME)
        if fed is None:
            return (0.0 if sent is None else float(told - sent)), told
        fed = max(fed, told)
        if sent is None and tail.first_dts is not None:
            sent = mpegts.unwrap(tail.first_dts, told)
        return (0.0 if sent is None else float(fed - sent)), fed


def _reads_file(player: Role) -> bool:
    """Whether it reads a regular file of this machine: nothing can stall that but a disk."""
    path = player.process.record.notes.get("path")
    if path is None:
        return False
    try:
        return stat.S_ISREG(Path(path).stat().st_mode)
    except OSError:
        return False
