"""The public status of a channel, where it is allowed: no login, no cause, no address."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.utils import timezone
from django.views.decorators.http import require_safe

from streams.calendar.guide import cached_or_made
from streams.models import Channel
from streams.monitoring.report import UNKNOWN, report
from streams.monitoring.uptime import page as uptime
from streams.playout.contract.states import AirState

#: Seconds for which a status is kept: however many ask, it is computed once.
STATUS_TTL_S: Final = 15
#: State as the public reads it. Anything else is unknown.
STATES: Final = {
    AirState.ON_AIR.value: ("on_air", "On the air"),
    AirState.DEGRADED.value: ("degraded", "On the air, with problems"),
    AirState.FAILING.value: ("down", "Off the air"),
    AirState.STARTING.value: ("starting", "Starting"),
    AirState.STOPPING.value: ("off", "Not on the air now"),
    AirState.OFF.value: ("off", "Not on the air now"),
}


@require_safe
def page(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The page. The session is not read, so that proxies can cache it."""
    channel = _allowed(slug)
    context = {"status": _status(channel), "channel": channel}
    return _kept(HttpResponse(render_to_string("streams/status.html", context)))


@require_safe
def data(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The same as JSON, for pages of other sites, too."""
    answer = JsonResponse(_status(_allowed(slug)), encoder=DjangoJSONEncoder)
    answer["Access-Control-Allow-Origin"] = "*"
    return _kept(answer)


def _allowed(slug: str) -> Channel:
    return get_object_or_404(Channel, slug=slug, public_status=True)


def _kept(answer: HttpResponse) -> HttpResponse:
    # The middleware adds the ETag, and answers 304 where it is the same.
    answer["Cache-Control"] = f"public, max-age={STATUS_TTL_S}"
    return answer


def _status(channel: Channel) -> dict[str, Any]:
    name = f"public-status-{channel.pk}"
    return cached_or_made(name, name, STATUS_TTL_S, lambda: _made(channel, timezone.now()))


def _made(channel: Channel, now: datetime) -> dict[str, Any]:
    reports = report(now, slug=channel.slug).channels
    state, label = STATES.get(reports[0].state if reports else UNKNOWN, (UNKNOWN, "Unknown"))
    days, percent = uptime.days_and_percent(channel, now)
    return {
        "slug": channel.slug,
        "name": channel.name,
        "state": state,
        "label": label,
        "checked_at": now.replace(microsecond=0),
        "percent_90_days": percent,
        "days": [
            {
                "day": day.day,
                "level": day.level.value,
                "percent": day.percent,
                "off_air_seconds": day.off_air_seconds,
                "unknown_seconds": day.unknown_seconds,
                "sentence": day.sentence,
            }
            for day in days
        ],
    }
