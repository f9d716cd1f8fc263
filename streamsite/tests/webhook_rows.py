"""Endpoints of webhooks and what they are told, for tests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

import pytest
from pytest_django import Settings

from streamsite.notifications import events
from streamsite.tests.receiving import Hook
from streamsite.webhooks import outbox, sender
from streamsite.webhooks.models import Delivery, Endpoint, Event

NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALL: Final = list(Event.values)


@pytest.fixture
def hook(settings: Settings) -> Iterator[Hook]:
    """A receiver at `/inbox`, which may be told though it is on this machine."""
    settings.WEBHOOK_PRIVATE_TARGETS = True
    receiver = Hook("inbox")
    yield receiver
    receiver.close()


def endpoint(url: str, events: list[str] = ALL, name: str = "CRM", **fields: Any) -> Endpoint:
    return Endpoint.objects.create(
        name=name, url=url, events=events, secret=sender.new_secret(), **fields
    )


class Happened(events.Event):
    webhook: ClassVar[str] = Event.ON_AIR

    channel: str = "demo"


def emit() -> Delivery:
    outbox.sink(Happened(), NOW)
    return Delivery.objects.latest("pk")
