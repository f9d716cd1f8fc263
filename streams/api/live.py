"""API routes for broadcasters, their stream keys, and live streams."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone
from ninja import Query, Schema, Status
from pydantic import StringConstraints

from streams.api.channels import Name, NameOrSlug
from streams.ingest import keys, report
from streams.ingest.servers import configured_client
from streams.models import Broadcaster, LiveStream, StreamKey, visible
from streams.models.ingest import SLUG
from streamsite.api.auth import Router, caller
from streamsite.api.crud import (
    Body,
    Id,
    KeySchema,
    Later,
    Page,
    Paging,
    Revoked,
    RowSchema,
    added,
    edited,
    may_be_left_out,
    noted,
    paged,
    removed,
)
from streamsite.api.permissions import ADMIN, READ_ONLY, needs
from streamsite.http.problems import Kind, ProblemError

broadcasters = Router(tags=["live"])
stream_keys = Router(tags=["live"])
streams = Router(tags=["live"])

Path = Annotated[str, StringConstraints(pattern=rf"^{SLUG}$")]
Text = Annotated[str, StringConstraints(max_length=2000)]
Label = Annotated[str, StringConstraints(max_length=80)]


# ---- broadcasters ----------------------------------------------------------------------------
class BroadcasterDetail(RowSchema):
    """The broadcaster publishes to `path`."""

    id: int
    name: str
    slug: str
    path: str
    enabled: bool
    note: str


class BroadcasterChange(Body):
    """A partial change: omitted fields stay unchanged."""

    name: Name = may_be_left_out()
    slug: Path = may_be_left_out()
    enabled: bool = may_be_left_out()
    note: Text = may_be_left_out()


class NewBroadcaster(BroadcasterChange):
    name: Name
    slug: Path


class BroadcasterFilter(Paging):
    enabled: bool | None = None
    q: NameOrSlug = None


def _refuse_live(row: Broadcaster) -> None:
    """Raises `ProblemError` if they are live: the stream would continue at the old path."""
    if row.streams.filter(ended_at=None).exists():
        raise ProblemError(
            Kind.CONFLICT,
            f"{row.name} is live. Revoke the key or disable the broadcaster first.",
        )


@broadcasters.get("", response=Page[BroadcasterDetail], summary="Broadcasters, by name")
@needs(READ_ONLY, "streams.view_broadcaster")
def listed(request: HttpRequest, filters: Query[BroadcasterFilter]) -> dict[str, Any]:
    return paged(visible(Broadcaster.objects.all(), request), "name", filters)


@broadcasters.post("", response={201: BroadcasterDetail}, summary="Create a broadcaster")
@needs(ADMIN, "streams.add_broadcaster")
def create(request: HttpRequest, body: NewBroadcaster) -> Status[Broadcaster]:
    return Status(201, added(request, Broadcaster(**body.given())))


@broadcasters.get("/{id}", response=BroadcasterDetail, summary="Get a broadcaster")
@needs(READ_ONLY, "streams.view_broadcaster")
def broadcaster(request: HttpRequest, id: Id) -> Broadcaster:
    return get_object_or_404(visible(Broadcaster.objects.all(), request), pk=id)


@broadcasters.patch("/{id}", response=BroadcasterDetail, summary="Change a broadcaster")
@needs(ADMIN, "streams.change_broadcaster")
def change(request: HttpRequest, id: Id, body: BroadcasterChange) -> Broadcaster:
    fields = body.given()

    def demand(row: Broadcaster) -> None:
        if fields.get("slug", row.slug) != row.slug:
            _refuse_live(row)

    rows = visible(Broadcaster.objects.all(), request)
    return edited(request, rows, id, fields, demand=demand)


@broadcasters.delete(
    "/{id}", response={204: None}, summary="Delete a broadcaster and their keys"
)
@needs(ADMIN, "streams.delete_broadcaster")
def delete(request: HttpRequest, id: Id) -> Status[None]:
    rows = visible(Broadcaster.objects.all(), request)
    removed(request, rows, pk=id, demand=_refuse_live)
    return Status(204, None)


# ---- stream keys -----------------------------------------------------------------------------
class StreamKeyDetail(KeySchema):
    """state: active, in_use, used_up, expired, revoked. The key itself is not included."""

    broadcaster_id: int
    label: str
    single_use: bool


class MintedKey(StreamKeyDetail):
    """`key_value` is returned here only, and can't be retrieved later."""

    key_value: str


