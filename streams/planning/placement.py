"""Decides which node plays a channel. Pure.

Every node comes to the same result, because all of them read the same rows. The node with the
most room claims a free channel at once. The next one waits, in case the first one can't play
it, and so on. If all nodes are full, the least loaded one plays it: a channel on air is worth
more than spare capacity. A node that drains claims nothing while one that does not is present.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

#: Seconds that each node waits for the one before it: two exchanges with the ledger.
TURN_S: Final = 4.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that is present. `limit`: channels that it may play; `carries`: those it has."""

    name: str
    limit: int
    carries: int = 0
    drains: bool = False

    @property
    def room(self) -> int:
        """Channels that it can still take; negative if it carries too many."""
        return self.limit - self.carries


def claimed(me: str, free: Mapping[int, float], nodes: Iterable[Candidate]) -> set[int]:
    """Return the free channels that node `me` claims now.

    `free`: for how many seconds nobody has played each channel. `nodes`: all that are present.
    """
    present = list(nodes)
    able = {node.name: node for node in present if not node.drains} or {
        node.name: node for node in present
    }
    chosen = set()
    for channel, age in sorted(free.items()):
        ranked = sorted(able, key=lambda name: (-able[name].room, name))
        if me in ranked and age >= ranked.index(me) * TURN_S:
            chosen.add(channel)
        if ranked:
            first = able[ranked[0]]
            able[first.name] = replace(first, carries=first.carries + 1)
    return chosen


def room_elsewhere(me: str, nodes: Iterable[Candidate]) -> int:
    """Return how many channels other nodes can take from node `me`."""
    return sum(max(0, node.room) for node in nodes if node.name != me and not node.drains)


def leaving(
    me: str, ends: Mapping[int, float], waiting: int, nodes: Sequence[Candidate]
) -> set[int]:
    """Return the channels that node `me`, which drains, gives away at the end of their item.

    `ends`: when each channel's item ends. `waiting`: channels that nobody plays yet. At most as
    many are given away as others have room for, and the soonest first; the rest stay.
    """
    room = max(0, room_elsewhere(me, nodes) - waiting)
    return set(sorted(ends, key=lambda channel: (ends[channel], channel))[:room])
