"""The nodes that share the database: which are present, and what each may still take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from streams.models import Channel, ChannelState, Node
from streams.node.observed import Observed
from streams.planning import placement
from streams.planning.placement import Candidate
from streams.playout.contract.fence import LEASE_S

#: Seconds for which another node counts as sharing the database after it was seen. This does
#: not change while the database is unreachable.
PEER_S: Final = 600.0


class Presence:
    """What node `me` knows of the others, by its own clock: clocks are never compared."""

    def __init__(self, me: str, limit: int) -> None:
        self.me = me
        self.limit = limit
        self._seen = Observed[str]()
        self._drains: dict[str, bool] = {}
        self._limits: dict[str, int] = {}
        #: Since when nobody plays each free channel, by the monotonic clock.
        self._free: dict[int, float] = {}

    def read(self, now: datetime, mono: float) -> bool:
        """Read the rows of all nodes. Returns whether others share the database."""
        rows = Node.objects.exclude(seen_at=None)
        fields = ("name", "seen_at", "max_channels", "drain_ordered_at")
        self._drains, self._limits = {}, {}
        for name, seen, limit, drain in rows.values_list(*fields):
            self._drains[name] = drain is not None
            # A node of the version before reports no limit: it counts as full.
            self._limits[name] = limit or 0
            if name != self.me:
                recent = seen is not None and abs((now - seen).total_seconds()) < PEER_S
                self._seen.see(name, seen, mono, age=0.0 if recent else PEER_S)
        self._seen.keep(self._limits)
        return any(age < PEER_S for age in self._seen.ages(mono).values())

    @property
    def drains(self) -> bool:
        return self._drains.get(self.me, False)

    def candidates(self, mono: float) -> list[Candidate]:
        """Return this node and those that have reported within the time of a lease."""
        owners = ChannelState.objects.filter(channel__desired_state=Channel.DesiredState.ON)
        carried = Counter(owners.exclude(owner="").values_list("owner", flat=True))
        carried.update(owners.exclude(second_owner="").values_list("second_owner", flat=True))
        present = [name for name, age in self._seen.ages(mono).items() if age < LEASE_S]
        return [
            Candidate(self.me, self.limit, carried[self.me], self.drains),
            *(
                Candidate(name, self._limits[name], carried[name], self._drains[name])
                for name in present
            ),
        ]

    def claimed(self, free: Iterable[int], mono: float) -> set[int]:
        """Return the free channels that this node claims now."""
        self._free = {channel: self._free.get(channel, mono) for channel in free}
        if not self._free:
            return set()
        ages = {channel: mono - since for channel, since in self._free.items()}
        return placement.claimed(self.me, ages, self.candidates(mono))

    def takes_second(self, mono: float) -> bool:
        """Whether this node may become the second node of another channel."""
        me, *_ = self.candidates(mono)
        return not me.drains and me.room > 0

    def leaving(self, ends: Mapping[int, float], mono: float) -> set[int]:
        """Return the channels that this node gives away. `ends`: when their items end."""
        if not self.drains or not ends:
            return set()
        return placement.leaving(self.me, ends, len(self._free), self.candidates(mono))
