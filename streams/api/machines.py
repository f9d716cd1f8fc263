"""API routes for nodes and for the log of a channel's processes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import FilterLookup, Query
from pydantic import Field

from streams.api.channels import id_of
from streams.models import LogLine, Node
from streamsite.api.auth import Router
from streamsite.api.crud import Id, Page, Paging, RowSchema, Text, paged
from streamsite.api.permissions import READ_ONLY, needs

nodes = Router(tags=["machines"])
log = Router(tags=["machines"])


class NodeDetail(RowSchema):
    """`ffmpeg`: its version, empty if missing. `seen_at`: the time of the last report."""

    id: int
    name: str
    version: str
    ffmpeg: str
    hides_keys: bool | None
    started_at: datetime | None
    seen_at: datetime | None


class LineDetail(RowSchema):
    """`role`: the process, such as player, hub or pusher."""

    id: int
    run_id: int | None
    at: datetime
    role: str
    level: str
    text: str


class LineFilter(Paging):
    level: Text = Field(None, description="For example warning.")
    after: Annotated[Id | None, FilterLookup("pk__gt")] = Field(
        None, description="Only lines that were added after this one."
    )


@nodes.get("", response=Page[NodeDetail], summary="Nodes, by name")
@needs(READ_ONLY, "streams.view_node")
def listed(request: HttpRequest, params: Query[Paging]) -> dict[str, Any]:
    return paged(Node.objects.all(), "name", params)


@log.get(
    "/{slug:slug}/log",
    response=Page[LineDetail],
    summary="The log of a channel's processes, latest first",
)
@needs(READ_ONLY, "streams.view_channel")
def lines(request: HttpRequest, slug: str, filters: Query[LineFilter]) -> dict[str, Any]:
    return paged(LogLine.objects.filter(channel=id_of(request, slug)), "-id", filters)
