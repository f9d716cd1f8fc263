"""Callbacks of the ingest server: authentication and events.

MediaMTX calls from inside its single loop, so an answer takes two queries and nothing else: no
session, no other server. The middleware of the pages is bypassed. It would cost more than the
queries, check nginx-rtmp's `Host: 127.0.0.1` against ALLOWED_HOSTS, and write addresses that
hold a secret to the log.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import Resolver404, path, resolve
from django.utils import timezone

from streams.ingest import callbacks, keys, leases
from streams.ingest.callbacks import (
    AccessRequest,
    Action,
    Decision,
    SourceEvent,
    UnreadableError,
    Verdict,
)
from streams.models import LiveStream
from streamsite.http.untrusted import number_or_none

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Bytes of a callback. The longest RTMP address that FFmpeg accepts has 1,024.
MAX_BODY_BYTES: Final = 16 * 1024
#: Clients of these protocols send the key in the first request or never (OBS: NAME?token=KEY).
_NEVER_CHALLENGED: Final = ("rtmp", "rtmps", "srt")
#: Header with the number of nginx's connection for the call.
_CALL: Final = "X-Ingest-Call"
_STATUS: Final = {Verdict.ACCEPT: 204, Verdict.CHALLENGE: 401, Verdict.REFUSE: 403}


# ---- MediaMTX --------------------------------------------------------------------------------
def auth(request: HttpRequest) -> HttpResponse:
    """MediaMTX's `authHTTPAddress`: 204, 401 without credentials, else 403."""
    return _answer(_decide(callbacks.parse_mediamtx_auth(request.body)))


def ready(request: HttpRequest) -> HttpResponse:
    """MediaMTX's `runOnReady`."""
    _demand(request.headers.get("X-Ingest-Token", ""))
    event = callbacks.parse_mediamtx_hook(request.body, request.content_type or "")
    now = timezone.now()
    if not leases.superseded("mediamtx", event, now):
        leases.began("mediamtx", event, now)
        log.info("ingest.began", path=event.path, source=event.source_id)
    return HttpResponse(status=204)


def not_ready(request: HttpRequest) -> HttpResponse:
    """MediaMTX's `runOnNotReady`."""
    _demand(request.headers.get("X-Ingest-Token", ""))
    _end("mediamtx", callbacks.parse_mediamtx_hook(request.body, request.content_type or ""))
    return HttpResponse(status=204)


# ---- nginx-rtmp ------------------------------------------------------------------------------
def nginx_publish(request: HttpRequest, secret: str = "") -> HttpResponse:
    """nginx-rtmp's `on_publish`. An accepted source is live at once: no later call follows."""
    _demand(secret or request.headers.get("X-Ingest-Token", ""))
    access = callbacks.parse_nginx_publish(request.body)
    decision = _decide(access)
    if decision.verdict is Verdict.ACCEPT:
        event = SourceEvent(
            f"live/{access.slug}", access.slug, "rtmp", access.source_id, access.address
        )
        # nginx-rtmp refuses a second publisher at a path after this call. The reconciler
        # detects which one is live.
        live = LiveStream.objects.filter(server="nginx-rtmp", path=event.path, ended_at=None)
        if not live.exists():
            leases.began("nginx-rtmp", event, timezone.now())
    return _answer(decision)


def nginx_publish_done(request: HttpRequest, secret: str = "") -> HttpResponse:
    """nginx-rtmp's `on_publish_done`. It also comes for a refused second publisher."""
    _demand(secret or request.headers.get("X-Ingest-Token", ""))
    _end(
        "nginx-rtmp", callbacks.parse_nginx_event(request.body, request.headers.get(_CALL, ""))
    )
    return HttpResponse(status=204)


def nginx_disconnect(request: HttpRequest) -> HttpResponse:
    """nginx-rtmp's `on_disconnect`, for publishers and other clients."""
    _demand(request.headers.get("X-Ingest-Token", ""))
    event = callbacks.parse_nginx_event(request.body, request.headers.get(_CALL, ""))
    leases.disconnected("nginx-rtmp", event.source_id, timezone.now(), event.call)
    return HttpResponse(status=204)


