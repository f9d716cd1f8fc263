"""The library's items in the API: search, inspection, preparation."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from ninja import Query, Schema, Status
from pydantic import Field, StringConstraints

from media_library import actions
from media_library.jobs import enqueue
from media_library.models import MediaItem, PreparedCopy, Tag
from media_library.search import listing
from media_library.views.pictures import thumbnails
from streamsite.api.auth import Router
from streamsite.api.crud import (
    Body,
    Id,
    Moment,
    Page,
    Paging,
    RowSchema,
    added,
    changed,
    may_be_left_out,
    noted,
    page,
    removed,
    window,
)
from streamsite.api.permissions import ADMIN, READ_ONLY, needs
from streamsite.http.problems import Kind, ProblemError

router = Router(tags=["media"])

Word = Annotated[str, StringConstraints(min_length=1, max_length=64, strip_whitespace=True)]


class CopyDetail(Schema):
    """One prepared copy. `house_format` is the signature of its house format."""

    house_format: str
    status: str
    percent: int
    stage: str
    fault: str
    loudness_lufs: float | None
    made_at: datetime | None


class ItemBrief(RowSchema):
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
    """`fps` is a fraction, such as 30000/1001."""

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
    """All conditions must hold."""

    q: str = Field("", max_length=400, description="Words in the title or key.")
    #: As `MediaItem.Status` has them.
    status: Literal["new", "probed", "preparing", "ready", "fault"] | None = None
    tag: str = Field("", max_length=64)
    folder: str = Field("", max_length=1024, description="Such as films/series.")
    longer: float | None = Field(None, ge=0, le=1e9, description="Seconds, at least.")
    shorter: float | None = Field(None, ge=0, le=1e9, description="Seconds, less than this.")
    added_since: Moment | None = None
    order: Literal["title", "newest", "longest", "shortest"] = "newest"


class ItemChange(Body):
    """Omitted fields stay unchanged. `tags` replaces all tags."""

    title: Annotated[
        str, StringConstraints(min_length=1, max_length=255, strip_whitespace=True)
    ] = may_be_left_out()
    age_rating: Literal[0, 6, 12, 16, 18] | None = may_be_left_out()
    source: Annotated[str, StringConstraints(max_length=500)] = may_be_left_out()
    rights: Annotated[str, StringConstraints(max_length=10_000)] = may_be_left_out()
    tags: list[Word] = may_be_left_out(max_length=50)


class NewItem(Body):
    """`key`: the file's name in the storage, such as films/a.mp4."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    title: Annotated[
        str, StringConstraints(min_length=1, max_length=255, strip_whitespace=True)
    ]


class Accepted(Schema):
    detail: str


def _matching(filters: ItemFilter) -> QuerySet[MediaItem]:
    matching: QuerySet[MediaItem] = MediaItem.objects.all()
    if filters.order in {"longest", "shortest"}:
        # Items of unknown length have no position in this order.
        matching = matching.filter(duration_seconds__isnull=False)
    if filters.status is not None:
        matching = listing.with_status(matching, filters.status)
    if filters.longer is not None or filters.shorter is not None:
        matching = listing.lasting(matching, filters.longer, filters.shorter)
    if filters.added_since is not None:
        matching = listing.added_since(matching, filters.added_since)
    if filters.tag:
        matching = listing.tagged(matching, filters.tag)
    if folder := filters.folder.strip("/"):
        matching = listing.in_folder(matching, f"{folder}/")
    return listing.searched(matching, filters.q)


@router.get("", response=Page[ItemBrief], summary="Items that match")
@needs(READ_ONLY, "media_library.view_mediaitem")
def items(request: HttpRequest, filters: Query[ItemFilter]) -> dict[str, Any]:
    order = listing.ORDERS[filters.order][0]
    # The ids first, from the index of the order alone: see media_library.search.listing.
    narrow = window(_matching(filters), order, filters).values_list("pk", flat=True)
    ids = list(narrow)
    by_id = MediaItem.objects.order_by().in_bulk(ids)
    return page([by_id[pk] for pk in ids if pk in by_id], order, filters)


