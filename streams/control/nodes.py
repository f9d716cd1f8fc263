"""The orders to a node, shared by the admin, the API and the management command.

The node reads its order with its next report, within two seconds, also after a restart.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.contrib.admin.models import CHANGE, DELETION
from django.db import transaction

from streams.control.actions import ActionRefusedError, Note
from streams.models import Channel, ChannelState, Node
from streams.monitoring.worker_silence import FRESH
from streamsite.api import audit
from streamsite.api.auth import Caller


@dataclass(frozen=True, slots=True)
class NodeOrder:
    """An order as users see it. `cost`: what it means for viewers, for the page that asks."""

    label: str
    done: str
    cost: str
    permission: str = "streams.drain_node"
    event: audit.Event = audit.Event.ORDER

    @property
    def sentence(self) -> str:
        """What the audit log says."""
        removed = self.event == audit.Event.DELETED
        return "Removed." if removed else f"{self.label} ordered."


ORDERS: Final[dict[str, NodeOrder]] = {
    "drain": NodeOrder(
        "Drain",
        "Node {} drains: its channels move to other nodes, each at the end of its item.",
        "Each channel moves to another node when its item ends. Its outputs are off the air "
        "for some seconds then. Channels for which no other node has room stay here.",
    ),
    "resume": NodeOrder(
        "Resume",
        "Node {} may take channels again.",
        "It may take channels again. Channels that have moved stay where they are.",
    ),
    "remove": NodeOrder(
        "Remove",
        "Node {} is removed from the list.",
        "It is removed from the list. If it comes back it appears anew.",
        "streams.delete_node",
        audit.Event.DELETED,
    ),
}


def noted(who: Caller, node: Node, verb: str) -> Note:
    """Return what records the order in the audit log."""
    order = ORDERS[verb]
    flag = DELETION if order.event == audit.Event.DELETED else CHANGE
    return lambda: audit.write(who, node, order.sentence, flag, order.event)


def give(verb: str, node: Node, *, by: str, now: datetime, note: Note) -> str:
    """Give the order and return a sentence for the user. Raises `NodeRefusedError`."""
    if verb == "drain":
        drain(node, by=by, now=now, note=note)
    elif verb == "resume":
        resume(node, note=note)
    else:
        remove(node, now=now, note=note)
    return ORDERS[verb].done.format(node.name)


class NodeRefusedError(ActionRefusedError):
    """The node is not in the state that the order needs. HTTP 409."""


def drain(node: Node, *, by: str, now: datetime, note: Note) -> None:
    """Order the node to give its channels away, each between two items.

    Raises `NodeRefusedError` if it drains already.
    """
    with transaction.atomic():
        rows = Node.objects.filter(pk=node.pk, drain_ordered_at=None)
        if not rows.update(drain_ordered_at=now, drain_ordered_by=by):
            raise NodeRefusedError(f"Node {node.name} drains already.")
        note()


def resume(node: Node, *, note: Note) -> None:
    """Let the node take channels again; what has moved stays where it is.

    Raises `NodeRefusedError` if it does not drain.
    """
    with transaction.atomic():
        rows = Node.objects.filter(pk=node.pk).exclude(drain_ordered_at=None)
        if not rows.update(drain_ordered_at=None, drain_ordered_by=""):
            raise NodeRefusedError(f"Node {node.name} does not drain.")
        note()


def remove(node: Node, *, now: datetime, note: Note) -> None:
    """Remove a node that is gone from the list. If it comes back it appears anew.

    Raises `NodeRefusedError` while it reports or carries a channel.
    """
    with transaction.atomic():
        row = Node.objects.select_for_update().filter(pk=node.pk).first()
        if row is None:
            return
        if row.seen_at is not None and now - row.seen_at <= FRESH:
            raise NodeRefusedError(
                f"Node {row.name} reports: stop its playout service first, and drain it before."
            )
        ordered = Channel.objects.filter(desired_state=Channel.DesiredState.ON)
        carried = ChannelState.objects.filter(owner=row.name, channel__in=ordered)
        if (state := carried.select_related("channel").first()) is not None:
            raise NodeRefusedError(
                f"Node {row.name} still has {state.channel.name}: start another node, which "
                "takes it over, or stop the channel."
            )
        note()
        row.delete()
