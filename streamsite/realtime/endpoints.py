"""WebSockets and server-sent events: authorisation and delivery.

Plain ASGI, so that an open stream holds no thread: pages and API have those to themselves.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user
from django.db import DatabaseError, close_old_connections
from django.http import HttpRequest
from django.http.request import split_domain_port, validate_host

from streamsite.api import keys
from streamsite.api.auth import Caller, authenticated_key, counted, demand
from streamsite.api.throttling import Allowance
from streamsite.http import problems
from streamsite.http.middleware import request_id_of
from streamsite.http.problems import Kind, ProblemError
from streamsite.realtime.hub import Hub, Subscription, Topic

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
T = TypeVar("T")

#: Seconds after which a listener's authorisation is checked again: its key may
#: have been revoked. A listener without news gets a keep-alive message then. nginx
#: hangs up after 70 s.
RECHECK_INTERVAL_S: Final = 45.0
#: Seconds that a client may take to read one message.
SEND_TIMEOUT_S: Final = 60.0
#: Streams open at a time, in one worker.
MAX_STREAMS: Final = 2000
#: ... of one key or one user: a wall of monitors has a stream for each of its pages.
MAX_STREAMS_PER_CALLER: Final = 50
#: A WebSocket's close codes: 4000 and above are the application's (RFC 6455, 7.4.2).
RESTART: Final = 1012
FORBIDDEN: Final = 4403
GONE: Final = 4404
#: Refusals that do not end a stream that is open already.
_PASSING: Final = frozenset({Kind.UNAVAILABLE, Kind.TOO_MANY_FAILURES})

_SOCKET: Final = re.compile(r"/ws/(?P<name>[a-z-]+)/(?P<key>[-\w.]{1,128})/?")
_EVENTS: Final = re.compile(r"/api/v1/(?P<place>[a-z-]+)/(?P<key>[-\w.]{1,128})/events/?")


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a path."""

    topic: Topic
    key: str
    #: With a cookie, Origin must be there: no browser keeps the pages of others from opening a
    #: WebSocket here.
    requires_origin: bool


