"""Live takeovers in the API: the orders, who may, and each time that somebody did."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from django.db import transaction
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Router, Schema, Status
from pydantic import Field

from streams.api.air import Taken, order
from streams.api.channels import id_of, the_channel
from streams.models import Broadcaster, Channel, Takeover, TakeoverRight
from streams.wake import wake_supervisor
from streamsite.api.crud import Body, Id, Page, Paging, made, noted, paged

router = Router(tags=["takeover"])

#: Of one channel: more than anybody could keep apart.
MOST_RIGHTS = 100


class Taking(Body):
    """Whose live feed. Left out or null: that of the highest rank."""

    broadcaster_id: Id | None = None


class Right(Body):
    """Of two who are live, the lower rank is on."""

    broadcaster_id: Id
    rank: Annotated[int, Field(ge=1, le=32_767)] = 1


class Rights(Body):
    rights: list[Right] = Field(max_length=MOST_RIGHTS)


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
    """`transition` is the seconds from being asked to being on air; null: it was not."""

    id: int
    run_id: int | None
    broadcaster_id: int | None
    stream_id: int | None
    asked_at: datetime
    on_air_at: datetime | None
    ended_at: datetime | None
    cause: str
    transition: float | None


@router.post(
    "/{slug:slug}/take",
    response={202: Taken},
    summary="Put a live feed on it",
    description="409 where nobody who may take it over is live.",
)
def take(
    request: HttpRequest, slug: str, asked: Taking | None = None
) -> Status[dict[str, str]]:
    whose = None
    if asked is not None and asked.broadcaster_id is not None:
        whose = get_object_or_404(Broadcaster, pk=asked.broadcaster_id)
    return order(request, slug, "take", whose=whose)


@router.post("/{slug:slug}/return", response={202: Taken}, summary="Back to its programme")
def give_back(request: HttpRequest, slug: str) -> Status[dict[str, str]]:
    return order(request, slug, "return")


@router.post(
    "/{slug:slug}/release",
    response={202: Taken},
    summary="Let live feeds come and go by themselves again",
)
def release(request: HttpRequest, slug: str) -> Status[dict[str, str]]:
    return order(request, slug, "release")


@router.get("/{slug:slug}/takeovers", response=Page[TakeoverDetail], summary="Each time")
def takeovers(request: HttpRequest, slug: str, asked: Query[Paging]) -> dict[str, Any]:
    return paged(Takeover.objects.filter(channel=id_of(slug)), "-asked_at", asked)


def _rights(channel: Channel) -> dict[str, Any]:
    rows = channel.takeover_rights.select_related("broadcaster").order_by("rank", "pk")
    return {"rights": list(rows)}


@router.get("/{slug:slug}/takeover-rights", response=RightsDetail, summary="Who may")
def rights(request: HttpRequest, slug: str) -> dict[str, Any]:
    return _rights(the_channel(slug))


@router.put("/{slug:slug}/takeover-rights", response=RightsDetail, summary="Others who may")
def replace_rights(request: HttpRequest, slug: str, asked: Rights) -> dict[str, Any]:
    with transaction.atomic():
        channel = get_object_or_404(Channel.objects.select_for_update(), slug=slug)
        channel.takeover_rights.all().delete()
        for right in asked.rights:
            made(TakeoverRight(channel=channel, **right.model_dump()))
        noted(request, channel, "Changed who may take it over.")
        transaction.on_commit(wake_supervisor)
    return _rights(channel)
