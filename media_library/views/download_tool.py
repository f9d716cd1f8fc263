"""Whether downloads can work, and a newer yt-dlp by a button."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from media_library.downloads import health, tool
from media_library.downloads.tool import UpdateError
from streamsite.answers import staff

VIEW: Final = "media_library.view_downloadjob"
UPDATE: Final = "media_library.update_downloader"


@require_http_methods(["GET", "POST"])
@staff(VIEW)
def page(request: HttpRequest) -> HttpResponseBase:
    if request.method == "POST":
        if not request.user.has_perm(UPDATE):
            raise PermissionDenied
        _order(request)
        return redirect("media-download-tool")
    context = {
        **admin.site.each_context(request),
        "title": "Download tool",
        "report": asdict(health.report(timezone.now())),
    }
    return TemplateResponse(request, "media_library/download_tool.html", context)


def _order(request: HttpRequest) -> None:
    if request.POST.get("order") == "rollback":
        try:
            messages.success(request, tool.roll_back(timezone.now()))
        except UpdateError as refusal:
            messages.warning(request, str(refusal))
        return
    tool.order()
    messages.success(
        request, "The update begins. It takes some minutes: what came of it is told here."
    )
