"""Playlists in the API. A change of the order names the version that it is based on."""

from __future__ import annotations

from typing import Annotated, Any, Final

from django.db.models import Count, QuerySet, Sum
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import FilterLookup, Query, Schema, Status
from pydantic import Field, StringConstraints

from media_library.models import Playlist, PlaylistEntry
from media_library.playlists import edit
from media_library.playlists.edit import MAX_ENTRIES, Place
from streamsite.api.auth import Router
from streamsite.api.crud import (
    Body,
    Given,
    Id,
    Page,
    Paging,
    RowSchema,
    Text,
    added,
    edited,
    noted,
    paged,
    removed,
)
from streamsite.api.crud import Count as Version
from streamsite.api.permissions import ADMIN, READ_ONLY, needs

router = Router(tags=["playlists"])

Name = Annotated[str, StringConstraints(min_length=1, max_length=120, strip_whitespace=True)]


class PlaylistDetail(Schema):
    """`seconds`: total of all known lengths. `version` counts the changes of its order."""

    id: int
    name: str
    version: int
    entry_count: int
    seconds: float

    @staticmethod
    def resolve_seconds(row: Any) -> float:
        return row.seconds or 0.0


class EntryDetail(RowSchema):
    """One entry; the same item may have several."""

    id: int
    item_id: int
    key: str = Field(validation_alias="item__key")
    title: str = Field(validation_alias="item__title")
    status: str = Field(validation_alias="item__status")
    fault: str = Field(validation_alias="item__fault")
    duration_seconds: float | None = Field(validation_alias="item__duration_seconds")
    has_thumbnails: Given = Field(validation_alias="item__thumbnails")


#: The columns of its answer.
_COLUMNS: Final = tuple(
    str(field.validation_alias or name) for name, field in EntryDetail.model_fields.items()
)


class PlaylistEntries(Schema):
    version: int
    entries: list[EntryDetail]


class Named(Body):
    name: Name


class NewPlace(Body):
    """`id` of an entry that stays, so that a channel continues behind it; null: a new entry."""

    id: Id | None = None
    item_id: Id


class NewOrder(Body):
    """The complete order. 409 unless `version` is current."""

    version: Version
    entries: list[NewPlace] = Field(max_length=MAX_ENTRIES)


class Appended(Body):
    item_ids: list[Id] = Field(min_length=1, max_length=MAX_ENTRIES)


class PlaylistFilter(Paging):
    q: Annotated[Text, FilterLookup("name__icontains")] = Field(
        None, description="Part of its name."
    )


def _measured() -> QuerySet[Playlist]:
    return Playlist.objects.annotate(
        entry_count=Count("entries"), seconds=Sum("entries__item__duration_seconds")
    )


def _playlist(pk: int) -> Playlist:
    return get_object_or_404(_measured(), pk=pk)


@router.get("", response=Page[PlaylistDetail], summary="Playlists, by name")
@needs(READ_ONLY, "media_library.view_playlist")
def listed(request: HttpRequest, filters: Query[PlaylistFilter]) -> dict[str, Any]:
    return paged(_measured(), "name", filters)


@router.post("", response={201: PlaylistDetail}, summary="A new playlist")
@needs(ADMIN, "media_library.add_playlist")
def create(request: HttpRequest, body: Named) -> Status[Playlist]:
    return Status(201, _playlist(added(request, Playlist(name=body.name)).pk))


@router.get("/{id}", response=PlaylistDetail, summary="One playlist")
@needs(READ_ONLY, "media_library.view_playlist")
def playlist(request: HttpRequest, id: Id) -> Playlist:
    return _playlist(id)


@router.patch("/{id}", response=PlaylistDetail, summary="Rename it")
@needs(ADMIN, "media_library.change_playlist")
def change(request: HttpRequest, id: Id, body: Named) -> Playlist:
    edited(request, Playlist.objects.all(), id, body.given())
    return _playlist(id)


@router.delete("/{id}", response={204: None}, summary="Delete it; its items stay")
@needs(ADMIN, "media_library.delete_playlist")
def delete(request: HttpRequest, id: Id) -> Status[None]:
    removed(request, Playlist.objects.all(), pk=id)
    return Status(204, None)


def _order(row: Playlist) -> dict[str, Any]:
    # The version first: an order newer than its version is refused, never the reverse.
    version = Playlist.objects.values_list("version", flat=True).get(pk=row.pk)
    # Values instead of objects, which take a second for thousands.
    entries = PlaylistEntry.objects.filter(playlist=row).values(*_COLUMNS)
    return {"version": version, "entries": list(entries)}


@router.get("/{id}/entries", response=PlaylistEntries, summary="All entries in order")
@needs(READ_ONLY, "media_library.view_playlist")
def entries(request: HttpRequest, id: Id) -> dict[str, Any]:
    return _order(get_object_or_404(Playlist, pk=id))


@router.put("/{id}/entries", response=PlaylistEntries, summary="Replace the whole order")
@needs(ADMIN, "media_library.change_playlist")
def reorder(request: HttpRequest, id: Id, body: NewOrder) -> dict[str, Any]:
    row = get_object_or_404(Playlist, pk=id)
    places = [Place(entry.id, entry.item_id) for entry in body.entries]
    edit.reorder(row, body.version, places)
    noted(request, row, "Changed its order.")
    return _order(row)


@router.post("/{id}/entries", response={201: PlaylistEntries}, summary="Append items")
@needs(ADMIN, "media_library.change_playlist")
def append(request: HttpRequest, id: Id, body: Appended) -> Status[dict[str, Any]]:
    row = get_object_or_404(Playlist, pk=id)
    edit.append(row, body.item_ids)
    noted(request, row, f"Appended {len(body.item_ids)} items.")
    return Status(201, _order(row))
