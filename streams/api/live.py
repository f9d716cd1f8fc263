"""Live in the API: who may go live, with which key, and what is or was live."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from django.db import transaction
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone
from ninja import Query, Router, Schema, Status
from pydantic import Field, StringConstraints

from streams.api.channels import Name
from streams.ingest import keys, report
from streams.ingest.servers import door
from streams.models import Broadcaster, LiveStream, StreamKey
from streams.models.ingest import SLUG
from streamsite.api.auth import caller
from streamsite.api.crud import (
    Body,
    Id,
    KeySchema,
    Later,
    Page,
    Paging,
    RowSchema,
    added,
    edited,
    may_be_left_out,
    noted,
    paged,
    removed,
)
from streamsite.http.problems import Kind, ProblemError

broadcasters = Router(tags=["live"])
stream_keys = Router(tags=["live"])
streams = Router(tags=["live"])

Path = Annotated[str, StringConstraints(pattern=rf"^{SLUG}$")]
Text = Annotated[str, StringConstraints(max_length=2000)]
Label = Annotated[str, StringConstraints(max_length=80)]


# ---- broadcasters ----------------------------------------------------------------------------
class BroadcasterDetail(RowSchema):
    """They publish to `path`."""

    id: int
    name: str
    slug: str
    path: str
    enabled: bool
    note: str


class BroadcasterChange(Body):
    """What is left out stays as it is."""

    name: Name = may_be_left_out()
    slug: Path = may_be_left_out()
    enabled: bool = may_be_left_out()
    note: Text = may_be_left_out()


class NewBroadcaster(BroadcasterChange):
    name: Name
    slug: Path


class BroadcasterFilter(Paging):
    enabled: bool | None = None
    q: str = Field("", max_length=80, description="In their name or slug.")


def _refuse_live(row: Broadcaster) -> None:
    """Raises `ProblemError`: their stream would go on at the old path."""
    if row.streams.filter(ended_at=None).exists():
        raise ProblemError(
            Kind.CONFLICT, f"{row.name} is live: revoke the key or disable them first."
        )


@broadcasters.get("", response=Page[BroadcasterDetail], summary="Broadcasters, by name")
def listed(request: HttpRequest, asked: Query[BroadcasterFilter]) -> dict[str, Any]:
    rows = Broadcaster.objects.all()
    if asked.enabled is not None:
        rows = rows.filter(enabled=asked.enabled)
    if asked.q:
        rows = rows.filter(name__icontains=asked.q) | rows.filter(slug__icontains=asked.q)
    return paged(rows, "name", asked)


@broadcasters.post("", response={201: BroadcasterDetail}, summary="A new broadcaster")
def create(request: HttpRequest, asked: NewBroadcaster) -> Status[Broadcaster]:
    return Status(201, added(request, Broadcaster(**asked.given())))


@broadcasters.get("/{id}", response=BroadcasterDetail, summary="One broadcaster")
def broadcaster(request: HttpRequest, id: Id) -> Broadcaster:
    return get_object_or_404(Broadcaster, pk=id)


@broadcasters.patch("/{id}", response=BroadcasterDetail, summary="Change them")
def change(request: HttpRequest, id: Id, asked: BroadcasterChange) -> Broadcaster:
    fields = asked.given()

    def demand(row: Broadcaster) -> None:
        if fields.get("slug", row.slug) != row.slug:
            _refuse_live(row)

    return edited(request, Broadcaster.objects.all(), id, fields, demand=demand)


@broadcasters.delete("/{id}", response={204: None}, summary="Delete them, with their keys")
def delete(request: HttpRequest, id: Id) -> Status[None]:
    removed(request, Broadcaster.objects.all(), pk=id, demand=_refuse_live)
    return Status(204, None)


# ---- stream keys -----------------------------------------------------------------------------
class StreamKeyDetail(KeySchema):
    """state: active, in_use, used_up, expired, revoked. The key itself is told once."""

    broadcaster_id: int
    label: str
    single_use: bool


class MintedKey(StreamKeyDetail):
    """`key_value` is told here and never again."""

    key_value: str


class NewStreamKey(Body):
    broadcaster_id: Id
    label: Label = ""
    expires_at: Later | None = None
    single_use: bool = False


class StreamKeyFilter(Paging):
    broadcaster_id: Id | None = None
    revoked: bool | None = None


@stream_keys.get("", response=Page[StreamKeyDetail], summary="Stream keys, the latest first")
def stream_key_list(request: HttpRequest, asked: Query[StreamKeyFilter]) -> dict[str, Any]:
    rows = StreamKey.objects.all()
    if asked.broadcaster_id is not None:
        rows = rows.filter(broadcaster=asked.broadcaster_id)
    if asked.revoked is not None:
        rows = rows.filter(revoked_at__isnull=not asked.revoked)
    return paged(rows, "-id", asked)


@stream_keys.post("", response={201: MintedKey}, summary="A new key, told once")
def mint(request: HttpRequest, asked: NewStreamKey) -> Status[StreamKey]:
    with transaction.atomic():
        owner = get_object_or_404(Broadcaster, pk=asked.broadcaster_id)
        row, key = keys.mint(
            owner,
            by=caller(request).name,
            now=timezone.now(),
            label=asked.label,
            expires_at=asked.expires_at,
            single_use=asked.single_use,
        )
        noted(request, owner, f"Stream key {row} minted.")
    row.key_value = key.reveal()  # type: ignore[attr-defined]  # the schema's field
    return Status(201, row)


@stream_keys.get("/{id}", response=StreamKeyDetail, summary="One key, without itself")
def stream_key(request: HttpRequest, id: Id) -> StreamKey:
    return get_object_or_404(StreamKey, pk=id)


@stream_keys.delete(
    "/{id}",
    response={204: None},
    summary="Revoke it",
    description="What is live with it is ended. The key stays listed, as revoked.",
)
def revoke(request: HttpRequest, id: Id) -> Status[None]:
    row = get_object_or_404(StreamKey.objects.select_related("broadcaster"), pk=id)
    if row.revoked_at is None:
        # Outside any transaction: see there.
        keys.revoke(row, by=caller(request).name, now=timezone.now(), door=door())
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
    """state: live, unknown (the server can't be asked), ended. `key` is the key's prefix.

    bitrate in bit/s.
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
    """`fault` says why it may be out of date; empty: it is not."""

    items: list[StreamDetail]
    next_cursor: str | None
    fault: str


class StreamFilter(Paging):
    state: Literal["live", "ended", "all"] = "live"
    broadcaster_id: Id | None = None


@streams.get("", response=StreamPage, summary="Live streams, the latest first")
def live(request: HttpRequest, asked: Query[StreamFilter]) -> dict[str, Any]:
    rows = LiveStream.objects.select_related("broadcaster", "key")
    if asked.state != "all":
        rows = rows.filter(ended_at__isnull=asked.state == "live")
    if asked.broadcaster_id is not None:
        rows = rows.filter(broadcaster=asked.broadcaster_id)
    found = paged(rows, "-started_at", asked)
    found["items"] = [report.told(row) for row in found["items"]]
    return found | {"fault": report.fault()}


@streams.get("/{id}", response=StreamDetail, summary="One stream, also after its end")
def stream(request: HttpRequest, id: Id) -> dict[str, Any]:
    rows = LiveStream.objects.select_related("broadcaster", "key")
    return report.told(get_object_or_404(rows, pk=id))
