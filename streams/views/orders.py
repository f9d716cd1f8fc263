"""Orders from the buttons of pages that run no JavaScript, with a page that asks back."""

from __future__ import annotations

from django.contrib import admin, messages
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from streams.control import actions
from streams.control.commands import ORDERS, give
from streams.control.on_air_schedule import outlooks
from streams.models import Broadcaster, Channel, visible
from streamsite.api.auth import Caller
from streamsite.http.responses import staff


@require_POST
@staff("streams.operate_channel")
def order(request: HttpRequest, slug: str, verb: str) -> HttpResponseBase:
    """Give an order. Orders that interrupt the air need `confirmed`."""
    channel = get_object_or_404(visible(Channel.objects.all(), request), slug=slug)
    chosen = ORDERS[verb]
    if chosen.cost and request.POST.get("confirmed") != "1":
        chosen = chosen.with_hours(outlooks(timezone.now(), slug=slug).get(slug))
        context = {
            **admin.site.each_context(request),
            "title": f"{chosen.label} {channel.name}?",
            "channel": channel,
            "order": chosen,
            "back": _back(request, channel),
            "broadcaster": request.POST.get("broadcaster", ""),
        }
        return TemplateResponse(request, "streams/confirm.html", context)
    try:
        who = Caller(user=request.user)
        sentence = give(chosen, channel, who, now=timezone.now(), whose=_whose(request))
    except actions.CantStartError as refusal:
        faults = [fault.sentence for fault in refusal.faults if fault.stops_the_start]
        for fault in faults:
            messages.error(request, fault)
    except actions.ActionRefusedError as refusal:
        messages.warning(request, str(refusal))
    else:
        messages.success(request, sentence)
    return redirect(_back(request, channel))


def _whose(request: HttpRequest) -> Broadcaster | None:
    """Returns the broadcaster to take, if the button names one."""
    slug = request.POST.get("broadcaster", "")
    if not slug:
        return None
    return get_object_or_404(visible(Broadcaster.objects.all(), request), slug=slug)


def _back(request: HttpRequest, channel: Channel) -> str:
    target = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(
        target, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        return target
    return reverse("monitor", args=[channel.slug])
