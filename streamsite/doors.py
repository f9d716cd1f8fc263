"""WebSockets and server-sent events: who may listen, and how they are told.

Plain ASGI, so that an open stream holds no thread: pages and API have those to themselves.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user
from django.db import DatabaseError, close_old_connections
from django.http import HttpRequest
from django.http.request import split_domain_port, validate_host

from streamsite import keys
from streamsite.access import Caller, known_key
from streamsite.levels import Rule
from streamsite.live import Hub, Subscription
from streamsite.problems import Kind, ProblemError
from streamsite.secret import Secret

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: Seconds of silence after which a listener is told that the line is alive, and asked again
#: whether it may listen: its key may have been revoked. nginx hangs up after 70 s.
BEAT: Final = 45.0
#: Seconds that one message may take to be taken.
PATIENCE: Final = 60.0
#: Streams open at a time, in one worker.
MOST: Final = 2000
#: A WebSocket's close codes: 4000 and above are the application's (RFC 6455, 7.4.2).
FORBIDDEN: Final = 4403
GONE: Final = 4404

_SOCKET: Final = re.compile(r"/ws/(?P<name>[a-z-]+)/(?P<key>[-\w.]{1,128})/?")
_EVENTS: Final = re.compile(r"/api/v1/(?P<place>[a-z-]+)/(?P<key>[-\w.]{1,128})/events/?")


class RefusedError(Exception):
    """Whoever asks may not listen. `str()` of it is a sentence for them."""

    def __init__(self, kind: Kind, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Wanted:
    topic: str
    key: str


class Doors:
    """Both kinds of stream, over one hub."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._places = {topic.place: topic.name for topic in hub.topics.values()}
        self._thread = ThreadPoolExecutor(2, "doors")

    def socket(self, scope: Scope) -> Wanted | None:
        """What a WebSocket's path names; None: nothing."""
        found = _SOCKET.fullmatch(scope["path"])
        known = found is not None and found["name"] in self.hub.topics
        return Wanted(found["name"], found["key"]) if found and known else None

    def events(self, scope: Scope) -> Wanted | None:
        """What an event stream's path names; None: it is some page's."""
        found = _EVENTS.fullmatch(scope["path"])
        if scope["method"] != "GET" or found is None or found["place"] not in self._places:
            return None
        return Wanted(self._places[found["place"]], found["key"])

    # ---- WebSocket

    async def tell_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        wanted = self.socket(scope)
        await receive()  # websocket.connect
        if wanted is None or not await self._welcome(scope, wanted):
            # Before the handshake: the server makes it HTTP 403.
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.accept"})

        async def one(text: str) -> None:
            await send({"type": "websocket.send", "text": text})

        async def left() -> None:
            # What a client says is not asked for.
            while (await receive())["type"] != "websocket.disconnect":
                continue

        code = await self._told(scope, wanted, one, left(), alive='{"type":"alive"}')
        if code is not None:
            await send({"type": "websocket.close", "code": code})

    # ---- server-sent events

    async def tell_events(
        self, scope: Scope, wanted: Wanted, receive: Receive, send: Send
    ) -> None:
        """`wanted`: what the path names. Raises `RefusedError` before a word is sent."""
        await self._admitted(scope, wanted, browser_must_say=False)
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
            (b"x-content-type-options", b"nosniff"),
            *_cross_origin(scope),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

        async def one(text: str) -> None:
            await send(_chunk(text))

        async def left() -> None:
            while (await receive())["type"] != "http.disconnect":
                continue

        # A comment at once, so that proxies pass the head on.
        await one(": streamsite\nretry: 3000\n\n")
        await self._told(scope, wanted, lambda t: one(f"data: {t}\n\n"), left(), alive="")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    # ---- both

    async def _told(
        self,
        scope: Scope,
        wanted: Wanted,
        one: Callable[[str], Awaitable[None]],
        left: Any,
        *,
        alive: str,
    ) -> int | None:
        """Tell until the client leaves (None), or what it listens to is over (a code)."""
        leaving = asyncio.ensure_future(left)
        try:
            async with self.hub.subscribed(wanted.topic, wanted.key) as mine:
                telling = asyncio.ensure_future(
                    self._tell_on(scope, wanted, mine, one, alive=alive)
                )
                try:
                    await asyncio.wait({leaving, telling}, return_when=asyncio.FIRST_COMPLETED)
                    return telling.result() if telling.done() else None
                finally:
                    telling.cancel()
        except OSError:
            # It left while it was told something.
            return None
        finally:
            leaving.cancel()

    async def _tell_on(
        self,
        scope: Scope,
        wanted: Wanted,
        mine: Subscription,
        one: Callable[[str], Awaitable[None]],
        *,
        alive: str,
    ) -> int:
        while True:
            text = await mine.next(BEAT)
            if text is None:
                try:
                    await self._admitted(scope, wanted, browser_must_say=False)
                except RefusedError:
                    return FORBIDDEN
            async with asyncio.timeout(PATIENCE):
                await one(alive if text is None else text)
            if text is not None and mine.over:
                return GONE

    async def _welcome(self, scope: Scope, wanted: Wanted) -> bool:
        try:
            await self._admitted(scope, wanted, browser_must_say=True)
        except RefusedError:
            return False
        return True

    async def _admitted(self, scope: Scope, wanted: Wanted, *, browser_must_say: bool) -> None:
        """Raises `RefusedError` unless the caller may listen."""
        if self.hub.open >= MOST:
            raise RefusedError(Kind.UNAVAILABLE, "Too many streams are open: try again later.")
        rule = self.hub.topics[wanted.topic].rule
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(
            self._thread, lambda: admit(scope, rule, browser_must_say=browser_must_say)
        )


