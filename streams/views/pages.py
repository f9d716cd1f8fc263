"""The control room, a channel's page, and health for watchdogs."""

from __future__ import annotations

import json
from typing import Any, Final

from django.contrib import admin
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError
from django.http import Http404, HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_safe

from streams.control.on_air_schedule import outlooks
from streams.models import Channel, LogLine
from streams.monitoring import history
from streams.monitoring.preflight import findings, standing
from streams.monitoring.report import report
from streamsite.http import database_faults
from streamsite.http.responses import reply, staff, unless_seen
from streamsite.http.untrusted import number

#: Lines of one answer, both at the first request and at later polls.
LOG_LINES: Final = 300


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
def status(request: HttpRequest, slug: str | None = None) -> HttpResponseBase:
    """The values of the tiles. Polled every second: 304 if unchanged."""
    current = report(timezone.now(), slug=slug)
    if slug is not None and not current.channels:
        raise Http404
    page = current.page()
    hours = outlooks(timezone.now(), slug=slug)
    for channel in page["channels"]:
        channel_hours = hours.get(channel["slug"])
        channel["outlook"] = channel_hours.sentence if channel_hours else ""
    body = json.dumps(page, cls=DjangoJSONEncoder, separators=(",", ":"))
    return unless_seen(request, body.encode(), "application/json")


@require_GET
@staff("streams.view_channel")
def log(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Log lines of the channel's processes after `?after=`, or the last ones."""
    channel = get_object_or_404(Channel, slug=slug)
    lines = LogLine.objects.filter(channel=channel)
    after = request.GET.get("after", "")
    if after:
        try:
            behind = number(after)
        except ValueError:
            return reply("“after” must be the number of a line.", 400)
        rows = list(lines.filter(pk__gt=behind).order_by("pk")[:LOG_LINES])
    else:
        rows = list(reversed(lines.order_by("-pk")[:LOG_LINES]))
    entries = [
        {
            "id": line.pk,
            "at": line.at,
            "role": line.role,
            "level": line.level,
            "text": line.text,
        }
        for line in rows
    ]
    return JsonResponse({"lines": entries})


@require_GET
@staff("streams.view_channel")
def panels(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The tables of the channel's page, with which the page replaces the old ones."""
    channel = get_object_or_404(Channel, slug=slug)
    context = {**history.of(channel, timezone.now()), "channel": channel}
    page = TemplateResponse(request, "streams/panels.html", context).rendered_content
    return unless_seen(request, page.encode(), "text/html; charset=utf-8")


@require_GET
@staff("streams.view_channel")
def monitor(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The channel's page: preview, buttons, log and history."""
    now = timezone.now()
    channel = get_object_or_404(Channel, slug=slug)
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
