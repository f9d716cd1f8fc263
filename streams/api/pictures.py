"""API routes for a channel's logo and its current picture."""

from __future__ import annotations

from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from ninja import Status

from media_library.conform import logos
from streams.api.channels import ChannelDetail, detail, the_channel
from streams.models import Channel
from streams.views.pictures import logo_of, shown
from streams.wake import wake_supervisor
from streamsite.api.auth import Router
from streamsite.api.crud import edited
from streamsite.api.permissions import ADMIN, READ_ONLY, needs

router = Router(tags=["channels"])


@router.get(
    "/{slug:slug}/picture.jpg",
    summary="The current picture",
    description="404 while nothing is on air.",
    openapi_extra={"responses": {200: {"content": {"image/jpeg": {}}}}},
)
@needs(READ_ONLY, "streams.view_channel")
def picture(request: HttpRequest, slug: str) -> HttpResponseBase:
    answer = shown(the_channel(slug))
    if answer is None:
        raise Http404
    return answer


@router.get(
    "/{slug:slug}/logo",
    summary="Get the logo",
    description="404 without a logo. From a bucket: a redirect to an address valid for an "
    "hour.",
    openapi_extra={"responses": {200: {"content": {"image/png": {}}}, 302: {}}},
)
@needs(READ_ONLY, "streams.view_channel")
def logo(request: HttpRequest, slug: str) -> HttpResponseBase:
    return logo_of(the_channel(slug))


@router.put(
    "/{slug:slug}/logo",
    response=ChannelDetail,
    summary="Replace the logo",
    description="The body is the PNG file: at most 2 MB and 4096 pixels. The logo is burnt "
    "into "
    "every item. All items are prepared again, and play with the old logo until then.",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
@needs(ADMIN, "streams.change_channel")
def put_logo(request: HttpRequest, slug: str) -> Channel:
    row = the_channel(slug)
    # Stored under its content hash, before the transaction: it takes seconds.
    digest = logos.keep(request.read(logos.MAX_BYTES + 1))
    edited(request, Channel.objects.all(), row.pk, {"logo": digest}, then=wake_supervisor)
    return detail(slug)


@router.delete("/{slug:slug}/logo", response={204: None}, summary="Remove the logo")
@needs(ADMIN, "streams.change_channel")
def delete_logo(request: HttpRequest, slug: str) -> Status[None]:
    row = the_channel(slug)
    edited(request, Channel.objects.all(), row.pk, {"logo": ""}, then=wake_supervisor)
    return Status(204, None)