def admit(scope: Scope, rule: Rule, *, browser_must_say: bool) -> Caller:
    """Who asks, by key or as staff logged in, where they may. Raises `RefusedError`.

    `browser_must_say`: with a cookie, Origin must be there, since no browser keeps the pages of
    others from opening a WebSocket here.
    """
    headers = _headers(scope)
    host = headers.get("host", "")
    domain, _ = split_domain_port(host)
    if not validate_host(domain, settings.ALLOWED_HOSTS):
        raise RefusedError(
            Kind.MALFORMED, "This is not served by that name: see ALLOWED_HOSTS."
        )
    close_old_connections()
    try:
        who = _caller(scope, headers, host, browser_must_say=browser_must_say)
        allowed = who.may(rule)
    except ProblemError as refusal:
        raise RefusedError(refusal.kind, str(refusal)) from None
    except DatabaseError:
        raise RefusedError(
            Kind.UNAVAILABLE, "The database can't be read: try again later."
        ) from None
    if not allowed:
        kind = Kind.LEVEL if who.key is not None else Kind.PERMISSION
        raise RefusedError(kind, "That key, or that user, may not listen to it.")
    return who


def _caller(
    scope: Scope, headers: dict[str, str], host: str, *, browser_must_say: bool
) -> Caller:
    named = {"Authorization": headers.get("authorization", "")}
    named["X-API-Key"] = headers.get("x-api-key", "")
    if (key := keys.sent(named)) is not None:
        return Caller(key=_known(scope, headers, key))
    user = _staff(headers.get("cookie", ""))
    if user is None:
        raise RefusedError(
            Kind.NO_KEY, "Send a key (Authorization: Bearer KEY), or log in first."
        )
    origin = headers.get("origin", "")
    if (origin or browser_must_say) and urlsplit(origin).netloc.lower() != host.lower():
        raise RefusedError(Kind.CSRF, "A page of another site may not listen with your login.")
    return Caller(user=user)


def _known(scope: Scope, headers: dict[str, str], key: Secret) -> Any:
    """The key's row. Raises `ProblemError`, also where too many wrong ones came from there."""
    client = scope.get("client")
    # As RealAddressMiddleware has it: over nginx's socket there is no address but nginx's word.
    address = client[0] if client else headers.get("x-real-ip", "")
    return known_key(key.reveal(), address)


def _staff(cookie: str) -> Any:
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


def _chunk(text: str) -> Message:
    return {"type": "http.response.body", "body": text.encode(), "more_body": True}