class Endpoints:
    """Both kinds of stream, over one hub."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._places = {topic.place: topic for topic in hub.topics.values()}
        self._thread = ThreadPoolExecutor(2, "streams")
        self._streams: Counter[str] = Counter()
        self._closed = asyncio.Event()

    def close(self) -> None:
        """End every stream: the server shuts down, and the clients connect to the next one."""
        self._closed.set()

    def socket(self, scope: Scope) -> Target | None:
        """The target of a WebSocket's path; None: there is none."""
        match = _SOCKET.fullmatch(scope["path"])
        topic = self.hub.topics.get(match["name"]) if match else None
        if match is None or topic is None:
            return None
        return Target(topic, match["key"], requires_origin=True)

    def events(self, scope: Scope) -> Target | None:
        """The target of an event stream's path; None: it is a page's."""
        match = _EVENTS.fullmatch(scope["path"])
        topic = self._places.get(match["place"]) if match else None
        if scope["method"] != "GET" or match is None or topic is None:
            return None
        return Target(topic, match["key"], requires_origin=False)

    # ---- WebSocket

    async def serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        target = self.socket(scope)
        await receive()  # websocket.connect
        try:
            admitted = await self._admitted(scope, target) if target is not None else None
        except ProblemError:
            admitted = None
        if target is None or admitted is None:
            # Before the handshake: the server makes it HTTP 403.
            await send({"type": "websocket.close"})
            return
        with self._counted(admitted.whose):
            await self._talk(scope, target, receive, send)

    async def _talk(self, scope: Scope, target: Target, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})

        async def one(text: str) -> None:
            await send({"type": "websocket.send", "text": text})

        async def left() -> None:
            # Messages of clients are ignored.
            while (await receive())["type"] != "websocket.disconnect":
                continue

        code = await self._serve(scope, target, one, left(), alive='{"type":"alive"}')
        if code is not None:
            await send({"type": "websocket.close", "code": code})

    # ---- server-sent events

    async def serve_events(
        self, scope: Scope, target: Target, receive: Receive, send: Send
    ) -> None:
        """`wanted`: what the path names. A refusal is a problem, as the API has it."""
        ours = [
            *_cross_origin(scope),
            (b"x-content-type-options", b"nosniff"),
            (b"x-request-id", (request_id := _request_id(scope)).encode()),
        ]
        try:
            allowed = await self._admitted(scope, target)
        except ProblemError as refusal:
            for message in _problem(refusal, request_id, ours):
                await send(message)
            return
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
            *_encoded(allowed.left.headers),
            *ours,
        ]
        with self._counted(allowed.whose):
            await self._stream(scope, target, receive, send, headers)

    async def _stream(
        self,
        scope: Scope,
        target: Target,
        receive: Receive,
        send: Send,
        headers: list[tuple[bytes, bytes]],
    ) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})

        async def one(text: str) -> None:
            await send(_chunk(text))

        async def left() -> None:
            while (await receive())["type"] != "http.disconnect":
                continue

        # A comment at once, so that proxies pass the head on.
        await one(": streamsite\nretry: 3000\n\n")
        await self._serve(scope, target, lambda t: one(f"data: {t}\n\n"), left(), alive="")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    # ---- both

    async def _serve(
        self,
        scope: Scope,
        target: Target,
        one: Callable[[str], Awaitable[None]],
        left: Any,
        *,
        alive: str,
    ) -> int | None:
        """Serves messages until the client leaves (None), or the stream is over (a code)."""
        leaving = asyncio.ensure_future(left)
        closing = asyncio.ensure_future(self._closed.wait())
        try:
            async with self.hub.subscribed(target.topic.name, target.key) as mine:
                sending = asyncio.ensure_future(
                    self._send_messages(scope, target, mine, one, alive=alive)
                )
                try:
                    await asyncio.wait(
                        {leaving, sending, closing}, return_when=asyncio.FIRST_COMPLETED
                    )
                    if sending.done():
                        return sending.result()
                    return RESTART if closing.done() else None
                finally:
                    sending.cancel()
        except OSError:
            # It left during a message.
            return None
        finally:
            leaving.cancel()
            closing.cancel()

    async def _send_messages(
        self,
        scope: Scope,
        target: Target,
        mine: Subscription,
        one: Callable[[str], Awaitable[None]],
        *,
        alive: str,
    ) -> int:
        clock = asyncio.get_running_loop().time
        due = clock() + RECHECK_INTERVAL_S
        while True:
            text = await mine.next(max(0.0, due - clock()))
            # Also on a busy stream: a revoked key ends it.
            if clock() >= due:
                if not await self._may_stay(scope, target):
                    return FORBIDDEN
                due = clock() + RECHECK_INTERVAL_S
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await one(alive if text is None else text)
            if text is not None and mine.over:
                return GONE

    async def _admitted(self, scope: Scope, target: Target) -> Admitted:
        """Raises `ProblemError` unless they may listen. `_counted` is to follow at once."""
        if self.hub.open >= MAX_STREAMS:
            raise ProblemError(Kind.UNAVAILABLE, "Too many streams are open: try again later.")
        admitted = await self._in_thread(admit, scope, target)
        if self._streams[admitted.whose] >= MAX_STREAMS_PER_CALLER:
            raise ProblemError(
                Kind.TOO_MANY_REQUESTS,
                f"{MAX_STREAMS_PER_CALLER} streams are open with that key or login: close one.",
                retry_after=int(RECHECK_INTERVAL_S),
            )
        return admitted

    @contextmanager
    def _counted(self, whose: str) -> Iterator[None]:
        self._streams[whose] += 1
        try:
            yield
        finally:
            self._streams[whose] -= 1
            if not self._streams[whose]:
                del self._streams[whose]

    async def _may_stay(self, scope: Scope, target: Target) -> bool:
        try:
            await self._in_thread(listener, scope, target)
        except ProblemError as refusal:
            return refusal.kind in _PASSING
        return True

    async def _in_thread(
        self, check: Callable[[Scope, Target], T], scope: Scope, target: Target
    ) -> T:
        """Runs `ask` in a thread, with a database connection. Raises `ProblemError`."""

        def run() -> T:
            close_old_connections()
            try:
                return check(scope, target)
            except DatabaseError:
                raise ProblemError(
                    Kind.UNAVAILABLE, "The database can't be read: try again later."
                ) from None

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)