class NewStreamKey(Body):
    broadcaster_id: Id
    label: Label = ""
    expires_at: Later | None = None
    single_use: bool = False


class StreamKeyFilter(Paging):
    broadcaster_id: Id | None = None
    revoked: Revoked = None


@stream_keys.get("", response=Page[StreamKeyDetail], summary="Stream keys, latest first")
@needs(READ_ONLY, "streams.view_streamkey")
def stream_key_list(request: HttpRequest, filters: Query[StreamKeyFilter]) -> dict[str, Any]:
    return paged(visible(StreamKey.objects.all(), request), "-id", filters)


@stream_keys.post("", response={201: MintedKey}, summary="Create a key; it is returned once")
@needs(ADMIN, "streams.add_streamkey")
def mint(request: HttpRequest, body: NewStreamKey) -> Status[StreamKey]:
    with transaction.atomic():
        mine = visible(Broadcaster.objects.all(), request)
        owner = get_object_or_404(mine, pk=body.broadcaster_id)
        row, key = keys.mint(
            owner,
            by=caller(request).name,
            now=timezone.now(),
            label=body.label,
            expires_at=body.expires_at,
            single_use=body.single_use,
        )
        noted(request, owner, f"Stream key {row} minted.")
    row.key_value = key.reveal()  # type: ignore[attr-defined]  # the schema's field
    return Status(201, row)


@stream_keys.get("/{id}", response=StreamKeyDetail, summary="Get a key's record")
@needs(READ_ONLY, "streams.view_streamkey")
def stream_key(request: HttpRequest, id: Id) -> StreamKey:
    return get_object_or_404(visible(StreamKey.objects.all(), request), pk=id)


@stream_keys.delete(
    "/{id}",
    response={204: None},
    summary="Revoke a key",
    description="The stream that uses it is ended. The key stays listed as revoked.",
)
@needs(ADMIN, "streams.change_streamkey")
def revoke(request: HttpRequest, id: Id) -> Status[None]:
    rows = visible(StreamKey.objects.select_related("broadcaster"), request)
    row = get_object_or_404(rows, pk=id)
    if row.revoked_at is None:
        # Outside any transaction: see `keys.revoke`.
        keys.revoke(
            row, by=caller(request).name, now=timezone.now(), server=configured_client()
        )
        noted(request, row.broadcaster, f"Stream key {row} revoked.")
    return Status(204, None)


# ---- streams ---------------------------------------------------------------------------------
class StreamOwner(Schema):
    name: str
    slug: str


class StreamSource(Schema):
    type: str
    id: str
    address: str


class StreamDetail(Schema):
    """state: live, unknown (the ingest server can't be reached), ended.

    `key` is the key's prefix; bitrate in bit/s.
    """

    id: int
    path: str
    broadcaster: StreamOwner | None
    key: str | None
    source: StreamSource
    server: str
    state: str
    started_at: datetime
    ended_at: datetime | None
    seen_at: datetime
    bitrate: int | None
    bytes_in: int | None
    tracks: list[Any]
    urls: dict[str, str]


class StreamPage(Schema):
    """`fault`: why the list may be outdated; empty: it is current."""

    items: list[StreamDetail]
    next_cursor: str | None
    fault: str


class StreamFilter(Paging):
    state: Literal["live", "ended", "all"] = "live"
    broadcaster_id: Id | None = None

    def filter_state(self, state: str) -> Q:
        return Q() if state == "all" else Q(ended_at__isnull=state == "live")


@streams.get("", response=StreamPage, summary="Streams, latest first")
@needs(READ_ONLY, "streams.view_livestream")
def live(request: HttpRequest, filters: Query[StreamFilter]) -> dict[str, Any]:
    rows = visible(LiveStream.objects.select_related("broadcaster", "key"), request)
    page = paged(rows, "-started_at", filters)
    page["items"] = [report.stream_json(row) for row in page["items"]]
    return page | {"fault": report.fault()}


@streams.get("/{id}", response=StreamDetail, summary="Get a stream, also after its end")
@needs(READ_ONLY, "streams.view_livestream")
def stream(request: HttpRequest, id: Id) -> dict[str, Any]:
    rows = visible(LiveStream.objects.select_related("broadcaster", "key"), request)
    return report.stream_json(get_object_or_404(rows, pk=id))
