"""API keys in the API: for keys that may do everything."""

from __future__ import annotations

from typing import Annotated, Any

from django.contrib.admin.models import ADDITION
from django.db import transaction
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone
from ninja import FilterLookup, Query, Status
from pydantic import AliasChoices, BeforeValidator, Field, StringConstraints

from streamsite.api import keys
from streamsite.api.auth import Router, caller
from streamsite.api.crud import (
    Body,
    Id,
    KeySchema,
    Later,
    Page,
    Paging,
    Revoked,
    Slug,
    noted,
    paged,
)
from streamsite.api.models import CONCURRENT_DOWNLOADS, REQUESTS_PER_MINUTE, ApiKey
from streamsite.api.permissions import FULL_ACCESS, KeyPermission, needs

router = Router(tags=["api keys"])


def _slugs(limit: Any) -> list[str]:
    return sorted(row.slug for row in limit.channels.all())


class KeyDetail(KeySchema):
    """state: active, expired, revoked. The key itself is told once."""

    name: str
    permissions: KeyPermission
    allowed_addresses: list[str]
    requests_per_minute: int
    concurrent_downloads: int
    bytes_per_day: int | None
    channels: Annotated[list[str] | None, BeforeValidator(_slugs)] = Field(
        None,
        validation_alias="channel_limit",
        description="Slugs of the channels that it is limited to; null: all channels.",
    )


class MintedApiKey(KeyDetail):
    """`key_value` is told here and never again."""

    key_value: str


class NewKey(Body):
    """Addresses as 203.0.113.7 or 10.0.0.0/8; none: from everywhere."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=80, strip_whitespace=True)]
    #: Older programs send it as `level`.
    permissions: KeyPermission = Field(
        KeyPermission.READ_ONLY, validation_alias=AliasChoices("permissions", "level")
    )
    expires_at: Later | None = None
    allowed_addresses: list[Annotated[str, StringConstraints(max_length=64)]] = Field(
        default_factory=list, max_length=100
    )
    requests_per_minute: int = Field(REQUESTS_PER_MINUTE, ge=1, le=1_000_000)
    concurrent_downloads: int = Field(CONCURRENT_DOWNLOADS, ge=0, le=1000)
    bytes_per_day: int | None = Field(None, ge=0, le=2**62)
    channels: list[Slug] = Field(
        default_factory=list,
        max_length=1000,
        description="Slugs of the channels that it is limited to. Empty: all channels.",
    )


class KeyFilter(Paging):
    permissions: KeyPermission | None = None
    level: Annotated[KeyPermission | None, FilterLookup("permissions")] = Field(
        None, description="The former name of `permissions`."
    )
    revoked: Revoked = None


@router.get("", response=Page[KeyDetail], summary="API keys, the latest first")
@needs(FULL_ACCESS, "streamsite.view_apikey")
def listed(request: HttpRequest, filters: Query[KeyFilter]) -> dict[str, Any]:
    return paged(ApiKey.objects.prefetch_related("channel_limit__channels"), "-id", filters)


@router.post("", response={201: MintedApiKey}, summary="A new key, told once")
@needs(FULL_ACCESS, "streamsite.add_apikey")
def mint(request: HttpRequest, body: NewKey) -> Status[ApiKey]:
    fields = body.model_dump()
    with transaction.atomic():
        row, key = keys.mint(
            fields.pop("name"),
            KeyPermission(fields.pop("permissions")),
            by=caller(request).name,
            now=timezone.now(),
            **fields,
        )
        noted(request, row, "Minted.", ADDITION)
    row.key_value = key.reveal()  # type: ignore[attr-defined]  # the schema's field
    return Status(201, row)


@router.get("/{id}", response=KeyDetail, summary="One key, without itself")
@needs(FULL_ACCESS, "streamsite.view_apikey")
def key(request: HttpRequest, id: Id) -> ApiKey:
    return get_object_or_404(ApiKey, pk=id)


@router.delete(
    "/{id}",
    response={204: None},
    summary="Revoke it",
    description="It is refused from now on, and stays listed, as revoked.",
)
@needs(FULL_ACCESS, "streamsite.change_apikey")
def revoke(request: HttpRequest, id: Id) -> Status[None]:
    row = get_object_or_404(ApiKey, pk=id)
    if keys.revoke(row, by=caller(request).name, now=timezone.now()):
        noted(request, row, "Revoked.")
    return Status(204, None)
