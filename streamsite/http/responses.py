"""Responses of the pages of both apps, and the permissions they need."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import reverse

from streamsite.http.untrusted import json_of

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


class BadRequestError(Exception):
    """The request can't be read. `str()` is a sentence for the author of the client."""


def wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept", "").startswith("application/json")


def staff(permission: str) -> Callable[[View[P]], View[P]]:
    """Staff with that permission. Others: to the login page, or 401 and 403 for a program."""

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def guarded(
            request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs
        ) -> HttpResponseBase:
            if not admin.site.has_permission(request):
                if wants_json(request):
                    return reply("Log in first.", 401)
                return redirect_to_login(request.get_full_path(), reverse("admin:login"))
            if not request.user.has_perm(permission):
                if wants_json(request):
                    return reply("You have no permission to do that.", 403)
                raise PermissionDenied
            return view(request, *args, **kwargs)

        return guarded

    return decorate


def reply(sentence: str, status: int, **more: object) -> JsonResponse:
    return JsonResponse({"detail": sentence, **more}, status=status)


def unless_seen(request: HttpRequest, body: bytes, content_type: str) -> HttpResponse:
    """The body, or 304 where the caller has this very one."""
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    seen = etag in request.headers.get("If-None-Match", "")
    answer = HttpResponse(b"" if seen else body, content_type, 304 if seen else 200)
    answer["ETag"] = etag
    answer["Cache-Control"] = "no-cache, private"
    return answer


def sent(request: HttpRequest) -> dict[str, Any]:
    """The JSON object of a request's body. Raises `BadRequestError`."""
    try:
        body = json_of(request.body)
    except ValueError:
        raise BadRequestError("The body is no JSON.") from None
    if not isinstance(body, dict):
        raise BadRequestError("The body is no JSON object.")
    return body
