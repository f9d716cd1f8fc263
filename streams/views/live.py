"""Pages of live streams and of broadcasters' keys."""

from __future__ import annotations

from datetime import datetime

from csp.constants import SELF
from csp.decorators import csp_update
from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db import transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from streams.ingest import addresses, keys, report
from streams.ingest.servers import configured_client
from streams.models import Broadcaster, LiveStream, StreamKey, visible
from streamsite.api import audit
from streamsite.api.auth import Caller
from streamsite.http.responses import staff
from streamsite.security.text import text_fault


# ---- live streams ----------------------------------------------------------------------------
@require_GET
@staff("streams.view_livestream")
def live_streams(request: HttpRequest) -> HttpResponseBase:
    """The page of live streams. Its policy lets the browser fetch from the playback address."""
    place = addresses.origin(settings.PUBLIC_PLAYBACK_URL)

    def page(request: HttpRequest) -> HttpResponseBase:
        context = {
            **admin.site.each_context(request),
            "title": "Live now",
            "streams": [report.stream_json(row) for row in visible(report.live(), request)],
            "fault": report.fault(),
            "now": timezone.now(),
            # Users of this page may watch: the player sends the token to the server.
            "read_token": settings.INGEST_READ_TOKEN.reveal(),
        }
        return TemplateResponse(request, "streams/live.html", context).render()

    policy = {"connect-src": [SELF, place], "media-src": [place]}
    return csp_update(policy)(never_cache(page))(request)


# ---- keys ------------------------------------------------------------------------------------
class MintForm(forms.Form):
    label = forms.CharField(max_length=80, required=False)
    expires_at = forms.DateTimeField(required=False)
    single_use = forms.BooleanField(required=False)

    def clean_label(self) -> str:
        label = str(self.cleaned_data["label"])
        if fault := text_fault(label):
            raise forms.ValidationError(fault)
        return label

    def clean_expires_at(self) -> datetime | None:
        chosen: datetime | None = self.cleaned_data["expires_at"]
        if chosen and chosen <= timezone.now():
            raise forms.ValidationError("That time has passed.")
        return chosen


@never_cache
@require_POST
@staff("streams.add_streamkey")
@sensitive_post_parameters()
def mint_key(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Create a key. It is shown on this page only."""
    broadcaster = get_object_or_404(visible(Broadcaster.objects.all(), request), pk=pk)
    form = MintForm(request.POST)
    if not form.is_valid():
        for faults in form.errors.values():
            messages.error(request, str(faults[0]))
        # The form is filled in again from the URL; none of its values is secret.
        typed = {name: request.POST[name] for name in form.fields if request.POST.get(name)}
        return redirect(f"{broadcaster.get_absolute_url()}?{urlencode(typed)}")
    with transaction.atomic():
        row, key = keys.mint(
            broadcaster,
            by=request.user.get_username(),
            now=timezone.now(),
            **form.cleaned_data,
        )
        _noted(request, broadcaster, f"Stream key {row} minted.")
    context = {
        **admin.site.each_context(request),
        "title": f"A stream key for {broadcaster.name}",
        "may": f"goes live as {broadcaster.name}",
        "back": broadcaster.get_absolute_url(),
        "back_name": broadcaster.name,
        "row": row,
        "settings": addresses.publish(
            settings.INGEST_SERVER,
            settings.PUBLIC_INGEST_URL,
            broadcaster.path,
            key,
            report.ports(),
        ),
        "key": key.reveal(),
        "whip": settings.INGEST_SERVER != "nginx-rtmp",
    }
    answer = TemplateResponse(request, "streams/key_minted.html", context).render()
    answer["Cache-Control"] = "no-store"
    return answer


@require_http_methods(["GET", "POST"])
@staff("streams.change_streamkey")
def revoke_key(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Ask for confirmation, then revoke the key and end the stream that uses it."""
    rows = visible(StreamKey.objects.select_related("broadcaster"), request)
    row = get_object_or_404(rows, pk=pk)
    if request.method == "GET":
        context = {
            **admin.site.each_context(request),
            "title": f"Revoke the key {row}?",
            "row": row,
            "live": LiveStream.objects.filter(key=row, ended_at=None).exists(),
        }
        return TemplateResponse(request, "streams/key_revoke.html", context)
    if row.revoked_at is None:
        done = keys.revoke(
            row, by=request.user.get_username(), now=timezone.now(), server=configured_client()
        )
        _noted(request, row.broadcaster, f"Stream key {row} revoked.")
        if done.fault:
            messages.warning(request, f"The key {row} is revoked. {done.fault}")
        elif done.was_live:
            messages.success(request, f"The key {row} is revoked, and its stream has ended.")
        else:
            messages.success(request, f"The key {row} is revoked.")
    return redirect(row.broadcaster)


def _noted(request: HttpRequest, broadcaster: Broadcaster, sentence: str) -> None:
    audit.write(Caller(user=request.user), broadcaster, sentence)
