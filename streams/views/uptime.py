"""The uptime of the channels: the overview, a channel's page, its print view and its CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from typing import Any, Final

from django.contrib import admin
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.views.decorators.http import require_GET

from streams.models import Channel, visible
from streams.monitoring import charts
from streams.monitoring.uptime import export, page
from streamsite.accounts.limits import own_channels
from streamsite.api import audit
from streamsite.http.responses import staff
from streamsite.http.untrusted import number_or_none

#: What can be exported.
EXPORTS: Final = {"days": export.days, "incidents": export.incidents}


@require_GET
@staff("streams.view_channel")
def index(request: HttpRequest) -> HttpResponseBase:
    now = timezone.now()
    context = {
        **admin.site.each_context(request),
        "title": "Uptime",
        "parts": page.overview(now, own_channels(request)),
        "labels": page.PERIOD_LABELS,
        "now": now,
    }
    return TemplateResponse(request, "streams/uptime_index.html", context)


@require_GET
@staff("streams.view_channel")
def channel(request: HttpRequest, slug: str) -> HttpResponseBase:
    return TemplateResponse(request, "streams/uptime.html", _context(request, slug))


@require_GET
@staff("streams.view_channel")
def printed(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The same without the admin's frame, on white."""
    return TemplateResponse(request, "streams/uptime_print.html", _context(request, slug))


def _context(request: HttpRequest, slug: str) -> dict[str, Any]:
    row = get_object_or_404(visible(Channel.objects.all(), request), slug=slug)
    now = timezone.now()
    span = request.GET.get("span", "")
    span = span if span in charts.SPANS else charts.DEFAULT_SPAN
    at, day = _moment(request.GET.get("at", "")), _day(request.GET.get("day", ""))
    return {
        **admin.site.each_context(request),
        **page.channel_page(row, now, day=day, at=at),
        "title": f"Uptime of {row.name}",
        "now": now,
        "charts": charts.charts(row, now, span),
        "chart_span": span,
        "chart_spans": charts.SPANS,
    }


def _moment(text: str) -> datetime | None:
    """Returns the moment of so many seconds since 1970; None for anything else."""
    seconds = number_or_none(text)
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _day(text: str) -> date | None:
    try:
        return parse_date(text)
    except ValueError:
        return None


@require_GET
@staff("streams.view_incident")
def exported(request: HttpRequest, slug: str, what: str) -> HttpResponseBase:
    """The last 90 days as a CSV file, streamed."""
    row = get_object_or_404(visible(Channel.objects.all(), request), slug=slug)
    if what not in EXPORTS:
        raise Http404
    now, who = timezone.now(), request.user.get_username()
    audit.record(audit.Event.EXPORT, who, f"Uptime of 90 days: {what}.", [row])
    answer = StreamingHttpResponse(
        _marked(EXPORTS[what](row, now)), content_type="text/csv; charset=utf-8"
    )
    name = f"uptime-{row.slug}-{what}-{now:%Y%m%d}.csv"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _marked(lines: Iterable[str]) -> Iterator[bytes]:
    # Without a byte order mark Excel reads a CSV in the local code page.
    yield b"\xef\xbb\xbf"
    for line in lines:
        yield line.encode()