@dataclass(frozen=True, slots=True)
class Admitted:
    """An authorised listener. `whose`: the key or user; `left`: the rest of their requests."""

    whose: str
    left: Allowance


def admit(scope: Scope, target: Target) -> Admitted:
    """Authorises a listener, counted as one request. Raises `ProblemError`."""
    who = listener(scope, target)
    left = counted(who, _address(scope))
    demand(left)
    named = f"key {who.key.pk}" if who.key is not None else f"user {who.name}"
    return Admitted(named, left)


def listener(scope: Scope, target: Target) -> Caller:
    """The caller, if the target is one that they may listen to. Raises `ProblemError`."""
    who = authenticate(scope, target)
    if not target.topic.exists(who, target.key):
        raise ProblemError(Kind.NOT_FOUND, "There is nothing by that name.")
    return who


def authenticate(scope: Scope, target: Target) -> Caller:
    """The caller, by key or as staff logged in, if they may listen. Raises `ProblemError`."""
    headers = _headers(scope)
    host = headers.get("host", "")
    domain, _ = split_domain_port(host)
    if not validate_host(domain, settings.ALLOWED_HOSTS):
        raise ProblemError(
            Kind.MALFORMED, "This is not served by that name: see ALLOWED_HOSTS."
        )
    who = _caller(scope, headers, host, requires_origin=target.requires_origin)
    if not who.may(target.topic.rule):
        kind = Kind.KEY_PERMISSIONS if who.key is not None else Kind.PERMISSION
        raise ProblemError(kind, "That key, or that user, may not listen to it.")
    return who


def _caller(
    scope: Scope, headers: dict[str, str], host: str, *, requires_origin: bool
) -> Caller:
    named = {"Authorization": headers.get("authorization", "")}
    named["X-API-Key"] = headers.get("x-api-key", "")
    if (key := keys.sent(named)) is not None:
        return Caller(key=authenticated_key(key.reveal(), _address(scope)))
    user = staff_of(headers.get("cookie", ""))
    if user is None:
        raise ProblemError(
            Kind.NO_KEY, "Send a key (Authorization: Bearer KEY), or log in first."
        )
    origin = headers.get("origin", "")
    if (origin or requires_origin) and urlsplit(origin).netloc.lower() != host.lower():
        raise ProblemError(Kind.CSRF, "A page of another site may not listen with your login.")
    return Caller(user=user)


def _address(scope: Scope) -> str:
    """As RealAddressMiddleware has it: over nginx's socket there is only nginx's word."""
    client = scope.get("client")
    return str(client[0] if client else "") or _headers(scope).get("x-real-ip", "")


def staff_of(cookie: str) -> Any:
    """The user whose session the cookies name, if it is staff."""
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(cookie)
    except CookieError:
        return None
    named = jar.get(settings.SESSION_COOKIE_NAME)
    if named is None:
        return None
    request = HttpRequest()
    store = import_module(settings.SESSION_ENGINE).SessionStore
    request.session = store(named.value)
    user: Any = get_user(request)
    return user if user.is_active and getattr(user, "is_staff", False) else None


def _headers(scope: Scope) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): value.decode("latin-1")
        for name, value in scope["headers"]
    }


def _cross_origin(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Pages of the sites that are named may read it, with a key; none with a cookie."""
    origin = _headers(scope).get("origin", "")
    if origin not in settings.CORS_ALLOWED_ORIGINS:
        return []
    return [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"origin")]


def _request_id(scope: Scope) -> str:
    return request_id_of(_headers(scope).get("x-request-id", ""))


def _problem(
    refusal: ProblemError, request_id: str, more: list[tuple[bytes, bytes]]
) -> tuple[Message, Message]:
    document = problems.document(refusal.kind, str(refusal), request_id, **refusal.more)
    answer = problems.answer(document)
    body = answer.content
    headers = [*_encoded(dict(answer.items())), *more, (b"cache-control", b"no-store")]
    headers.append((b"content-length", str(len(body)).encode()))
    return (
        {"type": "http.response.start", "status": answer.status_code, "headers": headers},
        {"type": "http.response.body", "body": body},
    )


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in headers.items()]


def _chunk(text: str) -> Message:
    return {"type": "http.response.body", "body": text.encode(), "more_body": True}
