"""The library's items in the API: search, inspection, preparation."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from django.db import transaction
from django.db.models import QuerySet
from django.http import FileResponse, Http404, HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from ninja import Query, Schema, Status
from pydantic import BeforeValidator, Field, StringConstraints

from media_library import actions, storage
from media_library.jobs import enqueue
from media_library.location import LocalFile, SignedUrl
from media_library.models import MediaItem, Tag
from media_library.search import listing
from streamsite.api.auth import Router
from streamsite.api.crud import (
    Accepted,
    Body,
    Given,
    Id,
    Moment,
    Page,
    Paging,
    RequestSchema,
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

#: Lifetime of a thumbnail's signed URL, and of a browser's copy, in seconds.
THUMBNAIL_URL_LIFETIME_S: Final = 3600
Word = Annotated[str, StringConstraints(min_length=1, max_length=64, strip_whitespace=True)]


class CopyDetail(RowSchema):
    """One prepared copy. `house_format` is the signature of its house format."""

    id: int
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
    has_thumbnails: Given = Field(validation_alias="thumbnails")


class ItemDetail(ItemBrief):
    """`fps` is a fraction, such as 30000/1001."""

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
    tags: Annotated[list[str], BeforeValidator(lambda tags: [tag.name for tag in tags.all()])]
    copies: Annotated[list[CopyDetail], BeforeValidator(lambda rows: rows.order_by("pk"))]


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


class FolderParams(RequestSchema):
    parent: str = Field("", max_length=1024, description="Such as films. Default: the top.")


class Folders(Schema):
    """`more`: there are more than are listed."""

    folders: list[str]
    more: bool


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


# Before the items, whose ids are no words.
@router.get("/folders", response=Folders, summary="Subfolders of a folder")
@needs(READ_ONLY, "media_library.view_mediaitem")
def folders(request: HttpRequest, params: Query[FolderParams]) -> dict[str, Any]:
    parent = params.parent.strip("/")
    names, more = listing.folders(f"{parent}/" if parent else "")
    return {"folders": names, "more": more}


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
    item = get_object_or_404(MediaItem.objects.only("thumbnails"), pk=id)
    if not item.thumbnails:
        raise Http404
    answer: HttpResponseBase
    match storage.locate(item.thumbnails, seconds=THUMBNAIL_URL_LIFETIME_S):
        case LocalFile(path):
            try:
                answer = FileResponse(path.open("rb"), content_type="image/jpeg")
            except OSError:
                raise Http404 from None
        case SignedUrl(url):
            answer = HttpResponseRedirect(url.reveal())
    answer["Cache-Control"] = f"private, max-age={THUMBNAIL_URL_LIFETIME_S - 60}"
    return answer


class CopyParams(RequestSchema):
    copy_id: Id | None = Field(None, description="Only this copy. Default: all of the item.")


@router.post("/{id}/cancel", response={202: Accepted}, summary="Stop preparing it")
@needs(ADMIN, "media_library.change_mediaitem")
def cancel(request: HttpRequest, id: Id, params: Query[CopyParams]) -> Status[dict[str, str]]:
    row = get_object_or_404(MediaItem, pk=id)
    copies = row.copies.filter(**({"pk": params.copy_id} if params.copy_id else {}))
    cancelled = [copy for copy in copies if actions.cancel_prepare(copy)]
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
