"""API routes for receivers of alerts: read-only, without addresses."""

from __future__ import annotations

from datetime import time
from typing import Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query
from pydantic import Field

from streams.models import AlertReceiver
from streamsite.api.auth import Router
from streamsite.api.crud import Id, Page, Paging, RowSchema, paged
from streamsite.api.permissions import ADMIN, needs

router = Router(tags=["alerts"])
_ROWS = AlertReceiver.objects.defer("address").prefetch_related("channels")


class AlertReceiverDetail(RowSchema):
    """`channels`: slugs; none: all. `lowest`: planned, degraded or lost. Times: HH:MM:SS."""

    id: int
    name: str
    kind: str
    channels: list[str] = Field(validation_alias="channel_slugs")
    lowest: str
    opened: bool
    repeat_minutes: int
    closed: bool
    problems: bool
    group_seconds: int
    quiet_from: time | None
    quiet_until: time | None
    time_zone: str
    urgent: bool
    enabled: bool


class ReceiverFilter(Paging):
    enabled: bool | None = None


@router.get("", response=Page[AlertReceiverDetail], summary="Receivers of alerts, by name")
@needs(ADMIN, "streams.view_alertreceiver")
def receivers(request: HttpRequest, filters: Query[ReceiverFilter]) -> dict[str, Any]:
    return paged(_ROWS.all(), "name", filters)


@router.get("/{id}", response=AlertReceiverDetail, summary="Get a receiver of alerts")
@needs(ADMIN, "streams.view_alertreceiver")
def receiver(request: HttpRequest, id: Id) -> AlertReceiver:
    return get_object_or_404(_ROWS.all(), pk=id)
