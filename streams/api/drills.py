"""API routes for drills: orders and results."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Schema, Status
from pydantic import Field

from streams.api.channels import the_channel
from streams.drill import orders
from streams.drill.promises import Fault
from streams.models import Drill
from streamsite.api.auth import Router, caller
from streamsite.api.crud import Body, Id, Page, Paging, paged
from streamsite.api.permissions import ADMIN, READ_ONLY, needs

router = Router(tags=["drills"])


class NewDrill(Body):
    """`confirmed`: drill a channel that is not marked as a test channel; viewers see it."""

    faults: list[Fault] = Field(min_length=1, max_length=len(Fault))
    confirmed: bool = False


class DrillResult(Schema):
    """`measured`: seconds; null: not possible here, and `reason` says why."""

    fault: str
    label: str
    at: datetime
    promise: str
    within_s: float
    measured: dict[str, Any] | None
    verdict: str
    reason: str


class DrillDetail(Schema):
    """status: ordered, running, done, failed; `note` says why it ended early."""

    id: int
    status: str
    node: str
    faults: list[str]
    fault: str
    requested_by: str
    created_at: datetime
    finished_at: datetime | None
    results: list[DrillResult]
    note: str


@router.post(
    "/{slug:slug}/drills",
    response={202: DrillDetail},
    summary="Bring faults about, and measure the recovery",
    description="409 if the channel is not on air, or not a test channel and not confirmed.",
)
@needs(ADMIN, "streams.add_drill")
def order_drill(request: HttpRequest, slug: str, body: NewDrill) -> Status[Drill]:
    channel = the_channel(request, slug)
    row = orders.place(channel, body.faults, caller(request), confirmed=body.confirmed)
    return Status(202, row)


@router.get(
    "/{slug:slug}/drills", response=Page[DrillDetail], summary="Its drills, latest first"
)
@needs(READ_ONLY, "streams.view_drill")
def drills(request: HttpRequest, slug: str, params: Query[Paging]) -> dict[str, Any]:
    return paged(Drill.objects.filter(channel=the_channel(request, slug)), "-id", params)


@router.get("/{slug:slug}/drills/{id}", response=DrillDetail, summary="One drill")
@needs(READ_ONLY, "streams.view_drill")
def drill(request: HttpRequest, slug: str, id: Id) -> Drill:
    return get_object_or_404(Drill, channel=the_channel(request, slug), pk=id)
