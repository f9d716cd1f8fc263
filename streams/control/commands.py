"""The orders as users see them: labels, effects on viewers, and the audit entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from streams.control import actions
from streams.control.on_air_schedule import Outlook
from streams.models import Broadcaster, Channel
from streamsite.api import audit
from streamsite.api.auth import Caller


@dataclass(frozen=True, slots=True)
class Order:
    verb: str
    label: str
    act: Callable[..., object]
    done: str
    #: The effect on viewers; empty if nothing is cut and no confirmation is needed.
    cost: str = ""

    def with_hours(self, outlook: Outlook | None) -> Order:
        """Returns the order with its cost for a channel whose hours start it again."""
        if self.verb != "stop" or outlook is None or not outlook.start:
            return self
        return replace(
            self,
            cost="Every output goes off the air until somebody starts the channel again, or "
            f"until its on-air hours start it at {outlook.start}.",
        )


ORDERS: Final[dict[str, Order]] = {
    order.verb: order
    for order in (
        Order("start", "Start", actions.start, "Start of {} is ordered."),
        Order(
            "skip",
            "Skip",
            actions.skip,
            "{} skips to the next item.",
            "The current item is cut off and the next one starts. The stream continues.",
        ),
        Order(
            "take",
            "Take",
            actions.take,
            "{} switches to the live feed.",
            "The live feed replaces the programme until it ends or you return.",
        ),
        Order(
            "return",
            "Return",
            actions.return_to_programme,
            "{} returns to its programme.",
            "The programme continues, and no feed that is live now replaces it.",
        ),
        Order(
            "release",
            "Automatic",
            actions.release,
            "{} lets live feeds take over automatically again.",
        ),
        Order(
            "restart",
            "Restart",
            actions.restart,
            "Restart of {} is ordered.",
            "Every output goes off the air for some seconds, and viewers may have to reload.",
        ),
        Order(
            "stop",
            "Stop",
            actions.stop,
            "Stop of {} is ordered.",
            "Every output goes off the air until somebody starts the channel again.",
        ),
    )
}


def give(
    order: Order,
    channel: Channel,
    who: Caller,
    *,
    now: datetime,
    whose: Broadcaster | None = None,
) -> str:
    """Give the order in the caller's name, and record it in the audit log.

    Args:
        order: The order.
        channel: The channel.
        who: The user or the key.
        now: The time of the order.
        whose: For Take, the broadcaster whose feed is put on air; None: the lowest rank.

    Returns:
        A sentence for the user.

    Raises:
        actions.ActionRefusedError: The order can't be accepted.
    """
    options = {"broadcaster": whose} if whose is not None and order.verb == "take" else {}

    def note() -> None:
        audit.write(who, channel, f"{order.label} ordered.", event=audit.Event.ORDER)

    order.act(channel, by=who.name, now=now, note=note, **options)
    return order.done.format(channel.name)
