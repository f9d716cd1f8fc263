"""Pages of accounts at platforms: their connection, and the way to the partner programme."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_http_methods

from streams.models import PlatformAccount, WatchDay, visible
from streams.platforms import connections, oauth, quota
from streams.platforms import watch_hours as watching
from streams.platforms.transport import PlatformError
from streamsite.api import audit
from streamsite.api.auth import Caller
from streamsite.http.responses import staff
from streamsite.http.untrusted import number_or_none
from streamsite.processes.task_queue import UNREACHABLE, enqueue
from streamsite.security.secret import Secret

#: Where the session keeps what the web flow has to find again.
_FLOW: Final = "platform-flow"
_CHECK: Final = "streams.tasks.check_account"


# ---- connections -----------------------------------------------------------------------------


@never_cache
@require_http_methods(["GET", "POST"])
@staff("streams.change_platformaccount")
def connection(request: HttpRequest, pk: int) -> HttpResponseBase:
    """The connection of an account: how to agree at the platform, and whether it is done."""
    account = get_object_or_404(visible(PlatformAccount.objects.all(), request), pk=pk)
    if request.method == "POST":
        return _ordered(request, account)
    state = connections.state_of(account)
    if state.flow and (state.flow_due_at is None or state.flow_due_at <= timezone.now()):
        # The page refreshes itself: a step need not wait for the job of the next minute.
        enqueue(_CHECK, account.pk)
    context = {
        **admin.site.each_context(request),
        "title": f"Connect {account.name}",
        "account": account,
        "state": state,
        "waiting": bool(state.flow),
        "address": _address(request, account),
        "redirect": request.build_absolute_uri(reverse("platform-back")),
        "spent": state.quota_spent if state.quota_day == quota.day(timezone.now()) else 0,
        "renewals": account.renewals.all()[:5],
    }
    return TemplateResponse(request, "streams/account.html", context)


def _ordered(request: HttpRequest, account: PlatformAccount) -> HttpResponseBase:
    by = request.user.get_username()
    match request.POST.get("verb"):
        case "device":
            connections.order_device(account, by)
            if not enqueue(_CHECK, account.pk):
                messages.error(request, UNREACHABLE)
        case "web" if account.kind == PlatformAccount.Kind.YOUTUBE:
            # A link follows: a form may not lead to another site (form-action).
            request.session[_FLOW] = {
                "account": account.pk,
                "state": secrets.token_urlsafe(24),
                "verifier": oauth.verifier().reveal(),
            }
        case "disconnect":
            connections.disconnect(account, by)
            messages.success(request, f"{account.name} is not connected any more.")
        case _:
            raise PermissionDenied
    return redirect("platform-connection", account.pk)


@sensitive_variables("flow")
def _address(request: HttpRequest, account: PlatformAccount) -> str:
    """Return the platform's page at which the visitor agrees; empty: no flow has begun."""
    flow = request.session.get(_FLOW) or {}
    if flow.get("account") != account.pk:
        return ""
    try:
        client = connections.client_of(account)
    except PlatformError as error:
        messages.error(request, str(error))
        return ""
    back = request.build_absolute_uri(reverse("platform-back"))
    scopes = connections.scopes_of(account, web=True)
    return oauth.authorize_address(
        client, scopes, back, flow["state"], Secret(flow["verifier"])
    )


@never_cache
@require_GET
@staff("streams.change_platformaccount")
@sensitive_variables("flow", "code")
def back(request: HttpRequest) -> HttpResponseBase:
    """Where the platform sends the browser when the visitor has agreed, or not."""
    flow = request.session.pop(_FLOW, None) or {}
    given = request.GET.get("state", "")
    if not flow or not constant_time_compare(given, flow["state"]):
        messages.error(request, "This connection was not begun here, or is over: begin anew.")
        return redirect("admin:streams_platformaccount_changelist")
    rows = visible(PlatformAccount.objects.all(), request)
    account = get_object_or_404(rows, pk=flow["account"])
    if not (code := request.GET.get("code", "")):
        messages.error(request, f"{account.get_kind_display()} has not agreed: begin anew.")
        return redirect("platform-connection", account.pk)
    connections.order_web(
        account,
        request.user.get_username(),
        Secret(code),
        Secret(flow["verifier"]),
        request.build_absolute_uri(reverse("platform-back")),
    )
    if not enqueue(_CHECK, account.pk):
        messages.error(request, UNREACHABLE)
    return redirect("platform-connection", account.pk)


