"""The nodes as people see them: what each carries, its state, and a sentence about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from streams.events import NodeBack, NodeLost
from streams.models import Channel, ChannelState, Node
from streams.monitoring.worker_silence import FRESH, clock
from streams.planning import placement
from streams.planning.placement import Candidate
from streamsite.notifications.events import publish

#: A node that was silent for so long is reported: a restart or an upgrade takes less.
LOST_AFTER: Final = timedelta(minutes=2)
#: A node that was silent for so long and carries nothing was taken away: nobody is told.
TAKEN_AWAY: Final = timedelta(days=1)


class NodeState(StrEnum):
    ACTIVE = "active"
    DRAINING = "draining"
    DRAINED = "drained"
    LOST = "lost"


LABELS: Final = {
    NodeState.ACTIVE: "Active",
    NodeState.DRAINING: "Draining",
    NodeState.DRAINED: "Drained",
    NodeState.LOST: "Lost",
}


@dataclass(frozen=True, slots=True)
class Carried:
    """A channel of a node. `until`: when the item on air ends, if that is known."""

    slug: str
    name: str
    title: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class NodeReport:
    id: int
    name: str
    state: NodeState
    #: Whether it has not reported for `FRESH`.
    silent: bool
    #: What the state means and what to do; empty if all is well.
    sentence: str
    version: str
    ffmpeg: str
    hides_keys: bool | None
    started_at: datetime | None
    seen_at: datetime | None
    #: Channels that it may play; None: a version before this one.
    max_channels: int | None
    clock_ahead: float | None
    drain_ordered_at: datetime | None
    drain_ordered_by: str
    channels: tuple[Carried, ...]
    #: Channels of other nodes that it plays as well, as their second node.
    as_second: int = 0
    #: Channels that were left out.
    hidden: int = 0

    @property
    def label(self) -> str:
        return LABELS[self.state]

    def seen_by(self, slugs: Collection[str]) -> NodeReport:
        """Leave out channels that are not among these."""
        mine = tuple(channel for channel in self.channels if channel.slug in slugs)
        return replace(self, channels=mine, hidden=len(self.channels) - len(mine))

    @property
    def slugs(self) -> list[str]:
        return [channel.slug for channel in self.channels]

    @property
    def drains(self) -> bool:
        return self.drain_ordered_at is not None

    @property
    def strained(self) -> bool:
        """Whether it carries more than it should, or its clock is wrong."""
        plays = len(self.channels) + self.as_second
        crowded = self.max_channels is not None and plays > self.max_channels
        return not self.silent and (crowded or bool(self.clock_ahead))

    @property
    def room(self) -> int | None:
        """Channels that it can still take; None: unknown, or none while it is silent."""
        if self.max_channels is None or self.silent:
            return None
        return max(0, self.max_channels - len(self.channels) - self.hidden - self.as_second)


def reports(now: datetime) -> tuple[NodeReport, ...]:
    """Return all nodes by name. Two queries."""
    carried: dict[str, list[Carried]] = {}
    as_second = Counter[str]()
    states = ChannelState.objects.filter(channel__desired_state=Channel.DesiredState.ON)
    for row in states.select_related("channel").order_by("channel__name", "pk"):
        entry = Carried(row.channel.slug, row.channel.name, row.now_title, row.now_until)
        if row.owner:
            carried.setdefault(row.owner, []).append(entry)
        if row.second_owner:
            as_second[row.second_owner] += 1
    rows = list(Node.objects.order_by("name"))
    present = [
        Candidate(
            node.name,
            node.max_channels or 0,
            len(carried.get(node.name, ())) + as_second[node.name],
            node.drains,
        )
        for node in rows
        if not _silent(node.seen_at, now)
    ]
    return tuple(
        _report(node, carried.get(node.name, []), as_second[node.name], present, now)
        for node in rows
    )


def _silent(seen_at: datetime | None, now: datetime) -> bool:
    return seen_at is None or now - seen_at > FRESH


def _report(
    node: Node,
    channels: Sequence[Carried],
    as_second: int,
    present: Sequence[Candidate],
    now: datetime,
) -> NodeReport:
    silent = _silent(node.seen_at, now)
    state = state_of(silent=silent, drains=node.drains, carries=len(channels) + as_second)
    return NodeReport(
        id=node.pk,
        name=node.name,
        state=state,
        silent=silent,
        sentence=" ".join(_sentences(node, state, channels, as_second, present)),
        version=node.version,
        ffmpeg=node.ffmpeg,
        hides_keys=node.hides_keys,
        started_at=node.started_at,
        seen_at=node.seen_at,
        max_channels=node.max_channels,
        clock_ahead=node.clock_ahead,
        drain_ordered_at=node.drain_ordered_at,
        drain_ordered_by=node.drain_ordered_by,
        channels=tuple(channels),
        as_second=as_second,
    )


def state_of(*, silent: bool, drains: bool, carries: int) -> NodeState:
    """Return the state. A node that was drained may be switched off: it is not lost."""
    if drains and not carries:
        return NodeState.DRAINED
    if silent:
        return NodeState.LOST
    return NodeState.DRAINING if drains else NodeState.ACTIVE


def _sentences(
    node: Node,
    state: NodeState,
    channels: Sequence[Carried],
    as_second: int,
    present: Sequence[Candidate],
) -> list[str]:
    count = len(channels)
    number = "1 channel" if count == 1 else f"{count} channels"
    sentences = []
    if state is NodeState.LOST:
        sentences.append(f"It has not reported since {clock(node.seen_at)}.")
        if count:
            sentences.append(f"It still has {number}: no other node has taken over.")
        advice = "Check that the machine and its playout service run"
        sentences.append(f"{advice}." if count else f"{advice}, or remove it.")
    elif state is NodeState.DRAINED:
        sentences.append("It carries no channel: it can be stopped, upgraded or switched off.")
    elif state is NodeState.DRAINING:
        sentences.append(_drain(node.name, count, present))
    elif node.max_channels is not None and count + as_second > node.max_channels:
        others = f" and {as_second} more as the second node" if as_second else ""
        sentences.append(
            f"It carries {number}{others}, more than MAX_CHANNELS ({node.max_channels}): "
            + (
                "drain it to move some to other nodes, and resume it then."
                if placement.room_elsewhere(node.name, present)
                else "every node is full. Add a node, or raise MAX_CHANNELS."
            )
        )
    if node.clock_ahead:
        side = "ahead of" if node.clock_ahead > 0 else "behind"
        sentences.append(
            f"Its clock is {abs(node.clock_ahead):.0f} s {side} the database server's. "
            "Programme and history follow the server's clock: set up NTP on the node."
        )
    return sentences


def _drain(name: str, count: int, present: Sequence[Candidate]) -> str:
    room = placement.room_elsewhere(name, present)
    if room >= count:
        return "Each channel moves to another node when its item ends."
    stay = count - room
    number = "1 channel stays" if stay == 1 else f"{stay} channels stay"
    if not any(node.name != name and not node.drains for node in present):
        return f"{number}: there is no other node that does not drain. Add one, or resume one."
    return f"{number}: no other node has room. Add a node, or raise MAX_CHANNELS on one."


# ---- lost nodes, each reported once ----------------------------------------------------------


def report_lost(now: datetime) -> str:
    """Report nodes that were lost or are back. `now`: by the database server's clock."""
    owners = set(
        ChannelState.objects.filter(channel__desired_state=Channel.DesiredState.ON).values_list(
            "owner", flat=True
        )
    )
    count = 0
    for node in Node.objects.exclude(seen_at=None):
        if node.seen_at is None:
            continue
        silence = now - node.seen_at
        if node.lost_at is None:
            if is_lost(silence, drains=node.drains, carries=node.name in owners):
                count += _mark(node, now, NodeLost, now)
        elif silence <= FRESH:
            count += _mark(node, None, NodeBack, now)
    return f"{count} nodes were lost or are back."


def is_lost(silence: timedelta, *, drains: bool, carries: bool) -> bool:
    """Whether such a node is missed, and not only switched off or taken away."""
    if silence <= LOST_AFTER:
        return False
    return carries or (not drains and silence <= TAKEN_AWAY)


def _mark(node: Node, lost_at: datetime | None, kind: type[NodeLost], now: datetime) -> int:
    """Write first: two jobs at a time report a node once."""
    rows = Node.objects.filter(pk=node.pk, lost_at=node.lost_at)
    if changed := rows.update(lost_at=lost_at):
        publish(kind(name=node.name, seen_at=node.seen_at), now)
    return changed
