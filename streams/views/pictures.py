"""The preview, the current picture and the logo of a channel."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from django.conf import settings
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from media_library import storage
from media_library.conform import logos
from media_library.house_format import Logo
from media_library.location import LocalFile, SignedUrl
from streams.models import Channel
from streams.monitoring.thumbnail import folder, picture
from streamsite.http.responses import staff

#: Only segment names: no other file of the run directory may be read.
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_-]+\.ts")
_PLAYLIST: Final = "live.m3u8"
PLAYLIST_TYPE: Final = "application/vnd.apple.mpegurl"
#: nginx's internal location of the run directory, for X-Accel-Redirect.
_ACCEL: Final = "/_run/"
#: Seconds for which a signed address of a logo is valid.
LOGO_LIFE: Final = 3600


@require_GET
@staff("streams.view_channel")
def hls(request: HttpRequest, slug: str, name: str) -> HttpResponseBase:
    """The preview's playlist and segments, for users who may see the channel."""
    return preview(get_object_or_404(Channel.objects.only("pk"), slug=slug), name)


def preview(channel: Channel, name: str) -> HttpResponseBase:
    """Returns a file of the preview. Raises `Http404`."""
    if name != _PLAYLIST and not _SEGMENT.fullmatch(name):
        raise Http404
    is_playlist = name == _PLAYLIST
    kind = PLAYLIST_TYPE if is_playlist else "video/mp2t"
    keep = "no-store" if is_playlist else "private, max-age=60"
    return _file(folder(channel.pk) / "hls" / name, kind, keep)


def preview_playlist(channel: Channel) -> bytes:
    """Returns the preview's playlist. Raises `Http404`."""
    try:
        return (folder(channel.pk) / "hls" / _PLAYLIST).read_bytes()
    except FileNotFoundError:
        raise Http404 from None


@require_GET
@staff("streams.view_channel")
def preview_picture(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The current picture as a JPEG; a grey one if nothing is on air."""
    answer = shown(get_object_or_404(Channel.objects.only("pk"), slug=slug))
    return answer or _file(_NO_PICTURE, "image/jpeg", "no-store", accel=False)


def shown(channel: Channel) -> HttpResponseBase | None:
    """Returns the current picture as a JPEG; None if nothing is on air."""
    path = picture(channel.pk) if Path(settings.RUN_DIR).is_dir() else None
    return None if path is None else _file(path, "image/jpeg", "no-store")


@require_GET
@staff("streams.view_channel")
def logo(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The channel's logo, or a redirect to it in the bucket."""
    channel = get_object_or_404(Channel.objects.only("logo"), slug=slug)
    try:
        return logo_of(channel)
    except storage.StorageError as error:
        return HttpResponse(str(error), "text/plain; charset=utf-8", 503)


def logo_of(channel: Channel) -> HttpResponseBase:
    """Returns the logo, or a redirect to a signed address, so that no page waits for a bucket.

    Raises `Http404`, `StorageError`.
    """
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


_NO_PICTURE: Final = Path(__file__).parents[1] / "static" / "streams" / "no-picture.jpg"


def _file(path: Path, kind: str, keep: str, *, accel: bool = True) -> HttpResponseBase:
    answer: HttpResponseBase
    if accel and settings.HLS_ACCEL:
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
