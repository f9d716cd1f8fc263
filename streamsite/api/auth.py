"""Authentication and authorisation of API calls: by key, or as staff logged in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, PermissionsMixin
from django.http import HttpRequest
from django.utils import timezone
from ninja import Router as NinjaRouter
from ninja.constants import NOT_SET
from ninja.security import APIKeyCookie, APIKeyHeader, HttpBearer
from ninja.utils import check_csrf

from streamsite.accounts.limits import is_site_wide, own_channels
from streamsite.api import keys, throttling
from streamsite.api.keys import KeyRefusedError
from streamsite.api.models import ApiKey
from streamsite.api.permissions import Rule
from streamsite.api.throttling import Allowance
from streamsite.http.problems import Kind, ProblemError
from streamsite.security.secret import Secret


@dataclass(frozen=True, slots=True)
class Caller:
    """Exactly one of both: a key, or a user."""

    key: ApiKey | None = None
    user: AbstractBaseUser | AnonymousUser | None = None

    @property
    def name(self) -> str:
        """As runs, keys and the admin's history name who gave an order."""
        if self.key is not None:
            return f"API key {self.key.name}"
        return self.user.get_username() if self.user is not None else ""

    def may(self, rule: Rule) -> bool:
        if self.key is not None:
            if not self.key.may.includes(rule.key_permission):
                return False
            # As OwnChannelsBackend has it for users.
            return not is_site_wide(rule.staff_permission) or own_channels(self.key) is None
        return self.has_perm(rule.staff_permission)

    def has_perm(self, permission: str) -> bool:
        """Whether it is a user who has that permission of Django's."""
        return isinstance(self.user, PermissionsMixin) and self.user.has_perm(permission)


def caller(request: HttpRequest) -> Caller:
    """The authenticated caller."""
    authenticated = request.auth  # type: ignore[attr-defined]  # ninja puts it there
    if not isinstance(authenticated, Caller):
        raise TypeError("The route lets everybody in, so nobody is known.")
    return authenticated


def _let_in(request: HttpRequest, who: Caller, rule: Rule | None) -> Caller:
    """The caller, where the route's rule allows it. Raises `ProblemError`."""
    # Staff are not counted: their pages ask every second.
    if who.key is not None:
        _count(request, who)
    if rule is None:
        raise ProblemError(Kind.KEY_PERMISSIONS, "Nobody may call this route.")
    if who.may(rule):
        return who
    if who.key is not None and who.key.may.includes(rule.key_permission):
        raise ProblemError(
            Kind.KEY_PERMISSIONS, "The key is limited to channels; this is of the whole site."
        )
    if who.key is not None:
        raise ProblemError(
            Kind.KEY_PERMISSIONS,
            f"The key has {who.key.permissions}; this takes {rule.key_permission}.",
        )
    raise ProblemError(Kind.PERMISSION, f"That takes the permission {rule.staff_permission}.")


def _count(request: HttpRequest, who: Caller) -> None:
    """Raises `ProblemError` where the minute's requests are used up."""
    left = counted(who, _address(request))
    # AllowanceMiddleware tells it.
    request.allowance = left  # type: ignore[attr-defined]  # AllowanceMiddleware reads it
    demand(left)


def counted(who: Caller, address: str) -> Allowance:
    """Count one request of theirs, from there: to a route, or to listen."""
    limits = {f"address {throttling.source(address)}": settings.API_REQUESTS_PER_MINUTE}
    if who.key is not None:
        limits[f"key {who.key.pk}"] = who.key.requests_per_minute
    return throttling.count(limits, timezone.now())


def demand(left: Allowance) -> None:
    """Raises `ProblemError` where the minute's requests are used up."""
    if left.exceeded:
        raise ProblemError(
            Kind.TOO_MANY_REQUESTS,
            f"{left.limit} requests a minute are allowed: ask again in {left.reset} seconds.",
            retry_after=left.reset,
        )


