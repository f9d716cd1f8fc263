"""What the ingest server asks and tells.

MediaMTX asks from inside its one loop, so an answer takes two queries and nothing else: no
session, no other server. The pages' middleware is passed by: it would cost more than the
queries do, hold `Host: 127.0.0.1`, which nginx-rtmp sends, against ALLOWED_HOSTS, and write
addresses that hold a secret to the log.
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
from streams.ingest.callbacks import Action, Asked, Decision, Told, UnreadableError, Verdict
from streams.models import LiveStream
from streamsite.http.untrusted import number_or_none

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Bytes of a callback. The longest address that FFmpeg takes for RTMP has 1,024.
MOST: Final = 16 * 1024
#: Who publishes by these shows the key at once, or never: in OBS it is NAME?token=KEY.
_ASK_ONCE: Final = ("rtmp", "rtmps", "srt")
#: The number of nginx's own connection by which it calls.
_CALL: Final = "X-Ingest-Call"
_STATUS: Final = {Verdict.ACCEPT: 204, Verdict.ASK: 401, Verdict.REFUSE: 403}


# ---- MediaMTX --------------------------------------------------------------------------------
def auth(request: HttpRequest) -> HttpResponse:
    """MediaMTX's `authHTTPAddress`: 204, 401 where no credentials came, else 403."""
    return _answer(_decide(callbacks.mediamtx_asked(request.body)))


def ready(request: HttpRequest) -> HttpResponse:
    """Its `runOnReady`."""
    _demand(request.headers.get("X-Ingest-Token", ""))
    told = callbacks.mediamtx_told(request.body, request.content_type or "")
    now = timezone.now()
    if not leases.superseded("mediamtx", told, now):
        leases.began("mediamtx", told, now)
        log.info("ingest.began", path=told.path, source=told.source_id)
    return HttpResponse(status=204)


def not_ready(request: HttpRequest) -> HttpResponse:
    """Its `runOnNotReady`."""
    _demand(request.headers.get("X-Ingest-Token", ""))
    _end("mediamtx", callbacks.mediamtx_told(request.body, request.content_type or ""))
    return HttpResponse(status=204)


# ---- nginx-rtmp ------------------------------------------------------------------------------
def nginx_publish(request: HttpRequest, secret: str = "") -> HttpResponse:
    """Its `on_publish`: who is accepted is live at once, for nothing tells of it later."""
    _demand(secret or request.headers.get("X-Ingest-Token", ""))
    asked = callbacks.nginx_asked(request.body)
    decision = _decide(asked)
    if decision.verdict is Verdict.ACCEPT:
        told = Told(f"live/{asked.slug}", asked.slug, "rtmp", asked.source_id, asked.address)
        # It refuses a second publisher at a path where one is live, and does so after this.
        # The reconciler sees who it was.
        live = LiveStream.objects.filter(server="nginx-rtmp", path=told.path, ended_at=None)
        if not live.exists():
            leases.began("nginx-rtmp", told, timezone.now())
    return _answer(decision)


def nginx_publish_done(request: HttpRequest, secret: str = "") -> HttpResponse:
    """Its `on_publish_done`. It comes for a refused second publisher as well."""
    _demand(secret or request.headers.get("X-Ingest-Token", ""))
    _end("nginx-rtmp", callbacks.nginx_told(request.body, request.headers.get(_CALL, "")))
    return HttpResponse(status=204)


def nginx_disconnect(request: HttpRequest) -> HttpResponse:
    """Its `on_disconnect`, of publishers and of others."""
    _demand(request.headers.get("X-Ingest-Token", ""))
    told = callbacks.nginx_told(request.body, request.headers.get(_CALL, ""))
    leases.disconnected("nginx-rtmp", told.source_id, timezone.now(), told.call)
    return HttpResponse(status=204)


# ---- both ------------------------------------------------------------------------------------
class _WrongTokenError(Exception):
    """Whoever calls is not the ingest server."""


def _demand(given: str) -> None:
    """Raises `_WrongTokenError` unless it is the shared token."""
    wanted = settings.INGEST_TOKEN.reveal()
    if not wanted or not hmac.compare_digest(given.encode(), wanted.encode()):
        raise _WrongTokenError


def _decide(asked: Asked) -> Decision:
    match asked.action:
        case Action.PUBLISH:
            known = callbacks.readable(asked.credential)
            digest = keys.digest(asked.credential) if known else ""
            decision = leases.claim(asked, digest, timezone.now())
        case Action.READ | Action.PLAYBACK:
            decision = callbacks.may_read(asked, settings.INGEST_READ_TOKEN)
        case Action.API | Action.METRICS | Action.PPROF:
            decision = callbacks.may_operate(asked)
    asks_once = asked.action is Action.PUBLISH and asked.protocol in _ASK_ONCE
    if decision.verdict is Verdict.REFUSE or (decision.verdict is Verdict.ASK and asks_once):
        # Not the path: somebody may have put a key there.
        log.info(
            "ingest.refused",
            action=asked.action.value,
            reason=decision.reason,
            protocol=asked.protocol,
            address=asked.address,
        )
    return decision


def _answer(decision: Decision) -> HttpResponse:
    return HttpResponse(status=_STATUS[decision.verdict])


def _end(server: str, told: Told) -> None:
    if leases.ended(server, told.path, told.source_id, timezone.now(), call=told.call):
        log.info("ingest.ended", path=told.path, source=told.source_id)


PATTERNS: Final = (
    path("auth", auth),
    path("webhook/ready", ready),
    path("webhook/not-ready", not_ready),
    path("ingest/nginx/publish", nginx_publish),
    path("ingest/nginx/publish-done", nginx_publish_done),
    path("ingest/nginx/disconnect", nginx_disconnect),
    # For configurations that call without nginx's own numbers, with the token in the address.
    path("ingest/nginx/<str:secret>/publish", nginx_publish),
    path("ingest/nginx/<str:secret>/publish-done", nginx_publish_done),
)
_BEGINNINGS: Final = ("/webhook/", "/ingest/")


class CallbackMiddleware:
    """Answers callbacks before anything else looks at them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info != "/auth" and not request.path_info.startswith(_BEGINNINGS):
            return self.get_response(request)
        try:
            found = resolve(request.path_info, PATTERNS)  # type: ignore[arg-type]
        except Resolver404:
            # Told here: the page for it would write the address, and its secret, to the log.
            return HttpResponse(status=404)
        return _guarded(request, found.func, found.kwargs)


def _guarded(
    request: HttpRequest, view: Callable[..., HttpResponse], kwargs: dict[str, Any]
) -> HttpResponse:
    if request.method != "POST":
        return HttpResponse(status=405, headers={"Allow": "POST"})
    if settings.INGEST_SERVER == "none":
        return HttpResponse(status=404)
    length = number_or_none(request.META.get("CONTENT_LENGTH") or "0")
    if length is None or length > MOST:
        return HttpResponse(status=413)
    try:
        return view(request, **kwargs)
    except UnreadableError as error:
        return HttpResponse(f"{error}\n", "text/plain", status=400)
    except _WrongTokenError:
        log.warning("ingest.wrong_token", address=request.META.get("REMOTE_ADDR", ""))
        return HttpResponse(status=403)
    except DatabaseError as error:
        # Closed, as long as nobody can be known.
        log.error("ingest.no_database", error=type(error).__name__)  # noqa: TRY400
        return HttpResponse(status=503)
