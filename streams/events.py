"""Events of channels, published in the transaction that writes their history."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import ClassVar

from pydantic import AliasPath, Field

from streams.models import Incident, Run, Takeover
from streamsite.notifications import events
from streamsite.notifications.events import publish
from streamsite.webhooks.models import Event


class ChannelName(events.Event):
    slug: str
    name: str


class RunEvent(events.Event):
    channel: ChannelName
    run: int = Field(validation_alias="pk")
    started_at: datetime
    started_by: str
    on_air_at: datetime | None
    ended_at: datetime | None
    end_reason: str


class OnAir(RunEvent):
    webhook: ClassVar[str] = Event.ON_AIR


class OffAir(RunEvent):
    webhook: ClassVar[str] = Event.OFF_AIR


class IncidentOpened(events.Event):
    webhook: ClassVar[str] = Event.INCIDENT_OPENED

    channel: ChannelName
    incident: int = Field(validation_alias="pk")
    subject: str
    severity: str
    cause: str
    output: int | None = Field(validation_alias="output_id")
    opened_at: datetime
    closed_at: datetime | None


class IncidentClosed(IncidentOpened):
    webhook: ClassVar[str] = Event.INCIDENT_CLOSED


class TakeoverStarted(events.Event):
    webhook: ClassVar[str] = Event.TAKEOVER_STARTED

    channel: ChannelName
    takeover: int = Field(validation_alias="pk")
    broadcaster: str | None = Field(None, validation_alias=AliasPath("broadcaster", "slug"))
    on_air_at: datetime
    ended_at: datetime | None
    cause: str


class TakeoverEnded(TakeoverStarted):
    webhook: ClassVar[str] = Event.TAKEOVER_ENDED


class ProblemsDetected(events.Event):
    """New upcoming problems of all channels, a line each."""

    lines: Sequence[str]

    def message(self) -> tuple[str, Sequence[str]]:
        count = len(self.lines)
        number = "An upcoming problem" if count == 1 else f"{count} upcoming problems"
        return f"{number} on air", self.lines


class NodeLost(events.Event):
    """A node has stopped reporting. `seen_at`: its last report."""

    webhook: ClassVar[str] = Event.NODE_LOST

    name: str
    seen_at: datetime | None

    def message(self) -> tuple[str, Sequence[str]]:
        line = (
            f"Node {self.name} has not reported since {self.seen_at:%Y-%m-%d %H:%M:%S} UTC. "
            "Other nodes take its channels over, if there are any. Check the machine and its "
            "playout service."
        )
        return f"Node {self.name} is lost", (line,)


class NodeBack(NodeLost):
    webhook: ClassVar[str] = Event.NODE_BACK

    def message(self) -> tuple[str, Sequence[str]]:
        return f"Node {self.name} is back", (f"Node {self.name} reports again.",)


def run(kind: type[RunEvent], pk: int, at: datetime) -> None:
    for row in Run.objects.filter(pk=pk).select_related("channel"):
        publish(kind.model_validate(row), at)


def incident(row: Incident, at: datetime) -> None:
    """Publishes that the incident was opened or closed."""
    kind = IncidentOpened if row.closed_at is None else IncidentClosed
    publish(kind.model_validate(row), at)


def takeovers(rows: Iterable[Takeover], at: datetime) -> None:
    """Publishes that takeovers came on air or ended, except those that never came on air."""
    for row in rows:
        if row.on_air_at is not None:
            kind = TakeoverStarted if row.ended_at is None else TakeoverEnded
            publish(kind.model_validate(row), at)
