"""API routes for live takeovers: orders, rights, and the log of takeovers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from django.db import transaction
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Schema, Status
from pydantic import Field

from streams.api.air import Taken, order
from streams.api.channels import id_of, the_channel
from streams.models import Broadcaster, Channel, Takeover, TakeoverRight, visible
from streams.wake import wake_supervisor
from streamsite.api.auth import Router
from streamsite.api.crud import Body, Id, Page, Paging, made, noted, paged
from streamsite.api.permissions import ADMIN, READ_ONLY, needs
from streamsite.http.problems import Kind, ProblemError

router = Router(tags=["takeover"])

#: Takeover rights of one channel: more than an operator could manage.
MAX_RIGHTS = 100


class Taking(Body):
    """The broadcaster whose feed is taken; omitted or null: the live one of lowest rank."""

    broadcaster_id: Id | None = None


class Right(Body):
    """If several broadcasters are live, the lowest rank wins."""

    broadcaster_id: Id
    rank: Annotated[int, Field(ge=1, le=32_767)] = 1


class Rights(Body):
    rights: list[Right] = Field(max_length=MAX_RIGHTS)


class RightDetail(Schema):
    broadcaster_id: int
    broadcaster: str
    rank: int

    @staticmethod
    def resolve_broadcaster(row: Any) -> str:
        return str(row.broadcaster.name)


class RightsDetail(Schema):
    rights: list[RightDetail]


class TakeoverDetail(Schema):
    """`transition`: seconds from the request to being on air; null: never on air."""

    id: int
    run_id: int | None
    broadcaster_id: int | None
    stream_id: int | None
    requested_at: datetime
    on_air_at: datetime | None
    ended_at: datetime | None
    cause: str
    transition: float | None


@router.post(
    "/{slug:slug}/take",
    response={202: Taken},
    summary="Put a live feed on the channel",
    description="409 if no broadcaster who may take the channel over is live.",
)
@needs(ADMIN, "streams.operate_channel")
def take(request: HttpRequest, slug: str, body: Taking | None = None) -> Status[dict[str, str]]:
    whose = None
    if body is not None and body.broadcaster_id is not None:
        mine = visible(Broadcaster.objects.all(), request)
        whose = get_object_or_404(mine, pk=body.broadcaster_id)
    return order(request, slug, "take", whose=whose)


@router.post("/{slug:slug}/return", response={202: Taken}, summary="Return to the programme")
@needs(ADMIN, "streams.operate_channel")
def return_to_programme(request: HttpRequest, slug: str) -> Status[dict[str, str]]:
    return order(request, slug, "return")


@router.post(
    "/{slug:slug}/release",
    response={202: Taken},
    summary="Let live feeds take over automatically again",
)
@needs(ADMIN, "streams.operate_channel")
def release(request: HttpRequest, slug: str) -> Status[dict[str, str]]:
    return order(request, slug, "release")


@router.get(
    "/{slug:slug}/takeovers", response=Page[TakeoverDetail], summary="The log of takeovers"
)
@needs(READ_ONLY, "streams.view_takeover")
def takeovers(request: HttpRequest, slug: str, params: Query[Paging]) -> dict[str, Any]:
    return paged(Takeover.objects.filter(channel=id_of(request, slug)), "-requested_at", params)


def _rights(channel: Channel) -> dict[str, Any]:
    rows = channel.takeover_rights.select_related("broadcaster").order_by("rank", "pk")
    return {"rights": list(rows)}


@router.get(
    "/{slug:slug}/takeover-rights", response=RightsDetail, summary="Get the takeover rights"
)
@needs(READ_ONLY, "streams.view_channel")
def rights(request: HttpRequest, slug: str) -> dict[str, Any]:
    return _rights(the_channel(request, slug))


def _demand_visible(request: HttpRequest, chosen: set[int]) -> None:
    """Raises `ProblemError` for broadcasters of other channels than the caller's."""
    existing = set(Broadcaster.objects.filter(pk__in=chosen).values_list("pk", flat=True))
    mine = visible(Broadcaster.objects.filter(pk__in=existing), request)
    if existing - set(mine.values_list("pk", flat=True)):
        raise ProblemError(Kind.REFUSED, "There is no such broadcaster of your channels.")


@router.put(
    "/{slug:slug}/takeover-rights", response=RightsDetail, summary="Replace the takeover rights"
)
@needs(ADMIN, "streams.change_channel")
def replace_rights(request: HttpRequest, slug: str, body: Rights) -> dict[str, Any]:
    with transaction.atomic():
        rows = visible(Channel.objects.select_for_update(), request)
        channel = get_object_or_404(rows, slug=slug)
        chosen = {right.broadcaster_id for right in body.rights}
        _demand_visible(request, chosen)
        channel.takeover_rights.all().delete()
        for right in body.rights:
            made(TakeoverRight(channel=channel, **right.model_dump()))
        noted(request, channel, "Changed the takeover rights.")
        transaction.on_commit(wake_supervisor)
    return _rights(channel)
