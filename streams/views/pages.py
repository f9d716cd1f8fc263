"""The control room and a channel's page: what is, for people and watchdogs."""

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

#: Lines of one answer: what a page shows at first, and at most in one poll.
LOG_LINES: Final = 300


@never_cache
@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """For a watchdog, without login; HEAD too, which some of them send."""
    status, told = in_public()
    return JsonResponse(told, status=status)


def in_public() -> tuple[int, dict[str, Any]]:
    """What everybody may know: 200, or 503 when a channel ordered on is off the air."""
    try:
        told = {"cause": "", **report(timezone.now()).public()}
    except DatabaseError as error:
        cause = database_faults.meaning(str(error))
        said = (
            f"The database can't be read: {cause}." if cause else "The database can't be read."
        )
        told = {"status": "down", "channels": [], "cause": said}
    return 503 if told["status"] == "down" else 200, told


@require_GET
@staff("streams.view_channel")
def status(request: HttpRequest, slug: str | None = None) -> HttpResponseBase:
    """What the tiles show. Polled every second: the same answer costs 304 and no bytes."""
    told = report(timezone.now(), slug=slug)
    if slug is not None and not told.channels:
        raise Http404
    page = told.page()
    hours = outlooks(timezone.now(), slug=slug)
    for channel in page["channels"]:
        known = hours.get(channel["slug"])
        channel["outlook"] = known.sentence if known else ""
    body = json.dumps(page, cls=DjangoJSONEncoder, separators=(",", ":"))
    return unless_seen(request, body.encode(), "application/json")


@require_GET
@staff("streams.view_channel")
def log(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Lines of the channel's processes after the one named, or the last ones."""
    channel = get_object_or_404(Channel, slug=slug)
    lines = LogLine.objects.filter(channel=channel)
    after = request.GET.get("after", "")
    if after:
        try:
            behind = number(after)
        except ValueError:
            return reply("“after” is the number of a line.", 400)
        found = list(lines.filter(pk__gt=behind).order_by("pk")[:LOG_LINES])
    else:
        found = list(reversed(lines.order_by("-pk")[:LOG_LINES]))
    told = [
        {
            "id": line.pk,
            "at": line.at,
            "role": line.role,
            "level": line.level,
            "text": line.text,
        }
        for line in found
    ]
    return JsonResponse({"lines": told})


@require_GET
@staff("streams.view_channel")
def panels(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The channel page's tables, again, for the page to put in place of the old ones."""
    channel = get_object_or_404(Channel, slug=slug)
    context = {**history.of(channel, timezone.now()), "channel": channel}
    page = TemplateResponse(request, "streams/panels.html", context).rendered_content
    return unless_seen(request, page.encode(), "text/html; charset=utf-8")


@require_GET
@staff("streams.view_channel")
def monitor(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The channel's page: picture, buttons, log, history."""
    now = timezone.now()
    channel = get_object_or_404(Channel, slug=slug)
    told = report(now, slug=slug).channels[0]
    context = {
        **admin.site.each_context(request),
        **history.of(channel, now),
        "title": channel.name,
        "channel": channel,
        "told": told,
        "now": now,
        # What it lacks matters before the start; asking the storage takes its time.
        "findings": findings(channel) if told.state == "off" else standing(channel),
    }
    return TemplateResponse(request, "streams/monitor.html", context)
