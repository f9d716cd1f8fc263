"""The control room's wall, and the strips and curves that both refresh."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from streams.monitoring.report import report
from streams.monitoring.room import drawn
from streamsite.accounts.limits import own_channels
from streamsite.http.responses import staff


@require_GET
@staff("streams.view_channel")
def strips(request: HttpRequest) -> HttpResponseBase:
    """The strips and curves alone; the page puts each in its place."""
    context = drawn(own_channels(request))
    return TemplateResponse(request, "streams/room_strips.html", context)


@require_GET
@staff("streams.view_channel")
def wall(request: HttpRequest) -> HttpResponseBase:
    """The control room for a screen on the wall: large, without a sidebar and buttons."""
    now, own = timezone.now(), own_channels(request)
    context = {
        **admin.site.each_context(request),
        "drawn": drawn(own),
        "title": "Wall",
        "reports": report(now, among=own).channels,
        "now": now,
        "light": request.GET.get("theme") == "light",
    }
    return TemplateResponse(request, "streams/wall.html", context)
