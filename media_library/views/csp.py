"""Content security policy of the library's pages: permits the bucket."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from csp.constants import SELF
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from media_library import storage

P = ParamSpec("P")
R = TypeVar("R", bound=HttpResponseBase)


def allow_storage(answer: R) -> R:
    """Permits this page to show the bucket's pictures and to upload parts to it."""
    origin = storage.origin()
    if origin:
        allowed: dict[str, Any] = {"img-src": [origin], "connect-src": [SELF, origin]}
        answer._csp_update = allowed  # type: ignore[attr-defined]  # noqa: SLF001 - django-csp's
    return answer


def with_storage(
    view: Callable[Concatenate[HttpRequest, P], R],
) -> Callable[Concatenate[HttpRequest, P], R]:
    @wraps(view)
    def allowed(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return allow_storage(view(request, *args, **kwargs))

    return allowed
