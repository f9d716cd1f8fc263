"""The pages that import M3U and CSV. Their script calls the API."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.views.decorators.http import require_GET

from media_library.models import Playlist
from media_library.playlists.m3u_csv import MAX_BYTES
from streamsite.http.responses import staff


@require_GET
@staff("media_library.add_playlist")
def import_new(request: HttpRequest) -> HttpResponseBase:
    """Imports a file: data about items, and a playlist if it is one."""
    return _page(request, None)


@require_GET
@staff("media_library.change_playlist")
def import_into(request: HttpRequest, pk: int) -> HttpResponseBase:
    return _page(request, get_object_or_404(Playlist, pk=pk))


def _page(request: HttpRequest, into: Playlist | None) -> HttpResponseBase:
    context = {
        **admin.site.each_context(request),
        "title": f"Import into “{into}”" if into else "Import",
        "into": into,
        "max_bytes": MAX_BYTES,
    }
    return TemplateResponse(request, "media_library/import.html", context)
