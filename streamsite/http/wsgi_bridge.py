"""Runs a WSGI application in threads under an ASGI server. No thread waits for a client.

A request reaches its thread when its body is complete, and leaves it with a complete answer. A
streamed answer, such as a file, is made in portions: between two portions it holds no thread.
a2wsgi waits in the thread for each portion of both, without a bound, so that as many stalled
clients as there are threads end all pages. It also changes threads four times for each answer:
under `bench_auth` that made 5 ms into 100.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import IO, Any, Final
from urllib.parse import unquote_to_bytes

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[..., Iterable[bytes]]

#: Bytes of a request's body that are held in memory. A longer one goes to a temporary file.
HELD: Final = 256 * 1024
#: Bytes of one portion of an answer.
PORTION: Final = 64 * 1024
#: Seconds that a client may take for one portion: 1 KiB/s at least.
SEND_SECONDS: Final = 60.0
#: A body may take so many seconds, and one more for each so many bytes that have arrived: an
#: uplink of 128 kbit/s still uploads. No pause in it may be longer either.
BODY_SECONDS: Final = 30.0
BODY_RATE: Final = 16 * 1024
#: Bodies that go to temporary files at a time: at most so many of the largest lie on the disk.
SPOOLED: Final = 16
#: Requests in progress from one address; more are refused with 429. A browser has six.
PER_ADDRESS: Final = 128

#: Digits of a number that is a length: more is refused later.
_DIGITS: Final = 18


class Bridge:
    """An ASGI application of a WSGI one.

    Args:
        app: The WSGI application.
        threads: Calls at a time. One address uses three quarters of them at most.
        largest: Bytes of a body. The application refuses a longer one, which is not read.
        folder: The folder of long bodies; None: the system's folder for temporary files.
    """

    def __init__(
        self, app: Application, threads: int, *, largest: int, folder: Path | None = None
    ) -> None:
        self._app, self._largest = app, largest
        self._folder = str(folder) if folder else None
        self._pool = ThreadPoolExecutor(threads, "pages")
        #: Apart from the pages, so that a slow disk holds no page.
        self._disk = ThreadPoolExecutor(2, "bodies")
        self._share = max(1, threads * 3 // 4)
        self._addresses: dict[str, _Address] = {}
        self._spooled = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._from(address_of(scope)) as address:
            if address.requests > PER_ADDRESS:
                await _refuse(send, 429, "Too many requests at a time from this address.")
                return
            await self._answer(scope, receive, send, address)

    @contextlib.contextmanager
    def _from(self, name: str) -> Iterator[_Address]:
        usage = self._addresses.get(name)
        if usage is None:
            usage = self._addresses[name] = _Address(self._share)
        usage.requests += 1
        try:
            yield usage
        finally:
            usage.requests -= 1
            if not usage.requests:
                del self._addresses[name]

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, address: _Address
    ) -> None:
        body = tempfile.SpooledTemporaryFile(HELD, dir=self._folder)  # noqa: SIM115 - see _Call
        call = _Call(self._app, environment(scope, body))
        try:
            if not await self._received(scope, receive, body):
                return
            body.seek(0)
            loop = asyncio.get_running_loop()
            async with address.threads:
                more = await loop.run_in_executor(self._pool, call.go_on)
            await self._send(call, receive, send, address, more=more)
        except _RefusedError as refusal:
            await _refuse(send, refusal.status, str(refusal))
        finally:
            # Nobody waits for it, for this task may be cancelled.
            if call.abandoned():
                self._pool.submit(call.close)

    async def _received(self, scope: Scope, receive: Receive, into: IO[bytes]) -> bool:
        """Takes the body. False: the client has left. Raises `_RefusedError`."""
        length = _length(scope)
        if length > self._largest:
            # The application says so, and the server closes the connection.
            return True
        if length <= HELD:
            return await _taken(receive, length, into, None)
        if self._spooled >= SPOOLED:
            raise _RefusedError(503, "Too many uploads at a time: try again soon.")
        self._spooled += 1
        try:
            return await _taken(receive, length, into, self._disk)
        finally:
            self._spooled -= 1

    async def _send(
        self,
        call: _Call,
        receive: Receive,
        send: Send,
        address: _Address,
        *,
        more: bool,
    ) -> None:
        """Sends the answer, for as long as the client takes it."""
        loop = asyncio.get_running_loop()
        if not more and len(call.ready) <= PORTION:
            # Nothing of it can wait: the server's buffer takes it.
            await send(call.head)
            await send(_portion(call.taken(), more=False))
            return
        gone = asyncio.ensure_future(_left(receive))
        try:
            await send(call.head)
            while not gone.done():
                portion = call.taken()
                last = not more and not call.ready
                async with asyncio.timeout(SEND_SECONDS):
                    await send(_portion(portion, more=not last))
                if last:
                    return
                if more and not call.ready:
                    async with address.threads:
                        more = await loop.run_in_executor(self._pool, call.go_on)
        except TimeoutError:
            log.info("answer.not_taken", seconds=SEND_SECONDS)
        finally:
            gone.cancel()


class _RefusedError(Exception):
    """The request does not reach the application."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class _Address:
    """The threads and bytes that one address uses."""

    def __init__(self, threads: int) -> None:
        self.requests = 0
        self.threads = asyncio.Semaphore(threads)