def _address(request: HttpRequest) -> str:
    return str(request.META.get("REMOTE_ADDR", ""))


def authenticated_key(text: str, address: str) -> ApiKey:
    """The key that was sent from there, if it is good. Raises `ProblemError`.

    After some wrong keys, all keys from the address are refused for the rest of the minute.
    """
    now = timezone.now()
    failures = f"wrong {throttling.source(address)}"
    left = throttling.peek(failures, throttling.WRONG_KEYS, now)
    if left.exceeded:
        raise ProblemError(
            Kind.TOO_MANY_FAILURES,
            f"Too many wrong keys came from {address}: try again in {left.reset} seconds.",
            retry_after=left.reset,
        )
    try:
        return keys.authenticate(Secret(text), address=address, now=now)
    except KeyRefusedError as refusal:
        if refusal.reason == "unknown":
            throttling.note(failures, now)
        raise ProblemError(Kind(f"key-{refusal.reason}"), str(refusal)) from None


class _Guard:
    """Lets in the callers that a route's rule allows; None: nobody."""

    def __init__(self, rule: Rule | None) -> None:
        super().__init__()
        self.rule = rule

    def with_key(self, request: HttpRequest, text: str | None) -> Caller | None:
        """Raises `ProblemError`."""
        sent = (text or "").strip()
        if not sent:
            return None
        key = authenticated_key(sent, _address(request))
        return _let_in(request, Caller(key=key), self.rule)


class BearerKey(_Guard, HttpBearer):
    """`Authorization: Bearer KEY`."""

    def authenticate(self, request: HttpRequest, token: str) -> Caller | None:
        return self.with_key(request, token)


class HeaderKey(_Guard, APIKeyHeader):
    """`X-API-Key: KEY`."""

    param_name = "X-API-Key"

    def authenticate(self, request: HttpRequest, key: str | None) -> Caller | None:
        return self.with_key(request, key)


class StaffSession(_Guard, APIKeyCookie):
    """The admin's login. Browsers send cookies unasked, so the CSRF token is asked for."""

    param_name = settings.SESSION_COOKIE_NAME

    def __call__(self, request: HttpRequest) -> Caller | None:
        # Without a login no token is asked for: what is missing is the key.
        if self.param_name not in request.COOKIES:
            return None
        if check_csrf(request):
            raise ProblemError(
                Kind.CSRF, "Send the CSRF token (X-CSRFToken) with a session, or use a key."
            )
        return self.authenticate(request, request.COOKIES[self.param_name])

    def authenticate(self, request: HttpRequest, key: str | None) -> Caller | None:
        user: AbstractBaseUser | AnonymousUser = request.user
        if isinstance(user, AnonymousUser) or not (user.is_active and user.is_staff):  # type: ignore[attr-defined]  # AbstractBaseUser has no permissions; staff users have
            return None
        return _let_in(request, Caller(user=user), self.rule)


#: A key that is sent is judged, whatever cookie comes with it.
_GUARDS: Final = (BearerKey, HeaderKey, StaffSession)
#: Of a route that states no permissions: nobody may call it.
CLOSED: Final = tuple(guard(None) for guard in _GUARDS)


class Router(NinjaRouter):
    """A router whose routes state who may call them: see `permissions.needs`."""

    def add_api_operation(
        self,
        path: str,
        methods: list[str],
        view_func: Callable[..., Any],
        *,
        auth: Any = NOT_SET,
        openapi_extra: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        rule: Rule | None = getattr(view_func, "rule", None)
        extra = dict(openapi_extra or {})
        if rule is not None:
            auth = [guard(rule) for guard in _GUARDS]
            extra["x-permissions"] = rule.key_permission.value
            extra["x-staff-permission"] = rule.staff_permission
        super().add_api_operation(
            path, methods, view_func, auth=auth, openapi_extra=extra, **options
        )
