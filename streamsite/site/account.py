"""Pages of sessions: one's own, and, by permission, everybody's."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from streamsite.accounts import factors, sessions
from streamsite.accounts.audit_log import Event, record
from streamsite.http.responses import any_staff, staff


def _page(request: HttpRequest, template: str, title: str, **more: Any) -> HttpResponseBase:
    context = {**admin.site.each_context(request), "title": title, **more}
    return TemplateResponse(request, template, context)


@never_cache
@require_GET
@any_staff
def account(request: HttpRequest) -> HttpResponseBase:
    """The visitor's own account: second factors, and where they are logged in."""
    user: Any = request.user
    rows = sessions.current().filter(user=user.pk)
    return _page(
        request,
        "streamsite/account.html",
        "Your account",
        sessions=rows,
        here=request.session.session_key,
        has_authenticator=user.totpdevice_set.filter(confirmed=True).exists(),
        passkeys=user.passkeys.all(),
        codes_left=factors.codes_left(user),
    )


@any_staff
def change_password(request: HttpRequest) -> HttpResponseBase:
    """The admin's own page, whose change is recorded."""
    with transaction.atomic():
        answer = admin.site.password_change(request)
        if request.method == "POST" and answer.status_code == HTTPStatus.FOUND:
            user: Any = request.user
            record(Event.CHANGED, user.get_username(), "Changed their own password.", [user])
    return answer


@never_cache
@require_GET
@staff("streamsite.view_usersession")
def all_sessions(request: HttpRequest) -> HttpResponseBase:
    """Everybody's sessions."""
    return _page(
        request,
        "streamsite/sessions.html",
        "Sessions",
        sessions=sessions.current(),
        here=request.session.session_key,
        everybody=True,
        may=request.user.has_perm("streamsite.delete_usersession"),
    )


@require_POST
@any_staff
def end_sessions(request: HttpRequest) -> HttpResponseBase:
    """Ends the session with the handle `session`, or all others of the visitor (`others`)."""
    rows = sessions.current()
    everybody = "everybody" in request.POST
    if not (everybody and request.user.has_perm("streamsite.delete_usersession")):
        rows = rows.filter(user=request.user.pk)
    here = request.session.session_key
    handle = request.POST.get("session", "")
    chosen = [
        row
        for row in rows
        if (row.handle == handle if handle else row.session_key != here and not everybody)
    ]
    count = sessions.end(chosen, request.user.get_username())
    messages.success(request, f"{count} session{'' if count == 1 else 's'} ended.")
    return redirect("sessions" if everybody else "account")
