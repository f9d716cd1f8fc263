"""The origin of the request that is being answered, for the audit log."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from django.http import HttpRequest
from django.http.response import HttpResponseBase


@dataclass(frozen=True, slots=True)
class Origin:
    """The visitor's address and program. Both empty: no request, but a command or a job."""

    address: str = ""
    user_agent: str = ""


_NOWHERE: Final = Origin()
_current: Final[ContextVar[Origin]] = ContextVar("origin", default=_NOWHERE)


def current() -> Origin:
    return _current.get()


class OriginMiddleware:
    """Keeps the origin while the request is answered. Stands behind RealAddressMiddleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        agent = request.META.get("HTTP_USER_AGENT", "")
        token = _current.set(
            Origin(
                address=str(request.META.get("REMOTE_ADDR", ""))[:64],
                user_agent="".join(c for c in agent if c.isprintable())[:200],
            )
        )
        try:
            return self.get_response(request)
        finally:
            _current.reset(token)
