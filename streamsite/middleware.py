"""What every request passes, before and after the rest."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware


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


class CompressTextMiddleware(GZipMiddleware):
    """Compresses pages and data, but no video: it costs time and gains nothing."""

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        if response.headers.get("Content-Type", "").startswith(("video/", "audio/", "image/")):
            return response
        return super().process_response(request, response)
