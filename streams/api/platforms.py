"""API routes for what platforms say. Read only; no token or client secret is ever returned."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone
from ninja import Query, Schema
from pydantic import AliasPath, Field

from streams.models import Output, PlatformAccount, visible
from streams.platforms import quota, watch_hours
from streamsite.api.auth import Router
from streamsite.api.crud import Id, Page, Paging, RowSchema, paged
from streamsite.api.permissions import READ_ONLY, needs

of_output = Router(tags=["outputs"])
router = Router(tags=["platform accounts"])


class PlatformDetail(Schema):
    """What the platform says about an output, and since when.

    level: healthy, degraded, down, unknown. `details`: the figures that led to it. `watch_url`:
    where viewers watch it; may be empty. `account`: null if none is connected.
    """

    level: str
    sentence: str
    since: datetime | None
    checked_at: datetime | None
    details: dict[str, Any]
    account: int | None
    broadcast_id: str
    watch_url: str


class PlatformAccountDetail(RowSchema):
    """An account, and its connection.

    `remote_name`: how the platform calls it. `fault`: why the last check failed; may be empty.
    `quota_spent` of `daily_units`: on `quota_day`, in Pacific time.
    """

    id: int
    name: str
    kind: str
    channel: str | None = Field(validation_alias=AliasPath("channel", "slug"), default=None)
    may_manage_broadcasts: bool
    may_write_titles: bool
    daily_units: int
    remote_name: str = Field("", validation_alias=AliasPath("state", "remote_name"))
    connected_at: datetime | None = Field(
        None, validation_alias=AliasPath("state", "connected_at")
    )
    fault: str = Field("", validation_alias=AliasPath("state", "fault"))
    quota_day: date | None = Field(None, validation_alias=AliasPath("state", "quota_day"))
    quota_spent: int = Field(0, validation_alias=AliasPath("state", "quota_spent"))


class WatchHours(Schema):
    """The way to YouTube's partner programme.

    `hours`: watched in the twelve months to `until`. `reached_on`: an estimate; null: not
    foreseeable. `hours_a_day` and `subscribers_a_day`: of the last four weeks.
    """

    hours: float
    hours_goal: int
    hours_a_day: float
    subscribers: int | None
    subscribers_goal: int
    subscribers_a_day: float | None
    until: date | None
    reached_on: date | None
    sentence: str


@of_output.get("/{id}/platform", response=PlatformDetail, summary="What its platform says")
@needs(READ_ONLY, "streams.view_output")
def of(request: HttpRequest, id: Id) -> dict[str, Any]:
    rows = visible(Output.objects.all(), request).select_related("platform_report")
    output = get_object_or_404(rows, pk=id)
    report, now = getattr(output, "platform_report", None), timezone.now()
    body = {
        "level": report.level_at(now) if report else "unknown",
        "sentence": report.sentence_at(now) if report else "The platform was not asked yet.",
        "since": report.since if report else None,
        "checked_at": report.checked_at if report else None,
        "details": report.details if report else {},
        "broadcast_id": report.broadcast_id if report else "",
    }
    if output.account_id is None:
        body |= {"level": "unknown", "sentence": "No account is chosen for this output."}
    return body | {"account": output.account_id, "watch_url": output.watch_url}


def _rows(request: HttpRequest) -> QuerySet[PlatformAccount]:
    rows = visible(PlatformAccount.objects.all(), request).select_related("channel", "state")
    return rows.defer("state__refresh_token", "state__access_token", "state__flow_secret")


@router.get("", response=Page[PlatformAccountDetail], summary="Platform accounts, by id")
@needs(READ_ONLY, "streams.view_platformaccount")
def accounts(request: HttpRequest, params: Query[Paging]) -> dict[str, Any]:
    return paged(_rows(request), "id", params)


@router.get("/{id}", response=PlatformAccountDetail, summary="Get a platform account")
@needs(READ_ONLY, "streams.view_platformaccount")
def account(request: HttpRequest, id: Id) -> PlatformAccount:
    return get_object_or_404(_rows(request), pk=id)


@router.get("/{id}/watch-hours", response=WatchHours, summary="Its way to the programme")
@needs(READ_ONLY, "streams.view_watchday")
def hours(request: HttpRequest, id: Id) -> dict[str, Any]:
    row = get_object_or_404(_rows(request).filter(kind=PlatformAccount.Kind.YOUTUBE), pk=id)
    progress = watch_hours.of(row, quota.day(timezone.now()))
    names = ("hours", "hours_a_day", "subscribers", "subscribers_a_day", "until")
    return {
        **{name: getattr(progress, name) for name in (*names, "reached_on", "sentence")},
        "hours_goal": watch_hours.HOURS,
        "subscribers_goal": watch_hours.SUBSCRIBERS,
    }
