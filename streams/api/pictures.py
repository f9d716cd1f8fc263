"""API routes for a channel's logo, its current picture and its preview."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from django.conf import settings
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from ninja import Status

from media_library import storage
from media_library.conform import logos
from media_library.house_format import Logo
from media_library.location import LocalFile, SignedUrl
from streams.api.channels import ChannelDetail, detail, the_channel
from streams.models import Channel
from streams.monitoring.thumbnail import folder, picture
from streams.wake import wake_supervisor
from streamsite.api.auth import Router
from streamsite.api.crud import edited
from streamsite.api.permissions import ADMIN, READ_ONLY, needs

router = Router(tags=["channels"])
air = Router(tags=["air"])

#: Only segment names: no other file of the run directory may be read.
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_-]+\.ts")
PLAYLIST_TYPE: Final = "application/vnd.apple.mpegurl"
#: nginx's internal location of the run directory, for X-Accel-Redirect.
_ACCEL: Final = "/_run/"
#: Seconds for which a signed address of a logo is valid.
LOGO_LIFE: Final = 3600


@router.get(
    "/{slug:slug}/picture.jpg",
    summary="The current picture",
    description="404 while nothing is on air.",
    openapi_extra={"responses": {200: {"content": {"image/jpeg": {}}}}},
)
@needs(READ_ONLY, "streams.view_channel")
def current_picture(request: HttpRequest, slug: str) -> HttpResponseBase:
    channel = the_channel(request, slug)
    path = picture(channel.pk) if Path(settings.RUN_DIR).is_dir() else None
    if path is None:
        raise Http404
    return _file(path, "image/jpeg", "no-store")


@router.get(
    "/{slug:slug}/logo",
    summary="Get the logo",
    description="404 without a logo. From a bucket: a redirect to an address valid for an "
    "hour.",
    openapi_extra={"responses": {200: {"content": {"image/png": {}}}, 302: {}}},
)
@needs(READ_ONLY, "streams.view_channel")
def logo(request: HttpRequest, slug: str) -> HttpResponseBase:
    channel = the_channel(request, slug)
    if not channel.logo:
        raise Http404
    key = Logo(channel.logo).key
    answer: HttpResponseBase
    match storage.locate(key, seconds=LOGO_LIFE):
        case LocalFile():
            answer = HttpResponse(storage.read(key, 0, logos.MAX_BYTES), "image/png")
        case SignedUrl(url):
            answer = HttpResponseRedirect(url.reveal())
    # A new logo under the same address must be visible at once.
    answer["Cache-Control"] = "no-cache, private"
    return answer


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
    row = the_channel(request, slug)
    # Stored under its content hash, before the transaction: it takes seconds.
    digest = logos.keep(request.read(logos.MAX_BYTES + 1))
    edited(request, Channel.objects.all(), row.pk, {"logo": digest}, then=wake_supervisor)
    return detail(request, slug)


@router.delete("/{slug:slug}/logo", response={204: None}, summary="Remove the logo")
@needs(ADMIN, "streams.change_channel")
def delete_logo(request: HttpRequest, slug: str) -> Status[None]:
    row = the_channel(request, slug)
    edited(request, Channel.objects.all(), row.pk, {"logo": ""}, then=wake_supervisor)
    return Status(204, None)


# ---- the preview -----------------------------------------------------------------------------
@air.get(
    "/{slug:slug}/preview.m3u8",
    summary="The preview as HLS",
    description="404 while nothing is on air. The segments accept the same key.",
    openapi_extra={"responses": {200: {"content": {PLAYLIST_TYPE: {}}}}},
)
@needs(READ_ONLY, "streams.view_channel")
def playlist(request: HttpRequest, slug: str) -> HttpResponse:
    try:
        listed = (folder(the_channel(request, slug).pk) / "hls" / "live.m3u8").read_bytes()
    except FileNotFoundError:
        raise Http404 from None
    # A player requests segments relative to the playlist.
    lines = (
        line if line.startswith(b"#") or not line else b"preview/" + line
        for line in listed.split(b"\n")
    )
    answer = HttpResponse(b"\n".join(lines), PLAYLIST_TYPE)
    answer["Cache-Control"] = "no-store"
    return answer


@air.get(
    "/{slug:slug}/preview/{name}",
    summary="A segment of the preview",
    openapi_extra={"responses": {200: {"content": {"video/mp2t": {}}}}},
)
@needs(READ_ONLY, "streams.view_channel")
def segment(request: HttpRequest, slug: str, name: str) -> HttpResponseBase:
    if not _SEGMENT.fullmatch(name):
        raise Http404
    path = folder(the_channel(request, slug).pk) / "hls" / name
    return _file(path, "video/mp2t", "private, max-age=60")


def _file(path: Path, kind: str, keep: str) -> HttpResponseBase:
    answer: HttpResponseBase
    if settings.HLS_ACCEL:
        answer = HttpResponse(content_type=kind)
        answer["X-Accel-Redirect"] = _ACCEL + str(path.relative_to(settings.RUN_DIR))
    else:
        try:
            answer = FileResponse(path.open("rb"), content_type=kind)
        except FileNotFoundError:
            # The segment has left the HLS window, or the channel is off.
            raise Http404 from None
    answer["Cache-Control"] = keep
    return answer
