"""Who calls a route of the API, and whether they may: by key, or as staff logged in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.http import HttpRequest
from django.utils import timezone
from ninja.security import APIKeyCookie, APIKeyHeader, HttpBearer
from ninja.utils import check_csrf

from streamsite import keys
from streamsite.keys import KeyRefusedError
from streamsite.levels import Rule, rule_of
from streamsite.models import ApiKey
from streamsite.problems import Kind, ProblemError
from streamsite.secret import Secret

#: As Django writes a parameter of a route.
_PARAMETER: Final = re.compile(r"<(?:\w+:)?(\w+)>")


@dataclass(frozen=True, slots=True)
class Caller:
    """Exactly one of both: a key, or a user."""

    key: ApiKey | None = None
    user: AbstractBaseUser | None = None

    @property
    def name(self) -> str:
        """As runs, keys and the admin's history name who gave an order."""
        if self.key is not None:
            return f"API key {self.key.name}"
        return self.user.get_username() if self.user is not None else ""

    def may(self, rule: Rule) -> bool:
        if rule.level is None:
            return True
        if self.key is not None:
            return self.key.may.includes(rule.level)
        return self.user is not None and self.user.has_perm(rule.permission)  # type: ignore[attr-defined]


def caller(request: HttpRequest) -> Caller:
    """Who was let in."""
    found = request.auth  # type: ignore[attr-defined]  # ninja puts it there
    if not isinstance(found, Caller):
        raise TypeError("The route lets everybody in, so nobody is known.")
    return found


def route_of(request: HttpRequest) -> str:
    """The route as the table has it: `/api/v1/channels/{slug}`."""
    match = request.resolver_match
    if match is None:
        raise ValueError("A request that was not resolved has no route.")
    return "/" + _PARAMETER.sub(r"{\1}", match.route)


def _let_in(request: HttpRequest, who: Caller) -> Caller:
    """The caller, where the table allows it. Raises `ProblemError`."""
    rule = rule_of(request.method or "", route_of(request))
    if rule is None:
        raise ProblemError(Kind.LEVEL, "Nobody may call this route.")
    if who.may(rule):
        return who
    if who.key is not None:
        raise ProblemError(
            Kind.LEVEL, f"The key's level is {who.key.level}; this takes {rule.level}."
        )
    raise ProblemError(
        Kind.PERMISSION, f"You need the permission {rule.permission} to do that."
    )


def _with_key(request: HttpRequest, text: str) -> Caller:
    """Raises `ProblemError`."""
    address = request.META.get("REMOTE_ADDR", "")
    try:
        key = keys.authenticate(Secret(text), address=address, now=timezone.now())
    except KeyRefusedError as refusal:
        raise ProblemError(Kind(f"key-{refusal.reason}"), str(refusal)) from None
    return _let_in(request, Caller(key=key))


class BearerKey(HttpBearer):
    """`Authorization: Bearer KEY`."""

    def authenticate(self, request: HttpRequest, token: str) -> Caller | None:
        return _with_key(request, token.strip()) if token.strip() else None


class HeaderKey(APIKeyHeader):
    """`X-API-Key: KEY`."""

    param_name = "X-API-Key"

    def authenticate(self, request: HttpRequest, key: str | None) -> Caller | None:
        return _with_key(request, key.strip()) if key and key.strip() else None


class StaffSession(APIKeyCookie):
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
        if isinstance(user, AnonymousUser) or not (user.is_active and user.is_staff):  # type: ignore[attr-defined]
            return None
        return _let_in(request, Caller(user=user))


#: A key that is sent is judged, whatever cookie comes with it.
AUTH: Final = (BearerKey(), HeaderKey(), StaffSession())
