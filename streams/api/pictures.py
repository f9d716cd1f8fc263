"""A channel's logo and its picture in the API."""

from __future__ import annotations

from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from ninja import Router, Status

from media_library.conform import logos
from streams.api.channels import ChannelDetail, detail, the_channel
from streams.models import Channel
from streams.views.pictures import logo_of, shown
from streams.wake import wake_supervisor
from streamsite.api.crud import edited

router = Router(tags=["channels"])


@router.get(
    "/{slug:slug}/picture.jpg",
    summary="What is on the air, as a picture",
    description="404 while there is none.",
    openapi_extra={"responses": {200: {"content": {"image/jpeg": {}}}}},
)
def picture(request: HttpRequest, slug: str) -> HttpResponseBase:
    found = shown(the_channel(slug))
    if found is None:
        raise Http404
    return found


@router.get(
    "/{slug:slug}/logo",
    summary="Its logo",
    description="404 where it has none. From a bucket: an address of it, good for an hour.",
    openapi_extra={"responses": {200: {"content": {"image/png": {}}}, 302: {}}},
)
def logo(request: HttpRequest, slug: str) -> HttpResponseBase:
    return logo_of(the_channel(slug))


@router.put(
    "/{slug:slug}/logo",
    response=ChannelDetail,
    summary="Another logo, burnt into every item",
    description="The body is the PNG itself: 2 MB and 4096 pixels at most. Every item is "
    "prepared again for it, and plays on as it was until then.",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
def put_logo(request: HttpRequest, slug: str) -> Channel:
    row = the_channel(slug)
    # Kept under its content, before the transaction: it takes seconds.
    digest = logos.keep(request.read(logos.MAX_BYTES + 1))
    edited(request, Channel.objects.all(), row.pk, {"logo": digest}, then=wake_supervisor)
    return detail(slug)


@router.delete("/{slug:slug}/logo", response={204: None}, summary="No logo any more")
def delete_logo(request: HttpRequest, slug: str) -> Status[None]:
    row = the_channel(slug)
    edited(request, Channel.objects.all(), row.pk, {"logo": ""}, then=wake_supervisor)
    return Status(204, None)
