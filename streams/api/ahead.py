"""What will be on the air, and why, in the API; and what will go wrong."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Query, Router, Schema
from pydantic import Field

from streams.api.channels import the_channel
from streams.calendar import guide, preview
from streams.models import Forewarning
from streams.monitoring.preflight import Finding, findings
from streamsite.api.crud import Moment, Page, Paging, RequestSchema, RowSchema, paged

channel = Router(tags=["ahead"])
forewarnings = Router(tags=["ahead"])

#: Hours of the programme that one answer tells.
MOST_HOURS = 48
GUIDE_TYPE = "application/xml; charset=utf-8"


class Stretch(RowSchema):
    """`start` and `seconds`: into the item, and on air. `rule`: base playlist, a block, slate.

    `how`: whole, cut, resumed; empty where that is not known.
    """

    begins: datetime
    ends: datetime | None
    title: str
    rule: str
    why: str
    start: float
    seconds: float | None
    how: str


class Ahead(Schema):
    """`presumed`: the channel is off, so this is what comes if it is started now."""

    presumed: bool
    programme: list[Stretch]


class AheadAsked(RequestSchema):
    hours: Annotated[int, Field(ge=1, le=MOST_HOURS, description="From now.")] = 6


class ClaimTold(Schema):
    """A block that wants the moment, and why it gets it or not."""

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
    """tense: was, is, will be. `line` is null where nothing is on air then."""

    at: datetime
    tense: str
    line: Stretch | None
    claims: list[ClaimTold]
    notes: list[str]


class WhyAsked(RequestSchema):
    at: Moment | None = Field(None, description="Without it: now.")


class Lack(Schema):
    """`stops_the_start`: nothing starts before that is mended."""

    check: str
    detail: str = Field(alias="sentence")
    stops_the_start: bool


class Findings(Schema):
    findings: list[Lack]


class ForewarningDetail(RowSchema):
    """`soft`: on air it will be all the same, but not as it should."""

    id: int
    channel_id: int
    item_id: int | None
    soft: bool
    sentence: str
    airs_at: datetime
    found_at: datetime
    told_at: datetime | None
    cleared_at: datetime | None


class ForewarningFilter(Paging):
    channel: str = Field("", max_length=80, description="A channel's slug.")
    open: bool | None = None


@channel.get("/{slug:slug}/programme", response=Ahead, summary="What will be on the air")
def programme(request: HttpRequest, slug: str, asked: Query[AheadAsked]) -> dict[str, Any]:
    row, now = the_channel(slug), timezone.now()
    until = now + timedelta(hours=asked.hours)
    names = dict(row.blocks.values_list("pk", "name"))
    told = preview.lines(preview.picks(row, now, until), preview.begins(row, now), until, names)
    return {"presumed": preview.presumed(row), "programme": told}


@channel.get("/{slug:slug}/why", response=Why, summary="Why it was, is or will be on the air")
def why(request: HttpRequest, slug: str, asked: Query[WhyAsked]) -> preview.Answer:
    now = timezone.now()
    return preview.why(the_channel(slug), asked.at or now, now)


@channel.get(
    "/{slug:slug}/guide.xml",
    summary="Its guide, as XMLTV",
    openapi_extra={"responses": {200: {"content": {"application/xml": {}}}}},
)
def xmltv(request: HttpRequest, slug: str) -> HttpResponse:
    return HttpResponse(guide.xmltv(the_channel(slug), timezone.now()), GUIDE_TYPE)


@channel.get("/{slug:slug}/preflight", response=Findings, summary="What it lacks for a start")
def preflight(request: HttpRequest, slug: str) -> dict[str, list[Finding]]:
    """The storage is asked, which takes its time. Nothing lacks: the list is empty."""
    return {"findings": findings(the_channel(slug))}


@forewarnings.get("", response=Page[ForewarningDetail], summary="What will go wrong on the air")
def listed(request: HttpRequest, asked: Query[ForewarningFilter]) -> dict[str, Any]:
    rows = Forewarning.objects.all()
    if asked.channel:
        rows = rows.filter(channel__slug=asked.channel)
    if asked.open is not None:
        rows = rows.filter(cleared_at__isnull=asked.open)
    return paged(rows, "airs_at", asked)
