"""WSGI in threads under an ASGI server, with as few changes of thread as can be.

a2wsgi crosses between loop and thread four times an answer, and each crossing waits for the
interpreter's lock: under `bench_auth` that made 5 ms into 100. Here a request that is whole
goes to its thread, and an answer that is whole comes back, once.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from a2wsgi.wsgi import Body, build_environ

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[..., Iterable[bytes]]
#: Bytes of a request's body, and of an answer's, that are held whole. More is passed on as it
#: comes, in portions of so many bytes of an answer, each when the last one was taken.
HELD: Final = 256 * 1024


class Bridge:
    """An ASGI application of a WSGI one. `threads`: calls at a time; others wait for these."""

    def __init__(self, app: Application, threads: int) -> None:
        self._app = app
        self._pool = ThreadPoolExecutor(threads, "pages")

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        loop = asyncio.get_running_loop()
        body = Body(loop, receive)  # type: ignore[arg-type]  # its messages are TypedDicts
        whole = await _received(body.buffer, receive)
        if whole is None:
            return
        environ: dict[str, Any] = dict(build_environ(scope, body))  # type: ignore[arg-type]
        if whole:
            environ["wsgi.input"] = io.BytesIO(bytes(body.buffer))
        call = _Call(self._app, environ, loop, send)
        for said in await loop.run_in_executor(self._pool, call.run):
            await send(said)


async def _received(into: bytearray, receive: Receive) -> bool | None:
    """Take the body up to `HELD` bytes. Whether that is all; None: the client has left."""
    while len(into) < HELD:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        into.extend(message.get("body", b""))
        if not message.get("more_body", False):
            return True
    return False


class _Call:
    """One request, in its thread."""

    def __init__(
        self,
        app: Application,
        environ: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
        send: Send,
    ) -> None:
        self._app, self._environ, self._loop, self._send = app, environ, loop, send
        self._held: list[Message] = []
        self._body = bytearray()

    def run(self) -> list[Message]:
        """What of the answer is left to be sent."""
        answer = self._app(self._environ, self._begin)
        try:
            for chunk in answer:
                self._body += chunk
                if len(self._body) >= HELD:
                    self._pass_on()
        finally:
            getattr(answer, "close", lambda: None)()
        return [*self._held, _portion(self._body, more=False)]

    def _begin(
        self, status: str, headers: list[tuple[str, str]], _exc_info: object = None
    ) -> Callable[[bytes], object]:
        named = [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in headers]
        self._held = [
            {"type": "http.response.start", "status": int(status[:3]), "headers": named}
        ]
        return self._body.extend

    def _pass_on(self) -> None:
        """Send what is there, and wait until the client has taken it."""
        for said in (*self._held, _portion(self._body, more=True)):
            asyncio.run_coroutine_threadsafe(self._sent(said), self._loop).result()
        self._held = []
        self._body = bytearray()

    async def _sent(self, said: Message) -> None:
        await self._send(said)


def _portion(body: bytearray, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": bytes(body), "more_body": more}
