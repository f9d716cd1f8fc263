"""API routes for a channel's air: orders, and items on air and aired."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from django.db.models import Exists, F, OuterRef, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from ninja import FilterLookup, Query, Schema, Status
from pydantic import Field

from media_library.search.listing import Plain
from streams.api.channels import id_of, the_channel
from streams.calendar import guide
from streams.control.commands import ORDERS, give
from streams.models import AsRun, Broadcaster, Evidence, Incident, Run
from streamsite.api.auth import Router, caller
from streamsite.api.crud import Moment, Page, Paging, RowSchema, paged
from streamsite.api.permissions import ADMIN, READ_ONLY, needs

router = Router(tags=["air"])


# ---- orders ----------------------------------------------------------------------------------
class Taken(Schema):
    """The order is stored; the playout worker carries it out. `status` shows the result."""

    detail: str
    status: str


def order(
    request: HttpRequest, slug: str, verb: str, *, whose: Broadcaster | None = None
) -> Status[dict[str, str]]:
    """Give an order. `whose`: the broadcaster to take.

    Raises `ActionRefusedError`, `Http404`.
    """
    channel = the_channel(request, slug)
    detail = give(ORDERS[verb], channel, caller(request), now=timezone.now(), whose=whose)
    path = f"/api/v1/channels/{channel.slug}/status"
    return Status(202, {"detail": detail, "status": path})


@router.post(
    "/{slug:slug}/start",
    response={202: Taken},
    summary="Start the channel",
    description="409 if it is already on air; 422 if something is missing: `findings`.",
)
@needs(ADMIN, "streams.operate_channel")
def start(request: HttpRequest, slug: str) -> Status[dict[str, str]]:
    return order(request, slug, "start")


@router.post("/{slug:slug}/stop", response={202: Taken}, summary="Stop the channel")
@needs(ADMIN, "streams.operate_channel")
def stop(request: HttpRequest, slug: str) -> Status[dict[str, str]]:
    return order(request, slug, "stop")


@router.post(
    "/{slug:slug}/restart", response={202: Taken}, summary="Stop and start the channel"
)
@needs(ADMIN, "streams.operate_channel")
def restart(request: HttpRequest, slug: str) -> Status[dict[str, str]]:
    return order(request, slug, "restart")


@router.post("/{slug:slug}/skip", response={202: Taken}, summary="Skip to the next item")
@needs(ADMIN, "streams.operate_channel")
def skip(request: HttpRequest, slug: str) -> Status[dict[str, str]]:
    return order(request, slug, "skip")


# ---- on air and aired ------------------------------------------------------------------------
class OnNow(Schema):
    """`until` is null if unknown; `in_point` in seconds."""

    title: str
    kind: str
    since: datetime | None
    until: datetime | None
    in_point: float
    rule: str


class Coming(Schema):
    title: str
    kind: str
    at: datetime
    rule: str


class ChannelName(Schema):
    slug: str
    name: str


class NowNext(Schema):
    """`now` is null if nothing is on air or if that is unknown; see `state`."""

    channel: ChannelName
    state: str
    now: OnNow | None
    next: Coming | None
    later: list[Coming]


class AsRunEntry(RowSchema):
    """`in_point`: seconds into the item at which it started."""

    id: int
    run_id: int
    item_id: int | None
    title: str
    kind: str
    started_at: datetime
    ended_at: datetime | None
    ending: str
    cause: str
    rule: str
    why: str
    in_point: float


class IncidentDetail(RowSchema):
    id: int
    run_id: int | None
    output_id: int | None
    subject: str
    severity: str
    cause: str
    opened_at: datetime
    closed_at: datetime | None
    has_still: bool
    has_clip: bool


class AsRunFilter(Paging):
    since: Annotated[Moment | None, FilterLookup("started_at__gte")] = Field(
        None, description="Only entries that started at or after this time."
    )
    until: Annotated[Moment | None, FilterLookup("started_at__lt")] = Field(
        None, description="Only entries that started before this time."
    )
    kind: AsRun.Kind | None = None


class IncidentFilter(Paging):
    since: Annotated[Moment | None, FilterLookup("opened_at__gte")] = Field(
        None, description="Only incidents opened at or after this time."
    )
    until: Annotated[Moment | None, FilterLookup("opened_at__lt")] = Field(
        None, description="Only incidents opened before this time."
    )
    open: Annotated[bool | None, FilterLookup("closed_at__isnull")] = None
    severity: Literal["degraded", "lost", "planned"] | None = None


@router.get("/{slug:slug}/now", response=NowNext, summary="The items on air now and next")
@needs(READ_ONLY, "streams.view_channel")
def now(request: HttpRequest, slug: str) -> dict[str, Any]:
    return guide.now_next(the_channel(request, slug), timezone.now())


def _aired(channel: int, *, behind_a_cursor: bool) -> QuerySet[AsRun]:
    """Query by the index on time, from the cursor or the end of the last run.

    By run, all entries of a channel would be read and sorted. With two bounds SQLite uses the
    index for the first one only.
    """
    runs = Run.objects.filter(channel=channel)
    last = None if behind_a_cursor else runs.first()
    rows = AsRun.objects.alias(plain_run=Plain(F("run"))).filter(
        plain_run__in=runs.values("pk")
    )
    if last is not None and last.ended_at is not None:
        rows = rows.filter(started_at__lte=last.ended_at)
    return rows


@router.get(
    "/{slug:slug}/as-run", response=Page[AsRunEntry], summary="The as-run log, latest first"
)
@needs(READ_ONLY, "streams.view_asrun")
def as_run(request: HttpRequest, slug: str, filters: Query[AsRunFilter]) -> dict[str, Any]:
    rows = _aired(id_of(request, slug), behind_a_cursor=bool(filters.cursor))
    return paged(rows, "-started_at", filters)


@router.get(
    "/{slug:slug}/incidents",
    response=Page[IncidentDetail],
    summary="Incidents, latest first",
)
@needs(READ_ONLY, "streams.view_incident")
def incidents(
    request: HttpRequest, slug: str, filters: Query[IncidentFilter]
) -> dict[str, Any]:
    kept = Evidence.objects.filter(incident=OuterRef("pk"))
    rows = Incident.objects.filter(channel=id_of(request, slug)).annotate(
        has_still=Exists(kept.exclude(still=b"")), has_clip=Exists(kept.exclude(clip=""))
    )
    return paged(rows, "-opened_at", filters)
