"""API routes for runs, the on-air sessions of channels."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import FilterLookup, Query
from pydantic import Field

from streams.api.channels import OfChannel
from streams.models import Run, visible
from streamsite.api.auth import Router
from streamsite.api.crud import Id, Moment, Page, Paging, RowSchema, paged
from streamsite.api.permissions import READ_ONLY, needs

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
    channel: OfChannel = None
    open: Annotated[bool | None, FilterLookup("ended_at__isnull")] = Field(
        None, description="Whether the run is still open."
    )
    since: Annotated[Moment | None, FilterLookup("started_at__gte")] = Field(
        None, description="Only runs that started at or after this time."
    )
    until: Annotated[Moment | None, FilterLookup("started_at__lt")] = Field(
        None, description="Only runs that started before this time."
    )


def _runs_with_slug(request: HttpRequest) -> QuerySet[Run]:
    return visible(Run.objects.all(), request).annotate(slug=F("channel__slug"))


@router.get("", response=Page[RunDetail], summary="Runs, latest first")
@needs(READ_ONLY, "streams.view_run")
def runs(request: HttpRequest, filters: Query[RunFilter]) -> dict[str, Any]:
    return paged(_runs_with_slug(request), "-started_at", filters)


@router.get("/{id}", response=RunDetail, summary="Get a run")
@needs(READ_ONLY, "streams.view_run")
def run(request: HttpRequest, id: Id) -> Run:
    return get_object_or_404(_runs_with_slug(request), pk=id)
