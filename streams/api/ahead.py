"""API routes for the preview of the programme and for upcoming problems."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import FilterLookup, Query, Schema
from pydantic import Field

from streams.api.channels import OfChannel, the_channel
from streams.calendar import guide, preview
from streams.models import UpcomingProblem, visible
from streams.monitoring.preflight import Finding, findings
from streamsite.api.auth import Router
from streamsite.api.crud import Moment, Page, Paging, RequestSchema, RowSchema, paged
from streamsite.api.permissions import READ_ONLY, needs

channel = Router(tags=["ahead"])
upcoming_problems = Router(tags=["ahead"])
#: The same list at its former path, `/forewarnings`, for older programs.
former_path = Router(tags=["compatibility"])

#: Hours of the programme in one answer.
MAX_HOURS = 48


class Ahead(Schema):
    """`presumed`: the channel is off; the programme assumes that it is started now."""

    presumed: bool
    programme: list[preview.Line]


class AheadParams(RequestSchema):
    hours: Annotated[int, Field(ge=1, le=MAX_HOURS, description="From now.")] = 6


class ClaimDetail(Schema):
    """A block that covers the time, and why it wins or not."""

    block_id: int
    block: str
    wins: bool
    because: str

    @staticmethod
    def resolve_block_id(claim: Any) -> int:
        return int(claim.slot.block.pk)

    @staticmethod
    def resolve_block(claim: Any) -> str:
        return str(claim.slot.block.name)


class Why(Schema):
    """tense: was, is, will be. `line` is null if nothing is on air at that time."""

    at: datetime
    tense: str
    line: preview.Line | None
    claims: list[ClaimDetail]
    notes: list[str]


class WhyParams(RequestSchema):
    at: Moment | None = Field(None, description="Default: now.")


class Lack(Schema):
    """`stops_the_start`: the channel can't start until this is fixed."""

    check: str
    detail: str = Field(alias="sentence")
    stops_the_start: bool


class Findings(Schema):
    findings: list[Lack]


class UpcomingProblemDetail(RowSchema):
    """`soft`: the item will be on air, but not as intended."""

    id: int
    channel_id: int
    item_id: int | None
    soft: bool
    sentence: str
    airs_at: datetime
    detected_at: datetime
    notified_at: datetime | None
    cleared_at: datetime | None


class UpcomingProblemFilter(Paging):
    channel: OfChannel = None
    open: Annotated[bool | None, FilterLookup("cleared_at__isnull")] = None


@channel.get("/{slug:slug}/programme", response=Ahead, summary="The coming programme")
@needs(READ_ONLY, "streams.view_channel")
def programme(request: HttpRequest, slug: str, params: Query[AheadParams]) -> dict[str, Any]:
    row, now = the_channel(request, slug), timezone.now()
    until = now + timedelta(hours=params.hours)
    names = dict(row.blocks.values_list("pk", "name"))
    lines = preview.lines(
        preview.picks(row, now, until), preview.begins(row, now), until, names
    )
    return {"presumed": preview.presumed(row), "programme": lines}


@channel.get("/{slug:slug}/why", response=Why, summary="Why an item was, is or will be on air")
@needs(READ_ONLY, "streams.view_channel")
def why(request: HttpRequest, slug: str, params: Query[WhyParams]) -> preview.Answer:
    now = timezone.now()
    return preview.why(the_channel(request, slug), params.at or now, now)


@channel.get(
    "/{slug:slug}/guide.xml",
    summary="The guide as XMLTV",
    openapi_extra={"responses": {200: {"content": {"application/xml": {}}}}},
)
@needs(READ_ONLY, "streams.view_channel")
def xmltv(request: HttpRequest, slug: str) -> HttpResponse:
    return HttpResponse(
        guide.xmltv(the_channel(request, slug), timezone.now()), guide.CONTENT_TYPE
    )


@channel.get(
    "/{slug:slug}/preflight", response=Findings, summary="Findings that affect a start"
)
@needs(READ_ONLY, "streams.view_channel")
def preflight(request: HttpRequest, slug: str) -> dict[str, list[Finding]]:
    """The storage is checked, which may take seconds. The list is empty without faults."""
    return {"findings": findings(the_channel(request, slug))}


@upcoming_problems.get(
    "", response=Page[UpcomingProblemDetail], summary="Upcoming problems on air"
)
@needs(READ_ONLY, "streams.view_upcomingproblem")
def listed(request: HttpRequest, filters: Query[UpcomingProblemFilter]) -> dict[str, Any]:
    return paged(visible(UpcomingProblem.objects.all(), request), "airs_at", filters)


former_path.get(
    "",
    response=Page[UpcomingProblemDetail],
    summary="The former path of /upcoming-problems",
    operation_id="upcoming_problems_at_their_former_path",
    deprecated=True,
)(listed)