# ---- watch hours -----------------------------------------------------------------------------


class TypedForm(forms.Form):
    """Figures that a person has read in YouTube Studio."""

    first_day = forms.DateField(widget=forms.DateInput(attrs={"type": "date"}))
    last_day = forms.DateField(widget=forms.DateInput(attrs={"type": "date"}))
    hours = forms.FloatField(min_value=0, max_value=10_000_000)
    subscribers = forms.IntegerField(min_value=0, max_value=1_000_000_000, required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        first, last = cleaned.get("first_day"), cleaned.get("last_day")
        if first and last:
            if last > quota.day(timezone.now()):
                self.add_error("last_day", "This day is not over yet.")
            if not timedelta(0) <= last - first <= watching.WINDOW:
                self.add_error("first_day", "Enter at most a year, its first day first.")
        return cleaned

    def rows(self, account: PlatformAccount) -> list[WatchDay]:
        """Return a row for each day, with an equal part of the hours."""
        first, last = self.cleaned_data["first_day"], self.cleaned_data["last_day"]
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        minutes = 60 * self.cleaned_data["hours"] / len(days)
        return [WatchDay(account=account, day=day, minutes=minutes, typed=True) for day in days]


@never_cache
@require_http_methods(["GET", "POST"])
@staff("streams.view_watchday")
def watch_hours(request: HttpRequest) -> HttpResponseBase:
    """The way of each YouTube account to the partner programme."""
    rows = visible(PlatformAccount.objects.all(), request).select_related("state")
    listed = rows.filter(kind=PlatformAccount.Kind.YOUTUBE).order_by("name")
    may = request.user.has_perm("streams.add_watchday")
    form, typed = TypedForm(), 0
    if request.method == "POST":
        if not may:
            raise PermissionDenied
        account = get_object_or_404(
            listed, pk=number_or_none(request.POST.get("account", "")) or 0
        )
        form, typed = TypedForm(request.POST), account.pk
        if _is_connected(account):
            messages.error(
                request, "Its figures come from YouTube: disconnect it to type some."
            )
            return redirect("watch-hours")
        if form.is_valid():
            return _typed(request, account, form)
    today = quota.day(timezone.now())
    ways = [
        {
            "account": account,
            "connected": _is_connected(account),
            "progress": watching.of(account, today),
            "form": form if typed == account.pk else TypedForm(),
        }
        for account in listed
    ]
    context = {
        **admin.site.each_context(request),
        "title": "Watch hours",
        "ways": ways,
        "may": may,
        "goal_hours": watching.HOURS,
        "goal_subscribers": watching.SUBSCRIBERS,
    }
    return TemplateResponse(request, "streams/watch_hours.html", context)


def _is_connected(account: PlatformAccount) -> bool:
    state = getattr(account, "state", None)
    return state is not None and state.connected


def _typed(request: HttpRequest, account: PlatformAccount, form: TypedForm) -> HttpResponseBase:
    watching.write(form.rows(account), "minutes")
    if (count := form.cleaned_data["subscribers"]) is not None:
        last = form.cleaned_data["last_day"]
        row = WatchDay(account=account, day=last, subscribers=count, typed=True)
        watching.write([row], "subscribers")
    sentence = f"Watch hours of {form.cleaned_data['first_day']} and later were typed."
    audit.write(Caller(user=request.user), account, sentence)
    messages.success(request, "The figures are stored.")
    return redirect("watch-hours")
