"""Security headers of responses, and the largest body of a request."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from csp.middleware import CSPMiddleware, PolicyParts
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

#: Bytes of any request: one part of an upload, with nginx's `client_max_body_size`.
LARGEST: Final = 100 * 1024 * 1024
#: None of these is asked of a browser, so no page may ask, nor what was smuggled into one.
PERMISSIONS: Final = ", ".join(
    f"{name}=()"
    for name in (
        *("accelerometer", "camera", "display-capture", "geolocation", "gyroscope", "hid"),
        *("magnetometer", "microphone", "midi", "payment", "serial", "usb"),
    )
)


#: The policy of responses that are no pages: opened in a browser, they load nothing.
NO_PAGE: Final = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"


class PolicyMiddleware(CSPMiddleware):
    """The sources that a page may load.

    The admin's theme, which is all that is HTML but the API's documentation, gets along with
    less strictness.
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        response.headers.setdefault("Permissions-Policy", PERMISSIONS)
        if _is_page(response):
            answer: HttpResponseBase = super().process_response(request, response)
            return answer
        response.headers.setdefault("Content-Security-Policy", NO_PAGE)
        return response

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts: PolicyParts = super().get_policy_parts(request, response, report_only)
        if not report_only and not request.path_info.startswith("/api/"):
            parts.config = parts.config or settings.THEME_POLICY
        return parts


def _is_page(response: HttpResponseBase) -> bool:
    return response.headers.get("Content-Type", "").startswith("text/html")


class BodySizeMiddleware:
    """413 for a body that is too large, by what its length is said to be. Unread.

    411 for one whose length is not said, which would be taken for none.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        length = request.META.get("CONTENT_LENGTH") or "0"
        if length == "0" and "HTTP_TRANSFER_ENCODING" in request.META:
            return HttpResponse(status=HTTPStatus.LENGTH_REQUIRED)
        data = request.content_type == "application/json"
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE if data else LARGEST
        if not length.isdecimal():
            return HttpResponse(status=HTTPStatus.BAD_REQUEST)
        # int() refuses more than 4300 digits.
        if len(length) > len(str(LARGEST)) or int(length) > most:
            return HttpResponse(status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return self.get_response(request)
