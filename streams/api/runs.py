"""Runs in the API: each on-air session of a channel."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Router
from pydantic import Field

from streams.models import Run
from streamsite.api.crud import Id, Moment, Page, Paging, RowSchema, paged

router = Router(tags=["runs"])


class RunDetail(RowSchema):
    id: int
    channel: str = Field(validation_alias="slug")
    started_at: datetime
    started_by: str
    on_air_at: datetime | None
    ended_at: datetime | None
    ended_by: str
    end_reason: str


class RunFilter(Paging):
    channel: str = Field("", max_length=80, description="A channel's slug.")
    open: bool | None = Field(None, description="Whether it goes on.")
    since: Moment | None = Field(None, description="Started then or later.")
    until: Moment | None = Field(None, description="Started before.")


def _known() -> QuerySet[Run]:
    return Run.objects.annotate(slug=F("channel__slug"))


@router.get("", response=Page[RunDetail], summary="Runs, the latest first")
def runs(request: HttpRequest, asked: Query[RunFilter]) -> dict[str, Any]:
    rows = _known()
    if asked.channel:
        rows = rows.filter(channel__slug=asked.channel)
    if asked.open is not None:
        rows = rows.filter(ended_at__isnull=asked.open)
    if asked.since:
        rows = rows.filter(started_at__gte=asked.since)
    if asked.until:
        rows = rows.filter(started_at__lt=asked.until)
    return paged(rows, "-started_at", asked)


@router.get("/{id}", response=RunDetail, summary="One run")
def run(request: HttpRequest, id: Id) -> Run:
    return get_object_or_404(_known(), pk=id)
