"""Writes deliveries in the transaction of the event: nothing is lost."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import structlog
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction

from streamsite.notifications.events import Event
from streamsite.processes.task_queue import enqueue
from streamsite.webhooks.models import PING, Delivery, Endpoint

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

SEND: Final = "streamsite.webhooks.sender.send_due"


def sink(event: Event, at: datetime) -> bool:
    """Writes a delivery for every endpoint that chose such events. Returns whether one did."""
    if not event.webhook:
        return False
    endpoints = Endpoint.objects.filter(enabled=True).defer("secret")
    listening = [endpoint for endpoint in endpoints if event.webhook in endpoint.events]
    if listening:
        _write(listening, event.webhook, event.model_dump(), at)
    return bool(listening)


def ping(endpoint: Endpoint, now: datetime) -> None:
    """Try the endpoint, whatever it chose."""
    _write([endpoint], PING, {"name": endpoint.name}, now)


def replay(deliveries: Sequence[int], now: datetime) -> int:
    """Send them again, with the same id: a receiver that has one already can tell."""
    rows = Delivery.objects.filter(pk__in=deliveries).exclude(state=Delivery.State.WAITING)
    again = rows.update(
        state=Delivery.State.WAITING, attempts=0, next_at=now, delivered_at=None, fault=""
    )
    transaction.on_commit(_knock, robust=True)
    return again


def _write(
    endpoints: Sequence[Endpoint], event: str, data: Mapping[str, Any], at: datetime
) -> None:
    message_id = uuid.uuid4()
    payload = {"id": str(message_id), "type": event, "timestamp": at, "data": data}
    body = json.dumps(payload, cls=DjangoJSONEncoder, separators=(",", ":"))
    Delivery.objects.bulk_create(
        Delivery(endpoint=endpoint, event=event, message_id=message_id, body=body)
        for endpoint in endpoints
    )
    transaction.on_commit(_knock, robust=True)


def _knock() -> None:
    """A knock that is lost costs a minute: the schedule looks as well."""
    # Named, for the playout worker's own queue is another.
    enqueue(SEND, cluster=settings.Q_CLUSTER["name"])
