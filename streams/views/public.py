"""The public guide, now-and-next data, and the as-run export."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.contrib import admin, messages
from django.core.serializers.json import DjangoJSONEncoder
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_GET, require_safe

from streams.calendar import guide
from streams.models import Channel, visible
from streams.monitoring import as_run_export
from streamsite.api import audit
from streamsite.http.responses import staff


@require_safe
def xmltv(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The channel's XMLTV guide for players and aggregators."""
    channel = _readable_channel(request, slug)
    answer = HttpResponse(guide.xmltv(channel, timezone.now()), guide.CONTENT_TYPE)
    return _kept(answer, channel, guide.GUIDE_TTL_S)


@require_safe
def now_next(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Now-and-next data for overlays, which may run on pages of other sites."""
    channel = _readable_channel(request, slug)
    answer = JsonResponse(guide.now_next(channel, timezone.now()), encoder=DjangoJSONEncoder)
    if channel.public_guide:
        answer["Access-Control-Allow-Origin"] = "*"
    return _kept(answer, channel, guide.NOW_TTL_S)


def _readable_channel(request: HttpRequest, slug: str) -> Channel:
    """Returns the channel if its guide is public or the user is staff. Raises `Http404`."""
    channels = Channel.objects.select_related("state")
    channel = get_object_or_404(channels, slug=slug)
    # A public guide is answered without reading the session, so that proxies can cache it.
    if channel.public_guide:
        return channel
    may = admin.site.has_permission(request) and request.user.has_perm("streams.view_channel")
    if may and visible(channels.filter(pk=channel.pk), request).exists():
        return channel
    raise Http404


def _kept(answer: HttpResponse, channel: Channel, seconds: int) -> HttpResponse:
    answer["Cache-Control"] = (
        f"public, max-age={seconds}" if channel.public_guide else "no-cache, private"
    )
    return answer


@require_GET
@staff("streams.view_asrun")
def as_run_csv(request: HttpRequest) -> HttpResponseBase:
    """A channel's as-run log of a span as a CSV file, streamed as it may cover years."""
    channels = visible(Channel.objects.all(), request)
    channel = get_object_or_404(channels, slug=request.GET.get("channel", ""))
    try:
        since, until = as_run_export.span(
            request.GET.get("from", ""),
            request.GET.get("to", ""),
            now=timezone.now(),
            zone=channel.zone,
        )
    except as_run_export.SpanError as error:
        messages.error(request, str(error))
        return redirect("admin:streams_asrun_changelist")
    days = f"{since:%Y-%m-%d} to {until:%Y-%m-%d}"
    who = request.user.get_username()
    audit.record(audit.Event.EXPORT, who, f"As-run log of {days}.", [channel])
    answer = StreamingHttpResponse(
        # Without a byte order mark Excel reads a CSV in the local code page.
        _marked(as_run_export.lines(channel, since, until)),
        content_type="text/csv; charset=utf-8",
    )
    name = f"as-run-{channel.slug}-{since:%Y%m%d}-{until:%Y%m%d}.csv"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _marked(lines: Iterable[str]) -> Iterator[bytes]:
    yield b"\xef\xbb\xbf"
    for line in lines:
        yield line.encode()