# ---- both ------------------------------------------------------------------------------------
class _WrongTokenError(Exception):
    """The caller is not the ingest server."""


def _demand(given: str) -> None:
    """Raises `_WrongTokenError` unless it is the shared token."""
    expected = settings.INGEST_TOKEN.reveal()
    if not expected or not hmac.compare_digest(given.encode(), expected.encode()):
        raise _WrongTokenError


def _decide(access: AccessRequest) -> Decision:
    match access.action:
        case Action.PUBLISH:
            plausible = callbacks.readable(access.credential)
            digest = keys.digest(access.credential) if plausible else ""
            decision = leases.claim(access, digest, timezone.now())
        case Action.READ | Action.PLAYBACK:
            decision = callbacks.may_read(access, settings.INGEST_READ_TOKEN)
        case Action.API | Action.METRICS | Action.PPROF:
            decision = callbacks.may_operate(access)
    final = access.action is Action.PUBLISH and access.protocol in _NEVER_CHALLENGED
    if decision.verdict is Verdict.REFUSE or (decision.verdict is Verdict.CHALLENGE and final):
        # The path is not logged: a client may have put a key there.
        log.info(
            "ingest.refused",
            action=access.action.value,
            reason=decision.reason,
            protocol=access.protocol,
            address=access.address,
        )
    return decision


def _answer(decision: Decision) -> HttpResponse:
    return HttpResponse(status=_STATUS[decision.verdict])


def _end(server: str, event: SourceEvent) -> None:
    if leases.ended(server, event.path, event.source_id, timezone.now(), call=event.call):
        log.info("ingest.ended", path=event.path, source=event.source_id)


PATTERNS: Final = (
    path("auth", auth),
    path("webhook/ready", ready),
    path("webhook/not-ready", not_ready),
    path("ingest/nginx/publish", nginx_publish),
    path("ingest/nginx/publish-done", nginx_publish_done),
    path("ingest/nginx/disconnect", nginx_disconnect),
    # For configurations without call numbers, with the token in the address.
    path("ingest/nginx/<str:secret>/publish", nginx_publish),
    path("ingest/nginx/<str:secret>/publish-done", nginx_publish_done),
)
_BEGINNINGS: Final = ("/webhook/", "/ingest/")


class CallbackMiddleware:
    """Answers callbacks before all other middleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info != "/auth" and not request.path_info.startswith(_BEGINNINGS):
            return self.get_response(request)
        try:
            match = resolve(request.path_info, PATTERNS)  # type: ignore[arg-type]  # Django takes a list of patterns
        except Resolver404:
            # Answer here: the error page would log the address with its secret.
            return HttpResponse(status=404)
        return _guarded(request, match.func, match.kwargs)


def _guarded(
    request: HttpRequest, view: Callable[..., HttpResponse], kwargs: dict[str, Any]
) -> HttpResponse:
    if request.method != "POST":
        return HttpResponse(status=405, headers={"Allow": "POST"})
    if settings.INGEST_SERVER == "none":
        return HttpResponse(status=404)
    length = number_or_none(request.META.get("CONTENT_LENGTH") or "0")
    if length is None or length > MAX_BODY_BYTES:
        return HttpResponse(status=413)
    try:
        return view(request, **kwargs)
    except UnreadableError as error:
        return HttpResponse(f"{error}\n", "text/plain", status=400)
    except _WrongTokenError:
        log.warning("ingest.wrong_token", address=request.META.get("REMOTE_ADDR", ""))
        return HttpResponse(status=403)
    except DatabaseError as error:
        # Without the database no key can be checked: refuse.
        log.error("ingest.no_database", error=type(error).__name__)  # noqa: TRY400 - no traceback: it may quote a key
        return HttpResponse(status=503)
