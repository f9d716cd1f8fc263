"""The page of uploads from the browser. Its script calls the API."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.views.decorators.http import require_GET

from media_library import storage
from media_library.views.csp import with_storage
from streamsite.http.responses import staff


@require_GET
@staff("media_library.add_mediaitem")
@with_storage
def page(request: HttpRequest) -> TemplateResponse:
    context = {
        **admin.site.each_context(request),
        "title": "Upload",
        "extensions": ",".join(f".{extension}" for extension in settings.MEDIA_EXTENSIONS),
        "kinds": ", ".join(settings.MEDIA_EXTENSIONS),
        "folder": request.GET.get("folder", ""),
        "origin": storage.origin(),
    }
    return TemplateResponse(request, "media_library/upload.html", context)
