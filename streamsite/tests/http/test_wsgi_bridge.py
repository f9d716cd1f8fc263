"""WSGI under ASGI: no client holds a thread. The server is a contract here: ASGI's messages."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from streamsite.http import wsgi_bridge
from streamsite.http.wsgi_bridge import Bridge, Message, environment

THREADS = 2
LARGE = b"x" * 700_000


def scope(path: str = "/", **headers: str) -> dict[str, Any]:
    named = [(n.replace("_", "-").encode(), v.encode()) for n, v in headers.items()]
    return {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode("latin-1"),
        "query_string": b"", "http_version": "1.1", "headers": named,
        "client": ("203.0.113.7", 1), "server": ("127.0.0.1", 8000),
    }  # fmt: skip


class Client:
    """One connection: what it sends, and how much of an answer it takes."""

    def __init__(self, *chunks: bytes, complete: bool = True, takes: int = 10**9) -> None:
        self.chunks, self.complete, self.takes = list(chunks), complete, takes
        self.status, self.body, self.left = 0, b"", asyncio.Event()
        self.begun = asyncio.Event()

    async def receive(self) -> Message:
        if self.chunks:
            body = self.chunks.pop(0)
            more = bool(self.chunks) or not self.complete
            return {"type": "http.request", "body": body, "more_body": more}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.status = message.get("status", self.status)
        self.begun.set()
        self.body += message.get("body", b"")
        if len(self.body) > self.takes:
            await asyncio.Event().wait()  # as a connection whose buffer is full


class Answer:
    """Django's: whole, or in pieces."""

    def __init__(self, *chunks: bytes, streaming: bool) -> None:
        self.chunks, self.streaming, self.closed = chunks, streaming, threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.chunks)

    def close(self) -> None:
        self.closed.set()


def application(*, streaming: bool, made: list[Answer]) -> Any:
    def app(environ: dict[str, Any], start: Any) -> Answer:
        body = environ["wsgi.input"].read()
        start("200 OK", [("Content-Type", "text/plain")])
        large = environ["PATH_INFO"] == "/large"
        chunks = [LARGE[n : n + 4096] for n in range(0, len(LARGE), 4096)] if large else [body]
        made.append(Answer(*chunks, streaming=streaming))
        return made[-1]

    return app


def of(app: Any) -> Bridge:
    return Bridge(app, THREADS, largest=10_000_000)


@pytest.mark.parametrize("streaming", [True, False])
def test_answer_is_complete(*, streaming: bool) -> None:
    made: list[Answer] = []

    async def run() -> None:
        site = of(application(streaming=streaming, made=made))
        client = Client(b"")
        await site(scope("/large"), client.receive, client.send)
        assert (client.status, client.body) == (200, LARGE)
        body = b"y" * 300_000
        client = Client(body[:1000], body[1000:])
        await site(scope(content_length="300000"), client.receive, client.send)
        assert client.body == body

    asyncio.run(run())
    assert all(item.closed.wait(10) for item in made)


@pytest.mark.parametrize("streaming", [True, False])
def test_clients_that_take_nothing_or_leave_hold_no_thread(*, streaming: bool) -> None:
    made: list[Answer] = []

    async def run() -> None:
        site = of(application(streaming=streaming, made=made))
        stalled = [Client(b"", takes=1) for _ in range(50)]
        tasks = [
            asyncio.create_task(site(scope("/large"), item.receive, item.send))
            for item in stalled
        ]
        await asyncio.gather(*(item.begun.wait() for item in stalled))
        # A page is answered while they stall.
        page = Client(b"")
        async with asyncio.timeout(30):
            await site(scope(), page.receive, page.send)
        assert page.status == 200
        for client, task in zip(stalled, tasks, strict=True):
            client.left.set()
            task.cancel()  # as gunicorn does, some seconds after the client has left
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())
    assert len(made) == 51
    assert all(item.closed.wait(10) for item in made)


def test_client_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wsgi_bridge, "SEND_SECONDS", 0.05)
    made: list[Answer] = []

    async def run() -> None:
        site = of(application(streaming=True, made=made))
        client = Client(b"", takes=1)
        async with asyncio.timeout(30):
            await site(scope("/large"), client.receive, client.send)
        assert len(client.body) < len(LARGE)

    asyncio.run(run())
    assert made[0].closed.wait(10)


@pytest.mark.parametrize("length", ["1000", "300000"])
def test_stalled_body_holds_no_thread_and_ends(
    length: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wsgi_bridge, "BODY_SECONDS", 0.3)
    made: list[Answer] = []

    async def run() -> None:
        site = of(application(streaming=False, made=made))
        stalled = [Client(b"z" * 10, complete=False) for _ in range(30)]
        tasks = [
            asyncio.create_task(site(scope(content_length=length), item.receive, item.send))
            for item in stalled
        ]
        await asyncio.sleep(0)
        page = Client(b"")
        await site(scope(), page.receive, page.send)
        assert page.status == 200
        async with asyncio.timeout(30):
            await asyncio.gather(*tasks)
        # Sixteen of the long ones are read at a time.
        assert {item.status for item in stalled} <= {408, 503}

    asyncio.run(run())
    assert len(made) == 1


def test_dripping_body_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wsgi_bridge, "BODY_SECONDS", 0.2)

    class Dripping(Client):
        async def receive(self) -> Message:
            await asyncio.sleep(0.02)
            return {"type": "http.request", "body": b"z", "more_body": True}

    async def run() -> None:
        client = Dripping()
        async with asyncio.timeout(30):
            await of(application(streaming=False, made=[]))(
                scope(content_length="100000"), client.receive, client.send
            )
        assert client.status == 408

    asyncio.run(run())


def test_one_address_has_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wsgi_bridge, "PER_ADDRESS", 3)

    async def run() -> None:
        site = of(application(streaming=False, made=[]))
        stalled = [Client(complete=False) for _ in range(3)]
        tasks = [
            asyncio.create_task(site(scope(content_length="9"), item.receive, item.send))
            for item in stalled
        ]
        await asyncio.sleep(0)
        one, other = Client(b""), Client(b"")
        await site(scope(), one.receive, one.send)
        elsewhere = scope() | {"client": None, "headers": [(b"x-real-ip", b"192.0.2.1")]}
        await site(elsewhere, other.receive, other.send)
        assert (one.status, other.status) == (429, 200)
        for item in stalled:
            item.left.set()
        await asyncio.gather(*tasks)
        again = Client(b"")
        await site(scope(), again.receive, again.send)
        assert again.status == 200

    asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "query"), [("/%ff%00", b"\xff=%ff"), ("/a%20b", b"q=1"), ("/\xe9", b"")]
)
def test_environment_takes_any_bytes(path: str, query: bytes) -> None:
    environ = environment(scope(path) | {"query_string": query}, io.BytesIO())
    assert environ["QUERY_STRING"].encode("latin-1") == query
    assert environ["PATH_INFO"].startswith("/")
