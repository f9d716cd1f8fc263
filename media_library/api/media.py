"""The library's items in the API: found, looked at, prepared."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from ninja import Query, Router, Schema, Status
from pydantic import Field, StringConstraints

from media_library import actions
from media_library.jobs import enqueue
from media_library.models import MediaItem, PreparedCopy, Tag
from media_library.search import listing
from media_library.views.pictures import thumbnails
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
from streamsite.http.problems import Kind, ProblemError

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
    #: As `MediaItem.Status` has them.
    status: Literal["new", "probed", "preparing", "ready", "fault"] | None = None
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


class NewItem(Body):
    """`key`: the file's name in the storage, such as films/a.mp4."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    title: Annotated[
        str, StringConstraints(min_length=1, max_length=255, strip_whitespace=True)
    ]


class Accepted(Schema):
    detail: str


def _wanted(asked: ItemFilter) -> QuerySet[MediaItem]:
    found: QuerySet[MediaItem] = MediaItem.objects.all()
    if asked.order in {"longest", "shortest"}:
        # Those of unknown length have no place in this order.
        found = found.filter(duration_seconds__isnull=False)
    if asked.status is not None:
        found = listing.with_status(found, asked.status)
    if asked.longer is not None or asked.shorter is not None:
        found = listing.lasting(found, asked.longer, asked.shorter)
    if asked.added_since is not None:
        found = listing.added_since(found, asked.added_since)
    if asked.tag:
        found = listing.tagged(found, asked.tag)
    if folder := asked.folder.strip("/"):
        found = listing.in_folder(found, f"{folder}/")
    return listing.searched(found, asked.q)


@router.get("", response=Page[ItemBrief], summary="Items that match")
def items(request: HttpRequest, asked: Query[ItemFilter]) -> dict[str, Any]:
    order = listing.ORDERS[asked.order][0]
    # Their ids first, from the index of the order alone: see media_library.search.listing.
    narrow = window(_wanted(asked), order, asked).values_list("pk", flat=True)
    ids = list(narrow)
    found = MediaItem.objects.order_by().in_bulk(ids)
    return page([found[pk] for pk in ids if pk in found], order, asked)


@router.post("", response={201: ItemDetail}, summary="A file that is in the storage already")
def add(request: HttpRequest, asked: NewItem) -> Status[MediaItem]:
    """It is looked into at once. A sync finds such files by itself."""
    item = added(request, MediaItem(key=asked.key, title=asked.title), then=enqueue.probe)
    return Status(201, item)


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


@router.delete("/{id}", response={204: None}, summary="Forget it; its file stays")
def delete(request: HttpRequest, id: Id) -> Status[None]:
    """Channels play on without it. The next sync finds its file again, if it is still there."""
    removed(request, MediaItem.objects.all(), pk=id)
    return Status(204, None)


@router.get(
    "/{id}/thumb.jpg",
    summary="Three pictures of it, side by side",
    description="Or where they are: an address of the bucket, good for an hour.",
    response={200: None, 302: None},
)
def thumb(request: HttpRequest, id: Id) -> HttpResponseBase:
    found = thumbnails(get_object_or_404(MediaItem.objects.only("thumbnails"), pk=id))
    if found is None:
        raise Http404
    return found


@router.post("/{id}/cancel", response={202: Accepted}, summary="Stop preparing it")
def cancel(request: HttpRequest, id: Id) -> Status[dict[str, str]]:
    row = get_object_or_404(MediaItem, pk=id)
    cancelled = [copy for copy in row.copies.all() if actions.cancel_prepare(copy)]
    if not cancelled:
        raise ProblemError(Kind.CONFLICT, "Nothing of it is being prepared.")
    noted(request, row, "Preparing cancelled.")
    return Status(202, {"detail": "Preparing is cancelled."})


@router.post("/{id}/look-again", response={202: Accepted}, summary="Look into its file again")
def look_again(request: HttpRequest, id: Id) -> Status[dict[str, str]]:
    row = get_object_or_404(MediaItem, pk=id)
    actions.look_again([row.pk])
    noted(request, row, "Another look ordered.")
    return Status(202, {"detail": "The file will be looked into."})


@router.post("/{id}/retry", response={202: Accepted}, summary="Try again what went wrong")
def retry(request: HttpRequest, id: Id) -> Status[dict[str, str]]:
    row = get_object_or_404(MediaItem, pk=id)
    actions.retry(row)
    noted(request, row, "Another try ordered.")
    return Status(202, {"detail": "It will be tried again."})