@router.post("", response={201: ItemDetail}, summary="Add a file of the storage")
@needs(ADMIN, "media_library.add_mediaitem")
def add(request: HttpRequest, body: NewItem) -> Status[MediaItem]:
    """The file is inspected at once. A sync adds such files automatically."""
    item = added(request, MediaItem(key=body.key, title=body.title), then=enqueue.probe)
    return Status(201, item)


@router.get("/{id}", response=ItemDetail, summary="One item, with its copies")
@needs(READ_ONLY, "media_library.view_mediaitem")
def item(request: HttpRequest, id: Id) -> MediaItem:
    return get_object_or_404(MediaItem, pk=id)


@router.patch("/{id}", response=ItemDetail, summary="Change an item's data")
@needs(ADMIN, "media_library.change_mediaitem")
def change(request: HttpRequest, id: Id, body: ItemChange) -> MediaItem:
    fields = body.given()
    tags: list[str] | None = fields.pop("tags", None)
    with transaction.atomic():
        row = get_object_or_404(MediaItem.objects.select_for_update(), pk=id)
        changed(row, fields)
        if tags is not None:
            row.tags.set([Tag.objects.get_or_create(name=name)[0] for name in tags])
        noted(request, row, f"Changed {', '.join(sorted(body.given())) or 'nothing'}.")
    return row


@router.delete("/{id}", response={204: None}, summary="Delete it; its file stays")
@needs(ADMIN, "media_library.delete_mediaitem")
def delete(request: HttpRequest, id: Id) -> Status[None]:
    """Channels continue without it. The next sync adds its file again, if it still exists."""
    removed(request, MediaItem.objects.all(), pk=id)
    return Status(204, None)


@router.get(
    "/{id}/thumb.jpg",
    summary="Three thumbnails, side by side",
    description="Or a redirect to a URL of the bucket, valid for an hour.",
    response={200: None, 302: None},
)
@needs(READ_ONLY, "media_library.view_mediaitem")
def thumb(request: HttpRequest, id: Id) -> HttpResponseBase:
    response = thumbnails(get_object_or_404(MediaItem.objects.only("thumbnails"), pk=id))
    if response is None:
        raise Http404
    return response


@router.post("/{id}/cancel", response={202: Accepted}, summary="Stop preparing it")
@needs(ADMIN, "media_library.change_mediaitem")
def cancel(request: HttpRequest, id: Id) -> Status[dict[str, str]]:
    row = get_object_or_404(MediaItem, pk=id)
    cancelled = [copy for copy in row.copies.all() if actions.cancel_prepare(copy)]
    if not cancelled:
        raise ProblemError(Kind.CONFLICT, "No copy of it is being prepared.")
    noted(request, row, "Preparing cancelled.")
    return Status(202, {"detail": "Preparing is cancelled."})


@router.post("/{id}/look-again", response={202: Accepted}, summary="Inspect its file again")
@needs(ADMIN, "media_library.change_mediaitem")
def inspect_again(request: HttpRequest, id: Id) -> Status[dict[str, str]]:
    row = get_object_or_404(MediaItem, pk=id)
    actions.inspect_again([row.pk])
    noted(request, row, "Inspection ordered.")
    return Status(202, {"detail": "The file will be inspected."})


@router.post("/{id}/retry", response={202: Accepted}, summary="Retry after a fault")
@needs(ADMIN, "media_library.change_mediaitem")
def retry(request: HttpRequest, id: Id) -> Status[dict[str, str]]:
    row = get_object_or_404(MediaItem, pk=id)
    actions.retry(row)
    noted(request, row, "Retry ordered.")
    return Status(202, {"detail": "It will be tried again."})
