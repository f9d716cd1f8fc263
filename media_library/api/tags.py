"""Tags in the API: labels on items."""

from __future__ import annotations

from typing import Annotated, Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import FilterLookup, Query, Status
from pydantic import Field, StringConstraints

from media_library.models import Tag
from streamsite.api.auth import Router
from streamsite.api.crud import (
    Body,
    Id,
    Page,
    Paging,
    RowSchema,
    Text,
    added,
    edited,
    paged,
    removed,
)
from streamsite.api.permissions import ADMIN, READ_ONLY, needs

router = Router(tags=["media"])


class TagDetail(RowSchema):
    id: int
    name: str


class TagNamed(Body):
    name: Annotated[str, StringConstraints(min_length=1, max_length=64, strip_whitespace=True)]


class TagFilter(Paging):
    q: Annotated[Text, FilterLookup("name__icontains")] = Field(
        None, description="Part of its name."
    )


@router.get("", response=Page[TagDetail], summary="Tags, by name")
@needs(READ_ONLY, "media_library.view_tag")
def listed(request: HttpRequest, filters: Query[TagFilter]) -> dict[str, Any]:
    return paged(Tag.objects.all(), "name", filters)


@router.post("", response={201: TagDetail}, summary="A new tag")
@needs(ADMIN, "media_library.add_tag")
def create(request: HttpRequest, body: TagNamed) -> Status[Tag]:
    return Status(201, added(request, Tag(name=body.name)))


@router.get("/{id}", response=TagDetail, summary="One tag")
@needs(READ_ONLY, "media_library.view_tag")
def tag(request: HttpRequest, id: Id) -> Tag:
    return get_object_or_404(Tag, pk=id)


@router.patch("/{id}", response=TagDetail, summary="Rename it, on all its items")
@needs(ADMIN, "media_library.change_tag")
def change(request: HttpRequest, id: Id, body: TagNamed) -> Tag:
    return edited(request, Tag.objects.all(), id, body.given())


@router.delete("/{id}", response={204: None}, summary="Delete it; its items stay")
@needs(ADMIN, "media_library.delete_tag")
def delete(request: HttpRequest, id: Id) -> Status[None]:
    removed(request, Tag.objects.all(), pk=id)
    return Status(204, None)
