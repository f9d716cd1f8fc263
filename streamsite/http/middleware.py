"""Middleware of every request."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import structlog
from django.contrib.admin.views.main import ERROR_FLAG
from django.db import DataError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.shortcuts import redirect

from streamsite.http import problems

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: The form of a request id that a client may choose: it stands in many lines of the log.
_ID: Final = re.compile(r"[A-Za-z0-9._-]{8,64}")
#: Headers of an answer that are of its body.
_OF_BODY: Final = {"content-type", "content-length", "content-encoding", "etag"}


class RealAddressMiddleware:
    """The visitor's address where nginx hands requests on over a unix socket.

    Such a connection has no address of its own, so nginx's word is the only one, and nobody
    else can reach the socket. Over TCP the header is a stranger's and is not believed.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.META.get("REMOTE_ADDR"):
            request.META["REMOTE_ADDR"] = request.META.get("HTTP_X_REAL_IP", "")
        return self.get_response(request)


class RequestIdMiddleware:
    """Each request has an id, which the log tells and the answer's `X-Request-ID` too.

    A proxy or a program may choose it, in that same header; what is odd is not taken over.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # There django-structlog looks for it.
        request.META["HTTP_X_REQUEST_ID"] = request_id_of(
            request.META.get("HTTP_X_REQUEST_ID", "")
        )
        answer = self.get_response(request)
        answer["X-Request-ID"] = request.META["HTTP_X_REQUEST_ID"]
        return answer


def request_id_of(chosen: str) -> str:
    """The id that was chosen, or a new one where none was or it is odd."""
    return chosen if _ID.fullmatch(chosen) else str(uuid.uuid4())


def request_id(request: HttpRequest) -> str:
    return str(request.META.get("HTTP_X_REQUEST_ID", ""))


class AllowanceMiddleware:
    """Tells a caller of the API how many requests are left, and caches whose the answer is.

    Requests are counted only for keys.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        answer = self.get_response(request)
        if hasattr(request, "auth"):
            # For caches in between: they do not know the header of a key.
            answer.setdefault("Cache-Control", "private, no-cache")
        left = getattr(request, "allowance", None)
        if left is not None:
            for name, value in left.headers.items():
                answer[name] = value
        return answer


class ProblemMiddleware:
    """Errors that Django or a middleware answered with a page, as problems for programs.

    Those ask below `/api/`, at the compatibility paths, or say that they want JSON.
    """

    #: The prefixes of those paths.
    FIRST: Final = frozenset({"api", "health", "streams", "broadcasters", "stream-keys", "ws"})

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        answer = self.get_response(request)
        if answer.status_code < HTTPStatus.BAD_REQUEST or not self._for_a_program(request):
            return answer
        if answer.headers.get("Content-Type", "").startswith("application/"):
            return answer
        document = problems.of_status(answer.status_code, "", request_id(request))
        problem = problems.answer(document)
        for name, value in answer.items():
            if name.lower() not in _OF_BODY:
                problem[name] = value
        problem.cookies = answer.cookies
        return problem

    def _for_a_program(self, request: HttpRequest) -> bool:
        if request.META.get("HTTP_ACCEPT", "").startswith("application/json"):
            return True
        return request.path_info.lstrip("/").partition("/")[0] in self.FIRST


class OddFilterMiddleware:
    """A filter of an admin's list that no row can match is left out, with a word about it.

    Django does so for what it finds odd itself; a year of 99999 or a number too large for the
    database it finds only while it reads the rows.
    """

    ODD: Final = (ValueError, OverflowError, DataError)

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(
        self, request: HttpRequest, exception: Exception
    ) -> HttpResponseBase | None:
        match = request.resolver_match
        listing = match is not None and (match.url_name or "").endswith("_changelist")
        filtered = request.method == "GET" and bool(request.GET)
        filtered = filtered and ERROR_FLAG not in request.GET
        if not (listing and filtered and isinstance(exception, self.ODD)):
            return None
        log.warning("admin.odd_filter", path=request.path, error=type(exception).__name__)
        return redirect(f"{request.path}?{ERROR_FLAG}=1")


class CompressTextMiddleware(GZipMiddleware):
    """Compresses pages and data, but no video: it costs time and gains nothing."""

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        if response.headers.get("Content-Type", "").startswith(("video/", "audio/", "image/")):
            return response
        return super().process_response(request, response)
