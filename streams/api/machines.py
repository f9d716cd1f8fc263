"""API routes for nodes and for the log of a channel's processes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone
from ninja import FilterLookup, Query, Status
from pydantic import Field

from streams.api.channels import id_of
from streams.control import nodes as node_orders
from streams.models import Channel, LogLine, Node, visible
from streams.monitoring.nodes import NodeReport, NodeState, reports
from streamsite.api.auth import Router, caller
from streamsite.api.crud import Id, Page, Paging, RowSchema, Text, paged
from streamsite.api.permissions import ADMIN, READ_ONLY, needs

nodes = Router(tags=["machines"])
log = Router(tags=["machines"])


class NodeDetail(RowSchema):
    """A node: its state, and the slugs of the channels that it plays.

    `as_second`: channels of other nodes that it plays as well, as their second node.
    `ffmpeg`: its version, empty if missing. `seen_at`: the time of the last report. `sentence`:
    what the state means, empty if all is well. `room`: channels that it can still take; null
    for a silent node and, as `max_channels`, for an older version.
    `clock_ahead`: seconds, beside the database server.
    """

    id: int
    name: str
    version: str
    ffmpeg: str
    hides_keys: bool | None
    started_at: datetime | None
    seen_at: datetime | None
    state: NodeState
    sentence: str
    channels: list[str] = Field(validation_alias="slugs")
    as_second: int
    max_channels: int | None
    room: int | None
    clock_ahead: float | None
    drain_ordered_at: datetime | None
    drain_ordered_by: str


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
    """Channels that are not the caller's own are left out of `channels`."""
    page = paged(Node.objects.all(), "name", params)
    by_id = _reports(request)
    page["items"] = [by_id[node.pk] for node in page["items"] if node.pk in by_id]
    return page


def _reports(request: HttpRequest) -> dict[int, NodeReport]:
    mine = set(visible(Channel.objects.all(), request).values_list("slug", flat=True))
    return {node.id: node.seen_by(mine) for node in reports(timezone.now())}


def _detail(request: HttpRequest, pk: int) -> NodeReport:
    report = _reports(request).get(pk)
    if report is None:
        raise Http404("The node has been removed.")
    return report


@nodes.post(
    "/{id}/drain",
    response=NodeDetail,
    summary="Drain a node",
    description="Its channels move to other nodes, each at the end of its item; 409 if it "
    "drains already.",
)
@needs(ADMIN, "streams.drain_node")
def drain(request: HttpRequest, id: Id) -> NodeReport:
    who, node = caller(request), get_object_or_404(Node, pk=id)
    note = node_orders.noted(who, node, "drain")
    node_orders.drain(node, by=who.name, now=timezone.now(), note=note)
    return _detail(request, id)


@nodes.post(
    "/{id}/resume",
    response=NodeDetail,
    summary="End the drain of a node",
    description="It may take channels again; 409 if it does not drain.",
)
@needs(ADMIN, "streams.drain_node")
def resume(request: HttpRequest, id: Id) -> NodeReport:
    node = get_object_or_404(Node, pk=id)
    node_orders.resume(node, note=node_orders.noted(caller(request), node, "resume"))
    return _detail(request, id)


@nodes.delete(
    "/{id}",
    response={204: None},
    summary="Remove a node that is gone from the list",
    description="409 while it reports or has a channel. A node that comes back appears anew.",
)
@needs(ADMIN, "streams.delete_node")
def delete(request: HttpRequest, id: Id) -> Status[None]:
    node = get_object_or_404(Node, pk=id)
    note = node_orders.noted(caller(request), node, "remove")
    node_orders.remove(node, now=timezone.now(), note=note)
    return Status(204, None)


@log.get(
    "/{slug:slug}/log",
    response=Page[LineDetail],
    summary="The log of a channel's processes, latest first",
)
@needs(READ_ONLY, "streams.view_channel")
def lines(request: HttpRequest, slug: str, filters: Query[LineFilter]) -> dict[str, Any]:
    return paged(LogLine.objects.filter(channel=id_of(request, slug)), "-id", filters)
