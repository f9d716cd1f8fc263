"""The control room, a channel's page, and health for watchdogs."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import DatabaseError
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_safe

from streams.models import Channel, visible
from streams.monitoring import history
from streams.monitoring.preflight import findings, standing
from streams.monitoring.report import report
from streamsite.http import database_faults
from streamsite.http.responses import staff


@never_cache
@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """Health for watchdogs, without a login. HEAD is accepted too."""
    status, body = in_public()
    return JsonResponse(body, status=status)


def in_public() -> tuple[int, dict[str, Any]]:
    """Returns public health: 200, or 503 if a channel ordered on is off the air."""
    try:
        body = {"cause": "", **report(timezone.now()).public()}
    except DatabaseError as error:
        cause = database_faults.meaning(str(error))
        sentence = (
            f"The database can't be read: {cause}." if cause else "The database can't be read."
        )
        body = {"status": "down", "channels": [], "cause": sentence}
    return 503 if body["status"] == "down" else 200, body


@require_GET
@staff("streams.view_channel")
def panels(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The tables of the channel's page, with which the page replaces the old ones."""
    channel = get_object_or_404(visible(Channel.objects.all(), request), slug=slug)
    context = {**history.of(channel, timezone.now()), "channel": channel}
    return TemplateResponse(request, "streams/panels.html", context)


@require_GET
@staff("streams.view_channel")
def monitor(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The channel's page: preview, buttons, log and history."""
    now = timezone.now()
    channel = get_object_or_404(visible(Channel.objects.all(), request), slug=slug)
    channel_report = report(now, slug=slug).channels[0]
    context = {
        **admin.site.each_context(request),
        **history.of(channel, now),
        "title": channel.name,
        "channel": channel,
        "report": channel_report,
        "now": now,
        # The full preflight matters before the start only: checking the storage is slow.
        "findings": findings(channel) if channel_report.state == "off" else standing(channel),
    }
    return TemplateResponse(request, "streams/monitor.html", context)
