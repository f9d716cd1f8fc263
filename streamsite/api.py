"""The API's root: what is common to all of it. Errors are problem+json (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI, Swagger
from ninja.errors import AuthenticationError, HttpError, ValidationError

from streams.actions import ActionRefusedError, CantStartError
from streams.api.channels import router
from streams.api.health import router as health
from streams.orders import STATUS
from streamsite.access import AUTH
from streamsite.keys import KeyRefusedError


def problem(status: int, detail: str, **more: Any) -> HttpResponse:
    title = HTTPStatus(status).phrase
    return JsonResponse(
        {"type": "about:blank", "title": title, "status": status, "detail": detail, **more},
        status=status,
        content_type="application/problem+json",
    )


api = NinjaAPI(
    title="streamsite",
    version="1",
    description="Channels: what is on air, and the orders that change it.",
    auth=AUTH,
    docs=Swagger(),
    urls_namespace="api-1",
)
api.add_router("/channels", router)
api.add_router("/health", health)
#: Paths of the first designs that go on working; the canonical ones are documented.
early = NinjaAPI(
    title="streamsite, early paths",
    auth=AUTH,
    docs_url=None,
    openapi_url=None,
    urls_namespace="api-early",
)
early.add_router("/health", health)


@api.exception_handler(ActionRefusedError)
def refused(request: HttpRequest, refusal: ActionRefusedError) -> HttpResponse:
    more: dict[str, Any] = {}
    if isinstance(refusal, CantStartError):
        more["findings"] = [
            {"check": fault.check, "detail": fault.sentence} for fault in refusal.faults
        ]
    return problem(STATUS[type(refusal)], str(refusal), **more)


@early.exception_handler(AuthenticationError)
@api.exception_handler(AuthenticationError)
def not_logged_in(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    return problem(401, "Send a key (Authorization: Bearer KEY), or log in first.")


@early.exception_handler(KeyRefusedError)
@api.exception_handler(KeyRefusedError)
def key_refused(request: HttpRequest, refusal: KeyRefusedError) -> HttpResponse:
    return problem(403 if refusal.reason == "address" else 401, str(refusal))


@early.exception_handler(Http404)
@api.exception_handler(Http404)
def not_found(request: HttpRequest, error: Http404) -> HttpResponse:
    return problem(404, "There is nothing by that name.")


@early.exception_handler(HttpError)
@api.exception_handler(HttpError)
def told(request: HttpRequest, error: HttpError) -> HttpResponse:
    return problem(error.status_code, str(error))


@early.exception_handler(ValidationError)
@api.exception_handler(ValidationError)
def malformed(request: HttpRequest, error: ValidationError) -> HttpResponse:
    # Where and what, not the value that was sent: it may be a secret in the wrong place.
    errors = [{"loc": fault["loc"], "msg": fault["msg"]} for fault in error.errors]
    return problem(
        422, "The request is not of the form the documentation gives.", errors=errors
    )
