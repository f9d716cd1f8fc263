"""Pages of the login, and of a user's second factors."""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth import login
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, resolve_url
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.safestring import mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST
from unfold.forms import AuthenticationForm

from streamsite.accounts import factors, passkeys
from streamsite.accounts.audit_log import Event, record
from streamsite.http.responses import any_staff
from streamsite.http.untrusted import json_of, number_or_none

NEXT: Final = "next"


class Login(LoginView):
    """The admin's login. A user with a second factor is asked for it before they are in."""

    template_name = "admin/login.html"
    authentication_form = AuthenticationForm

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method == "GET" and admin.site.has_permission(request):
            return redirect("admin:index")
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form: Any) -> HttpResponse:
        user: User = form.get_user()
        owns = factors.has_factor(user)
        if not owns and not factors.is_required(user):
            return super().form_valid(form)
        factors.suspend(self.request, user)
        page = reverse("second-factor" if owns else "set-up-factor")
        return redirect(f"{page}?{urlencode({NEXT: self.get_success_url()})}")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        return {
            **admin.site.each_context(self.request),
            **context,
            "title": "Log in",
            "app_path": self.request.get_full_path(),
            "username": self.request.user.get_username(),
        }


def _next(request: HttpRequest) -> str:
    target = request.POST.get(NEXT) or request.GET.get(NEXT, "")
    good = url_has_allowed_host_and_scheme(
        target, {request.get_host()}, require_https=request.is_secure()
    )
    return target if good else resolve_url(settings.LOGIN_REDIRECT_URL)


def _let_in(request: HttpRequest, user: User) -> None:
    login(request, user)
    factors.forget_pending(request)


def _page(request: HttpRequest, template: str, title: str, **more: Any) -> HttpResponseBase:
    context = {**admin.site.each_context(request), "title": title, NEXT: _next(request), **more}
    return TemplateResponse(request, template, context)


# ---- the login's second step -----------------------------------------------------------------
@sensitive_post_parameters("code")
@never_cache
def second_factor(request: HttpRequest) -> HttpResponseBase:
    """Asks for a code or a passkey, after the password."""
    user = factors.pending(request)
    if user is None:
        return redirect("admin:login")
    fault = ""
    if request.method == "POST":
        if factors.verify(user, request.POST.get("code", "")):
            _let_in(request, user)
            return redirect(_next(request))
        record(Event.LOGIN_FAILED, user.get_username(), "Wrong second factor.")
        fault = "The code is wrong, or it was used. After wrong codes, wait for some seconds."
    return _page(
        request,
        "streamsite/second_factor.html",
        "Second factor",
        fault=fault,
        has_passkey=user.passkeys.exists(),
    )


@require_POST
@never_cache
def passkey_login(request: HttpRequest) -> HttpResponseBase:
    """Without a body: the options for the browser. With the browser's answer: the login."""
    user = factors.pending(request)
    if user is None:
        return _problem("The login took too long: log in again.")
    if not request.body:
        return JsonResponse(passkeys.authentication(request, user))
    try:
        passkeys.authenticate(request, user, json_of(request.body))
    except (passkeys.PasskeyError, ValueError) as refusal:
        record(Event.LOGIN_FAILED, user.get_username(), "Wrong second factor.")
        return _problem(str(refusal))
    target = _next(request)
    _let_in(request, user)
    return JsonResponse({"next": target})


def _problem(detail: str) -> JsonResponse:
    return JsonResponse({"detail": detail}, status=400)


# ---- setting up ------------------------------------------------------------------------------
def _subject(request: HttpRequest) -> User | None:
    """Who sets up a factor: the user logged in, or one who must before the login.

    A user who has a factor and has not shown it sets up none.
    """
    if admin.site.has_permission(request) and isinstance(request.user, User):
        return request.user
    user = factors.pending(request)
    return None if user is None or factors.has_factor(user) else user


@sensitive_post_parameters("code")
@never_cache
def set_up(request: HttpRequest) -> HttpResponseBase:
    """Sets up an authenticator: its secret as a picture and as text, then a code of it."""
    user = _subject(request)
    if user is None:
        return redirect("admin:login")
    fault = ""
    if request.method == "POST":
        first = not factors.has_factor(user)
        if factors.confirm(user, request.POST.get("code", "")):
            return _done(request, user, first=first)
        fault = "The code is wrong: wait for the next one, and check the telephone's clock."
    device = factors.draft(user)
    return _page(
        request,
        "streamsite/set_up_factor.html",
        "Second factor",
        fault=fault,
        picture=_picture(f"{device.config_url}&issuer=streamsite"),
        secret=factors.secret_of(device),
        must=not request.user.is_authenticated,
    )


def _picture(url: str) -> str:
    """The address as a QR code, as SVG."""
    import segno  # noqa: PLC0415 - used here alone

    svg: str = segno.make(url, error="m").svg_inline(scale=4, border=4, light="#fff")
    # Made by the library of an address of ours.
    return mark_safe(svg)  # noqa: S308 - see above


def _done(request: HttpRequest, user: User, *, first: bool) -> HttpResponseBase:
    """Shows recovery codes with the first factor, and lets in who has waited for that."""
    if not request.user.is_authenticated:
        _let_in(request, user)
    if not first:
        messages.success(request, "The second factor is set up.")
        return redirect("account")
    return _codes(request, user)


def _codes(request: HttpRequest, user: User) -> HttpResponseBase:
    codes = factors.new_codes(user)
    return _page(request, "streamsite/recovery_codes.html", "Recovery codes", codes=codes)


@require_POST
@never_cache
def add_passkey(request: HttpRequest) -> HttpResponseBase:
    """Without a body: the options for the browser. With the browser's answer: the passkey."""
    user = _subject(request)
    if user is None:
        return _problem("You are no longer logged in: log in again.")
    if not request.body:
        return JsonResponse(passkeys.registration(request, user))
    first = not factors.has_factor(user)
    try:
        sent = json_of(request.body)
        name = str(sent.pop("name", "")) if isinstance(sent, dict) else ""
        passkeys.register(request, user, name.strip(), sent)
    except (passkeys.PasskeyError, ValueError) as refusal:
        return _problem(str(refusal))
    if not request.user.is_authenticated:
        _let_in(request, user)
    page = "new-recovery-codes" if first else "account"
    return JsonResponse({"next": reverse(page)})


@never_cache
@any_staff
def recovery_codes(request: HttpRequest) -> HttpResponseBase:
    """New codes in place of the old: at once by POST, or if there are none."""
    user: Any = request.user
    if not factors.has_factor(user):
        return redirect("account")
    if request.method == "POST" or not factors.codes_left(user):
        return _codes(request, user)
    return redirect("account")


@require_POST
@any_staff
def remove(request: HttpRequest) -> HttpResponseBase:
    """Removes the authenticator, or the passkey that `passkey` names."""
    user: Any = request.user
    pk = number_or_none(request.POST.get("passkey", ""))
    if pk is None:
        factors.remove_authenticator(user)
    else:
        factors.remove_passkey(user, pk)
    messages.success(request, "The second factor is removed.")
    return redirect("account")
