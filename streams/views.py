"""Pages and JSON of the admin side: they read rows and write orders, and talk to no process."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

from django.conf import settings
from django.contrib import admin, messages
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST, require_safe

from media_library import logos, storage
from media_library.house import Logo
from streams import actions
from streams.health import history
from streams.health.picture import folder, picture
from streams.health.preflight import findings
from streams.health.report import report
from streams.models import Channel, LogLine
from streams.orders import ORDERS, STATUS, give
from streamsite.answers import say, staff, unless_seen, wants_json

#: Lines of one answer: what a page shows at first, and at most in one poll.
LOG_LINES: Final = 300
#: A player's names only: nothing else in the run directory is anybody's business.
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_-]+\.ts")
_PLAYLIST: Final = "live.m3u8"
#: Where nginx finds the run directory, for X-Accel-Redirect.
_ACCEL: Final = "/_run/"


@never_cache
@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """For a watchdog, without login: 200, or 503 when a channel ordered on is off the air."""
    try:
        told = report(timezone.now()).public()
    except DatabaseError:
        told = {"status": "down", "channels": [], "cause": "The database can't be read."}
    return JsonResponse(told, status=503 if told["status"] == "down" else 200)


# ---- what is ---------------------------------------------------------------------------------


@require_GET
@staff("streams.view_channel")
def status(request: HttpRequest, slug: str | None = None) -> HttpResponseBase:
    """What the tiles show. Polled every second: the same answer costs 304 and no bytes."""
    told = report(timezone.now(), slug=slug)
    if slug is not None and not told.channels:
        raise Http404
    body = json.dumps(told.page(), cls=DjangoJSONEncoder, separators=(",", ":"))
    return unless_seen(request, body.encode(), "application/json")


@require_GET
@staff("streams.view_channel")
def log(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Lines of the channel's processes after the one named, or the last ones."""
    channel = get_object_or_404(Channel, slug=slug)
    lines = LogLine.objects.filter(channel=channel)
    after = request.GET.get("after", "")
    if after.isdecimal():
        found = list(lines.filter(pk__gt=int(after)).order_by("pk")[:LOG_LINES])
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
    page = TemplateResponse(
        request, "streams/panels.html", history.of(channel, timezone.now())
    ).rendered_content
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
        "findings": findings(channel) if told.state == "off" else [],
    }
    return TemplateResponse(request, "streams/monitor.html", context)


# ---- orders ----------------------------------------------------------------------------------


@require_POST
@staff("streams.operate_channel")
def order(request: HttpRequest, slug: str, verb: str) -> HttpResponseBase:
    """Start, stop, restart or skip. One that cuts the air asks back unless `confirmed`."""
    channel = get_object_or_404(Channel, slug=slug)
    wanted = ORDERS[verb]
    if wanted.cost and request.POST.get("confirmed") != "1":
        if wants_json(request):
            return say(f"{wanted.cost} Send confirmed=1 to do it.", 400)
        context = {
            **admin.site.each_context(request),
            "title": f"{wanted.label} {channel.name}?",
            "channel": channel,
            "order": wanted,
            "back": _back(request, channel),
        }
        return TemplateResponse(request, "streams/confirm.html", context)
    try:
        sentence = give(wanted, channel, user=request.user, now=timezone.now())
    except actions.CantStartError as refusal:
        faults = [fault.sentence for fault in refusal.faults if fault.stops_the_start]
        if wants_json(request):
            return say(str(refusal), 422, findings=faults)
        for fault in faults:
            messages.error(request, fault)
    except actions.ActionRefusedError as refusal:
        if wants_json(request):
            return say(str(refusal), STATUS[type(refusal)])
        messages.warning(request, str(refusal))
    else:
        if wants_json(request):
            return say(sentence, 202)
        messages.success(request, sentence)
    return redirect(_back(request, channel))


def _back(request: HttpRequest, channel: Channel) -> str:
    wanted = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        return wanted
    return reverse("monitor", args=[channel.slug])


# ---- the picture -----------------------------------------------------------------------------


@require_GET
@staff("streams.view_channel")
def hls(request: HttpRequest, slug: str, name: str) -> HttpResponseBase:
    """The preview's playlist and segments, for those who may see the channel."""
    if name != _PLAYLIST and not _SEGMENT.fullmatch(name):
        raise Http404
    channel = get_object_or_404(Channel.objects.only("pk"), slug=slug)
    path = folder(channel.pk) / "hls" / name
    is_playlist = name == _PLAYLIST
    kind = "application/vnd.apple.mpegurl" if is_playlist else "video/mp2t"
    keep = "no-store" if is_playlist else "private, max-age=60"
    return _file(path, kind, keep)


@require_GET
@staff("streams.view_channel")
def preview_picture(request: HttpRequest, slug: str) -> HttpResponseBase:
    """What is on air, as a JPEG; grey where nothing is."""
    channel = get_object_or_404(Channel.objects.only("pk"), slug=slug)
    path = picture(channel.pk) if Path(settings.RUN_DIR).is_dir() else None
    if path is None:
        return _file(_NO_PICTURE, "image/jpeg", "no-store", accel=False)
    return _file(path, "image/jpeg", "no-store")


@require_GET
@staff("streams.view_channel")
def logo(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The channel's logo. From a bucket too it comes through here: it is small."""
    channel = get_object_or_404(Channel.objects.only("logo"), slug=slug)
    if not channel.logo:
        raise Http404
    try:
        found = storage.read(Logo(channel.logo).key, 0, logos.MOST_BYTES)
    except storage.StorageError as error:
        return HttpResponse(str(error), "text/plain; charset=utf-8", 503)
    answer = HttpResponse(found, "image/png")
    # Another logo under the same address is to be seen at once.
    answer["Cache-Control"] = "no-cache, private"
    return answer


_NO_PICTURE: Final = Path(__file__).parent / "static" / "streams" / "no-picture.jpg"


def _file(path: Path, kind: str, keep: str, *, accel: bool = True) -> HttpResponseBase:
    answer: HttpResponseBase
    if accel and settings.HLS_ACCEL:
        answer = HttpResponse(content_type=kind)
        answer["X-Accel-Redirect"] = _ACCEL + str(path.relative_to(settings.RUN_DIR))
    else:
        try:
            answer = FileResponse(path.open("rb"), content_type=kind)
        except FileNotFoundError:
            # The window moved on, or the channel is off.
            raise Http404 from None
    answer["Cache-Control"] = keep
    return answer
