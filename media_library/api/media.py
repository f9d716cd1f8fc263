"""The library's items in the API: found, looked at, prepared."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Router, Schema, Status
from pydantic import Field, StringConstraints

from media_library import actions, browse
from media_library.models import MediaItem, PreparedCopy, Tag
from streamsite.rest import (
    Body,
    Id,
    Moment,
    Page,
    Paging,
    Told,
    changed,
    may_be_left_out,
    noted,
    page,
    window,
)

router = Router(tags=["media"])

Word = Annotated[str, StringConstraints(min_length=1, max_length=64, strip_whitespace=True)]


class CopyDetail(Schema):
    """One prepared copy. `house` is the signature of its house format."""

    house: str
    status: str
    percent: int
    stage: str
    fault: str
    loudness_lufs: float | None
    made_at: datetime | None


class ItemBrief(Told):
    """Lengths in seconds, sizes in bytes, ages in years."""

    id: int
    key: str
    title: str
    status: str
    fault: str
    duration_seconds: float | None
    size_bytes: int | None
    age_rating: int | None
    added_at: datetime
    missing_since: datetime | None


class ItemDetail(Schema):
    """`fps` is a fraction, as 30000/1001."""

    id: int
    key: str
    title: str
    status: str
    fault: str
    duration_seconds: float | None
    size_bytes: int | None
    age_rating: int | None
    added_at: datetime
    missing_since: datetime | None

    width: int | None
    height: int | None
    fps: str
    video_codec: str
    audio_codec: str
    sample_rate: int | None
    channels: int | None
    loudness_lufs: float | None
    source: str
    rights: str
    tags: list[str]
    copies: list[CopyDetail]

    @staticmethod
    def resolve_tags(item: Any) -> list[str]:
        return [tag.name for tag in item.tags.all()]

    @staticmethod
    def resolve_copies(item: Any) -> list[PreparedCopy]:
        return list(item.copies.order_by("pk"))


class ItemFilter(Paging):
    """All that is given must hold."""

    q: str = Field("", max_length=400, description="Words in the title or key.")
    status: MediaItem.Status | None = None
    tag: str = Field("", max_length=64)
    folder: str = Field("", max_length=1024, description="As films/series.")
    longer: float | None = Field(None, ge=0, le=1e9, description="Seconds, at least.")
    shorter: float | None = Field(None, ge=0, le=1e9, description="Seconds; less than that.")
    added_since: Moment | None = None
    order: Literal["title", "newest", "longest", "shortest"] = "newest"


class ItemChange(Body):
    """What is left out stays as it is. `tags` are all of its tags."""

    title: Annotated[
        str, StringConstraints(min_length=1, max_length=255, strip_whitespace=True)
    ] = may_be_left_out()
    age_rating: Literal[0, 6, 12, 16, 18] | None = may_be_left_out()
    source: Annotated[str, StringConstraints(max_length=500)] = may_be_left_out()
    rights: Annotated[str, StringConstraints(max_length=10_000)] = may_be_left_out()
    tags: list[Word] = may_be_left_out(max_length=50)


class Accepted(Schema):
    detail: str


def _wanted(asked: ItemFilter) -> QuerySet[MediaItem]:
    found: QuerySet[MediaItem] = MediaItem.objects.all()
    if asked.order in {"longest", "shortest"}:
        # Those of unknown length have no place in this order.
        found = found.filter(duration_seconds__isnull=False)
    if asked.status is not None:
        found = browse.with_status(found, asked.status.value)
    if asked.longer is not None or asked.shorter is not None:
        found = browse.lasting(found, asked.longer, asked.shorter)
    if asked.added_since is not None:
        found = browse.added_since(found, asked.added_since)
    if asked.tag:
        found = browse.tagged(found, asked.tag)
    if folder := asked.folder.strip("/"):
        found = browse.in_folder(found, f"{folder}/")
    return browse.searched(found, asked.q)


@router.get("", response=Page[ItemBrief], summary="Items that match")
def items(request: HttpRequest, asked: Query[ItemFilter]) -> dict[str, Any]:
    order = browse.ORDERS[asked.order][0]
    # Their ids first, from the index of the order alone: see media_library.browse.
    narrow = window(_wanted(asked), order, asked).values_list("pk", flat=True)
    ids = list(narrow)
    found = MediaItem.objects.in_bulk(ids)
    return page([found[pk] for pk in ids if pk in found], order, asked)


@router.get("/{id}", response=ItemDetail, summary="One item, with its copies")
def item(request: HttpRequest, id: Id) -> MediaItem:
    return get_object_or_404(MediaItem, pk=id)


@router.patch("/{id}", response=ItemDetail, summary="Change what people know of it")
def change(request: HttpRequest, id: Id, asked: ItemChange) -> MediaItem:
    fields = asked.given()
    tags: list[str] | None = fields.pop("tags", None)
    with transaction.atomic():
        row = get_object_or_404(MediaItem.objects.select_for_update(), pk=id)
        changed(row, fields)
        if tags is not None:
            row.tags.set([Tag.objects.get_or_create(name=name)[0] for name in tags])
        noted(request, row, f"Changed {', '.join(sorted(asked.given())) or 'nothing'}.")
    return row


@router.post("/{id}/retry", response={202: Accepted}, summary="Try again what went wrong")
def retry(request: HttpRequest, id: Id) -> Status[dict[str, str]]:
    row = get_object_or_404(MediaItem, pk=id)
    actions.retry(row)
    noted(request, row, "Another try ordered.")
    return Status(202, {"detail": "It will be tried again."})
