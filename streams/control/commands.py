"""The orders as people see them: their names, what they cost the air, who gave them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

from streams.control import actions
from streams.control.on_air_schedule import Outlook
from streams.models import Broadcaster, Channel


@dataclass(frozen=True, slots=True)
class Order:
    verb: str
    label: str
    act: Callable[..., object]
    done: str
    #: What the viewer will see; empty where nothing is cut and nobody has to be asked.
    cost: str = ""

    def with_hours(self, outlook: Outlook | None) -> Order:
        """The same for a channel whose hours start it again by themselves."""
        if self.verb != "stop" or outlook is None or not outlook.start:
            return self
        return replace(
            self,
            cost="Every output goes off the air until somebody starts the channel again, or "
            f"its hours do, at {outlook.start}.",
        )


ORDERS: Final[dict[str, Order]] = {
    order.verb: order
    for order in (
        Order("start", "Start", actions.start, "Start of {} is ordered."),
        Order(
            "skip",
            "Skip",
            actions.skip,
            "{} goes on to the next item.",
            "What is playing is cut off and the next item begins. The stream itself goes on.",
        ),
        Order(
            "take",
            "Take",
            actions.take,
            "{} goes over to the live feed.",
            "The live feed replaces the programme, until you return or it ends.",
        ),
        Order(
            "return",
            "Return",
            actions.give_back,
            "{} returns to its programme.",
            "The programme goes on, and no live feed replaces it while somebody is live.",
        ),
        Order(
            "release",
            "By itself",
            actions.release,
            "On {} live feeds come and go by themselves again.",
        ),
        Order(
            "restart",
            "Restart",
            actions.restart,
            "Restart of {} is ordered.",
            "Every output goes off the air for some seconds and viewers may have to reload.",
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

#: HTTP status of each refusal, the same for pages and API.
STATUS: Final[dict[type[actions.ActionRefusedError], int]] = {
    actions.AlreadyOnAirError: 409,
    actions.NotRunningError: 404,
    actions.NobodyLiveError: 409,
    actions.CantStartError: 422,
}


def give(
    order: Order,
    channel: Channel,
    *,
    user: AbstractBaseUser | AnonymousUser | None,
    now: datetime,
    by: str = "",
    whose: Broadcaster | None = None,
) -> str:
    """Order it in the user's name, note it in the admin's history, return a sentence.

    `by`: who it is where there is no user, such as the API, which notes it itself.
    `whose`: of Take, whose live feed; None: that of the highest rank.
    Raises `actions.ActionRefusedError`.
    """
    name = user.get_username() if user is not None else by
    if not name:
        raise PermissionError("An order is given by somebody.")
    wanted = {} if whose is None or order.verb != "take" else {"broadcaster": whose}
    order.act(channel, by=name, now=now, **wanted)
    if user is not None and user.pk is not None:
        LogEntry.objects.log_actions(
            user.pk, [channel], CHANGE, f"{order.label} ordered.", single_object=True
        )
    return order.done.format(channel.name)
