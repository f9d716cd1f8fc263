"""A channel's drills: the order with its confirmation, and the results."""

from __future__ import annotations

from typing import Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.views.decorators.http import require_http_methods

from streams.drill import orders, runner
from streams.drill.promises import NOT_POSSIBLE, PROMISES, Fault
from streams.drill.runner import DrillRefusedError
from streams.models import Channel, visible
from streamsite.api.auth import Caller
from streamsite.http.responses import staff

#: Drills that the page lists.
ROWS: Final = 10


@require_http_methods(["GET", "POST"])
@staff("streams.view_drill")
def drills(request: HttpRequest, slug: str) -> HttpResponseBase:
    channel = get_object_or_404(visible(Channel.objects.all(), request), slug=slug)
    if request.method == "POST":
        if not request.user.has_perm("streams.add_drill"):
            raise PermissionDenied
        return _ordered(request, channel)
    listed = list(channel.drills.all()[:ROWS])
    context = {
        **admin.site.each_context(request),
        "title": f"Drills of {channel.name}",
        "channel": channel,
        "refusal": runner.current_refusal(channel, confirmed=True),
        "faults": PROMISES.items(),
        "not_possible": NOT_POSSIBLE.items(),
        "drills": listed,
        "running": any(row.is_open for row in listed),
        "may": request.user.has_perm("streams.add_drill"),
    }
    return TemplateResponse(request, "streams/drills.html", context)


def _ordered(request: HttpRequest, channel: Channel) -> HttpResponseBase:
    chosen = [fault for fault in Fault if fault.value in request.POST.getlist("fault")]
    confirmed = request.POST.get("confirmed") == "1"
    try:
        orders.place(channel, chosen, Caller(user=request.user), confirmed=confirmed)
    except DrillRefusedError as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, f"The drill of {channel.name} is ordered.")
    return redirect("drills", channel.slug)
