"""The machinery in the API: nodes, and what a channel's processes said."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import Field

from streams.api.channels import id_of
from streams.models import LogLine, Node
from streamsite.api.crud import Page, Paging, RowSchema, paged

nodes = Router(tags=["machines"])
log = Router(tags=["machines"])


class NodeDetail(RowSchema):
    """`ffmpeg`: its version, empty where there is none. `seen_at`: when it reported last."""

    id: int
    name: str
    version: str
    ffmpeg: str
    hides_keys: bool | None
    started_at: datetime | None
    seen_at: datetime | None


class LineDetail(RowSchema):
    """`role`: player, hub, pusher and the like."""

    id: int
    run_id: int | None
    at: datetime
    role: str
    level: str
    text: str


class LineFilter(Paging):
    level: str = Field("", max_length=8, description="Such as warning.")


@nodes.get("", response=Page[NodeDetail], summary="Machines that play channels, by name")
def listed(request: HttpRequest, asked: Query[Paging]) -> dict[str, Any]:
    return paged(Node.objects.all(), "name", asked)


@log.get(
    "/{slug:slug}/log",
    response=Page[LineDetail],
    summary="What its processes said, the latest first",
)
def lines(request: HttpRequest, slug: str, asked: Query[LineFilter]) -> dict[str, Any]:
    rows = LogLine.objects.filter(channel=id_of(slug))
    if asked.level:
        rows = rows.filter(level=asked.level)
    return paged(rows, "-id", asked)
