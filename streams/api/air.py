"""A channel's air in the API: the orders, what plays, what played, the preview."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from ninja import Query, Router, Schema, Status
from pydantic import Field

from media_library.search.listing import Plain
from streams.api.channels import id_of, the_channel
from streams.calendar import guide
from streams.control.commands import ORDERS, give
from streams.models import AsRun, Broadcaster, Incident, Run
from streams.views.pictures import PLAYLIST_TYPE, preview, preview_playlist
from streamsite.api.auth import caller
from streamsite.api.crud import Moment, Page, Paging, RowSchema, noted, paged

router = Router(tags=["air"])


# ---- orders ----------------------------------------------------------------------------------
class Taken(Schema):
    """The order is written; the playout worker carries it out. `status` tells how it went."""

    detail: str
    status: str


def order(
    request: HttpRequest, slug: str, verb: str, *, whose: Broadcaster | None = None
) -> Status[dict[str, str]]:
    """`whose`: of Take. Raises `ActionRefusedError`, `Http404`."""
    who = caller(request)
    channel = the_channel(slug)
    now = timezone.now()
    detail = give(ORDERS[verb], channel, user=None, by=who.name, now=now, whose=whose)
    noted(request, channel, f"{ORDERS[verb].label} ordered.")
    path = f"/api/v1/channels/{channel.slug}/status"
    return Status(202, {"detail": detail, "status": path})


@router.post(
    "/{slug:slug}/start",
    response={202: Taken},
    summary="Put it on the air",
    description="409 where it is on air already; 422 where it lacks something: `findings`.",
)
def start(request: HttpRequest, slug: str) -> Status[dict[str, str]]:
    return order(request, slug, "start")


@router.post("/{slug:slug}/stop", response={202: Taken}, summary="Take it off the air")
def stop(request: HttpRequest, slug: str) -> Status[dict[str, str]]:
    return order(request, slug, "stop")


@router.post("/{slug:slug}/restart", response={202: Taken}, summary="Off and on again")
def restart(request: HttpRequest, slug: str) -> Status[dict[str, str]]:
    return order(request, slug, "restart")


@router.post("/{slug:slug}/skip", response={202: Taken}, summary="To the next item")
def skip(request: HttpRequest, slug: str) -> Status[dict[str, str]]:
    return order(request, slug, "skip")


# ---- what plays and what played --------------------------------------------------------------
class OnNow(Schema):
    """`until` is null where nobody knows; `in_point` in seconds."""

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
    """`now` is null where nothing is on air and where nobody knows: `state` says which."""

    channel: ChannelName
    state: str
    now: OnNow | None
    next: Coming | None
    later: list[Coming]


class AsRunEntry(RowSchema):
    """`in_point` in seconds: where in the item it began."""

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


class AsRunFilter(Paging):
    since: Moment | None = Field(None, description="Begun then or later.")
    until: Moment | None = Field(None, description="Begun before.")
    kind: AsRun.Kind | None = None


class IncidentFilter(Paging):
    since: Moment | None = Field(None, description="Opened then or later.")
    until: Moment | None = Field(None, description="Opened before.")
    open: bool | None = None
    severity: Literal["degraded", "lost", "planned"] | None = None


@router.get("/{slug:slug}/now", response=NowNext, summary="What is on now, and what comes")
def now(request: HttpRequest, slug: str) -> dict[str, Any]:
    return guide.now_next(the_channel(slug), timezone.now())


def _aired(channel: int, *, behind_a_cursor: bool) -> QuerySet[AsRun]:
    """Read along the index of time, from the cursor or the end of its last run on.

    Run by run all that a channel has played would be read, to be sorted. Of two bounds SQLite
    looks for the first one only.
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
    "/{slug:slug}/as-run", response=Page[AsRunEntry], summary="What was aired, the latest first"
)
def as_run(request: HttpRequest, slug: str, asked: Query[AsRunFilter]) -> dict[str, Any]:
    rows = _aired(id_of(slug), behind_a_cursor=bool(asked.cursor))
    if asked.since:
        rows = rows.filter(started_at__gte=asked.since)
    if asked.until:
        rows = rows.filter(started_at__lt=asked.until)
    if asked.kind:
        rows = rows.filter(kind=asked.kind.value)
    return paged(rows, "-started_at", asked)


@router.get(
    "/{slug:slug}/incidents",
    response=Page[IncidentDetail],
    summary="Degraded and lost air, the latest first",
)
def incidents(request: HttpRequest, slug: str, asked: Query[IncidentFilter]) -> dict[str, Any]:
    rows = Incident.objects.filter(channel=id_of(slug))
    if asked.since:
        rows = rows.filter(opened_at__gte=asked.since)
    if asked.until:
        rows = rows.filter(opened_at__lt=asked.until)
    if asked.open is not None:
        rows = rows.filter(closed_at__isnull=asked.open)
    if asked.severity:
        rows = rows.filter(severity=asked.severity)
    return paged(rows, "-opened_at", asked)


# ---- the preview -----------------------------------------------------------------------------
@router.get(
    "/{slug:slug}/preview.m3u8",
    summary="The picture, as HLS",
    description="404 while nothing is on air. Its segments take the same key.",
    openapi_extra={
        "responses": {200: {"content": {PLAYLIST_TYPE: {}}}},
    },
)
def playlist(request: HttpRequest, slug: str) -> HttpResponse:
    listed = preview_playlist(the_channel(slug))
    # A player asks for a segment beside the playlist.
    lines = (
        line if line.startswith(b"#") or not line else b"preview/" + line
        for line in listed.split(b"\n")
    )
    answer = HttpResponse(b"\n".join(lines), PLAYLIST_TYPE)
    answer["Cache-Control"] = "no-store"
    return answer


@router.get(
    "/{slug:slug}/preview/{name}",
    summary="A segment of the preview",
    openapi_extra={"responses": {200: {"content": {"video/mp2t": {}}}}},
)
def segment(request: HttpRequest, slug: str, name: str) -> HttpResponseBase:
    return preview(the_channel(slug), name)