class _Call:
    """One request. Its steps run in threads, one after the other, not always in the same.

    It closes its answer and its body, for a step goes on though the client has left.
    """

    def __init__(self, app: Application, environ: dict[str, Any]) -> None:
        self._app, self._environ = app, environ
        self._answer: Iterable[bytes] = ()
        self._chunks: Iterator[bytes] | None = None
        self._lock = Lock()
        self._running = self._abandoned = self._over = False
        self.head: Message = {}
        self.ready = bytearray()

    def go_on(self) -> bool:
        """Produces the next portion, or all of an answer that is in memory anyway.

        Whether there is more.
        """
        with self._lock:
            if self._abandoned:
                return False
            self._running = True
        more = False
        try:
            more = self._step()
        finally:
            with self._lock:
                self._running = False
                more = more and not self._abandoned
            if not more:
                self.close()
        return more

    def _step(self) -> bool:
        if self._chunks is None:
            self._answer = self._app(self._environ, self._begin)
            self._chunks = iter(self._answer)
        # A response that is not Django's is taken for a stream.
        streams = getattr(self._answer, "streaming", True)
        for chunk in self._chunks:
            self.ready += chunk
            if streams and len(self.ready) >= PORTION:
                return True
        return False

    def taken(self) -> bytes:
        """One portion of what is ready."""
        portion = bytes(self.ready[:PORTION])
        del self.ready[:PORTION]
        return portion

    def abandoned(self) -> bool:
        """Nobody wants more of it. Whether the caller has to see that it is closed."""
        with self._lock:
            self._abandoned = True
            return not self._running and not self._over

    def close(self) -> None:
        with self._lock:
            if self._over:
                return
            self._over = True
        try:
            getattr(self._answer, "close", lambda: None)()
        finally:
            self._environ["wsgi.input"].close()

    def _begin(
        self, status: str, headers: list[tuple[str, str]], _exc_info: object = None
    ) -> Callable[[bytes], object]:
        named = [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in headers]
        self.head = {
            "type": "http.response.start", "status": int(status[:3]), "headers": named,
        }  # fmt: skip
        return self.ready.extend


async def _taken(
    receive: Receive, length: int, into: IO[bytes], disk: ThreadPoolExecutor | None
) -> bool:
    """Takes so many bytes. False: the client has left. Raises `_RefusedError`."""
    began, taken = time.monotonic(), 0
    while taken < length:
        left = began + BODY_SECONDS + taken / BODY_RATE - time.monotonic()
        try:
            async with asyncio.timeout(min(left, BODY_SECONDS)):
                message = await receive()
        except TimeoutError:
            raise _RefusedError(408, "The request's body took too long.") from None
        if message["type"] == "http.disconnect":
            return False
        data = message.get("body", b"")
        taken += len(data)
        if disk is None:
            into.write(data)
        else:
            await asyncio.get_running_loop().run_in_executor(disk, into.write, data)
        if not message.get("more_body", False):
            break
    return True


def address_of(scope: Scope) -> str:
    """The visitor's: over nginx's socket there is only nginx's word (RealAddressMiddleware)."""
    client = scope.get("client")
    if client and client[0]:
        return str(client[0])
    return next(
        (value.decode("latin-1") for name, value in scope["headers"] if name == b"x-real-ip"),
        "",
    )


def environment(scope: Scope, body: IO[bytes]) -> dict[str, Any]:
    """The environment of a request, as PEP 3333 defines it."""
    server = scope.get("server") or ("localhost", None)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        # Bytes as they were sent: what is no UTF-8 is the application's to judge.
        "PATH_INFO": _path(scope).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0] or "localhost",
        "SERVER_PORT": str(server[1] or 0),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": body,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if client := scope.get("client"):
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = client[0], str(client[1])
    for raw, value in scope["headers"]:
        name = raw.decode("latin-1").upper().replace("-", "_")
        if name not in {"CONTENT_LENGTH", "CONTENT_TYPE"}:
            name = f"HTTP_{name}"
        text = value.decode("latin-1")
        environ[name] = f"{environ[name]},{text}" if name in environ else text
    return environ


def _path(scope: Scope) -> bytes:
    raw: bytes = scope.get("raw_path") or b""
    if raw.startswith(b"/"):
        return unquote_to_bytes(raw.partition(b"?")[0])
    return str(scope["path"]).encode("utf-8", "surrogateescape")


def _length(scope: Scope) -> int:
    """Bytes of the body, as its header says; 0 where it says none, which is refused later."""
    headers: Mapping[bytes, bytes] = dict(scope["headers"])
    length = headers.get(b"content-length", b"0")
    return int(length) if length.isdigit() and len(length) <= _DIGITS else 0


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


async def _refuse(send: Send, status: int, sentence: str) -> None:
    """Plain text: it comes before the application, which has the API's form."""
    body = sentence.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", b"5"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send(_portion(body, more=False))


def _portion(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}
