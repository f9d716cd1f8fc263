"""Events: whoever makes one happen publishes it; sinks pass it on to programs and to people.

The pages' real time needs no sink: it reads the rows themselves (streamsite.realtime.hub).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import ClassVar, Final

from pydantic import BaseModel, ConfigDict


class Event(BaseModel):
    """What happened, as values. `model_validate(row)` reads a row's columns."""

    model_config = ConfigDict(frozen=True, from_attributes=True)
    #: The name of its webhook, whose data are the fields: no secret may be among them.
    webhook: ClassVar[str] = ""

    def message(self) -> tuple[str, Sequence[str]] | None:
        """Returns subject and lines for people; None: it is only for programs.

        They are sent at once: such an event is published outside of transactions.
        """
        return None


#: Gets the event and its time. Returns whether somebody took it.
Sink = Callable[[Event, datetime], bool]
_sinks: Final[dict[str, Sink]] = {}


def subscribe(name: str, sink: Sink) -> None:
    _sinks[name] = sink


def publish(event: Event, at: datetime) -> bool:
    """Passes the event to all sinks, in the transaction that makes it true.

    Returns whether somebody took it.
    """
    taken = [sink(event, at) for sink in _sinks.values()]
    return any(taken)
