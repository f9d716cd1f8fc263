"""A forward proxy: the only network access of a download; checks all destinations.

It runs in the worker, in threads, for one job, on loopback. Each request and each tunnel is
resolved once, each address is checked, and the connection is made to that very address: a name
that changes its answer a moment later (DNS rebinding) has no effect, and a redirect or a line
of a manifest is a request like any other. The kernel moves the bytes (splice), so that the
proxy costs little CPU time.
"""

from __future__ import annotations

import fcntl
import hmac
import os
import socket
import struct
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

from streamsite.security.secret import Secret
from streamsite.security.ssrf import (
    NoAddressError,
    RefusedError,
    Rules,
    connected,
    judged,
    resolve,
)

#: Seconds to connect, and seconds without a byte in either direction until a connection ends.
CONNECT_TIMEOUT_S: Final = 15.0
IDLE_TIMEOUT_S: Final = 120
#: Maximum bytes of a request's head.
MAX_HEAD_BYTES: Final = 64 * 1024
#: Concurrent connections of one job: four fragments of two passes, and a page's requests.
MAX_CONNECTIONS: Final = 64
#: Bytes moved at once: the maximum of a pipe (fcntl(2)).
SPLICE_BYTES: Final = 1 << 20
_F_SETPIPE_SZ: Final = 1031
#: Hop-by-hop headers (RFC 9110, 7.6.1), and our own.
_HOP: Final = frozenset(
    {
        *("connection", "keep-alive", "proxy-authorization", "proxy-connection", "te"),
        *("trailer", "upgrade", "host"),
    }
)
_OF_A_LEG: Final = frozenset({b"connection", b"keep-alive", b"proxy-connection"})

Resolve = Callable[[str, int], list[str]]


class _BadRequestError(Exception):
    pass


class Target(NamedTuple):
    method: str
    host: str
    port: int
    #: The requested path; empty for a tunnel.
    path: str
    headers: tuple[tuple[str, str], ...]


@dataclass
class Seen:
    """Statistics of a job's connections. Written by the proxy's threads, read by the worker."""

    #: The last refused destination; empty: none.
    refused: str = ""
    bytes_down: int = 0
    #: Time of the last byte, monotonic.
    last_byte: float = field(default_factory=time.monotonic)


class Proxy:
    """`with Proxy(rules) as proxy:` listens; `proxy.url` contains its secret."""

    def __init__(self, rules: Rules, *, find: Resolve = resolve, most_bytes: int = 0) -> None:
        self.seen = Seen()
        self._rules = rules
        self._find = find
        self._most_bytes = most_bytes
        self._secret = token_urlsafe(24)
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=MAX_CONNECTIONS)

    @property
    def url(self) -> Secret:
        port = self._listener.getsockname()[1]
        return Secret(f"http://job:{self._secret}@127.0.0.1:{port}")

    def __enter__(self) -> Self:
        threading.Thread(target=self._listen, name="proxy", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._closed = True
            left = [self._listener, *self._open]
        for one in left:
            # Wakes threads that wait in it; closing alone does not.
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    # ---- one connection ----------------------------------------------------------------------

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self._free.acquire(blocking=False):
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with self._kept(client), suppress(OSError):
                self._answer(client)
        finally:
            self._free.release()

    @contextmanager
    def _kept(self, one: socket.socket) -> Iterator[None]:
        with self._lock:
            if self._closed:
                one.close()
                return
            self._open.add(one)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(one)
            one.close()

    def _answer(self, client: socket.socket) -> None:
        client.settimeout(CONNECT_TIMEOUT_S)
        try:
            head, rest = _head(client)
            target = parsed(head)
            if not self._knows_secret(target):
                _respond(client, "407 Proxy Authentication Required")
                return
            addresses = judged(
                target.host, target.port, self._find(target.host, target.port), self._rules
            )
            server = connected(addresses, target.port, CONNECT_TIMEOUT_S)
        except _BadRequestError as fault:
            _respond(client, f"400 {fault}")
        except RefusedError as refusal:
            self.seen.refused = str(refusal)
            _respond(client, "403 Refused by streamsite")
        except NoAddressError:
            _respond(client, "502 Name or service not known")
        except OSError:
            _respond(client, "504 Connection timed out")
        else:
            with self._kept(server):
                self._join(client, server, target, rest)

    def _knows_secret(self, target: Target) -> bool:
        expected = "Basic " + b64encode(f"job:{self._secret}".encode()).decode()
        given = dict(target.headers).get("proxy-authorization", "")
        return hmac.compare_digest(given.encode(), expected.encode())

    def _join(
        self, client: socket.socket, server: socket.socket, target: Target, rest: bytes
    ) -> None:
        for one in (client, server):
            one.settimeout(None)
            # Blocking, because the kernel moves the bytes, but with a timeout.
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                one.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", IDLE_TIMEOUT_S, 0))
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if target.method == "CONNECT":
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            server.sendall(rest)
        else:
            server.sendall(request(target) + rest)
        up = threading.Thread(target=self._move, args=(client, server, None), daemon=True)
        up.start()
        try:
            if target.method != "CONNECT":
                # With this header the client does not reuse a connection that ends.
                client.sendall(answer(*_head(server)))
            self._move(server, client, self.seen)
        except _BadRequestError:
            _respond(client, "502 The site does not speak HTTP")
        finally:
            # Before they are closed: the number of a closed socket may be reused at once.
            for one in (client, server):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            up.join()

    def _move(self, one: socket.socket, other: socket.socket, seen: Seen | None) -> None:
        """Moves everything from one to the other, until one ends; then shuts the other down."""
        reader, writer = os.pipe()
        try:
            with suppress(OSError):
                _widen(writer)
                while count := os.splice(one.fileno(), writer, SPLICE_BYTES):
                    if seen is not None:
                        seen.last_byte = time.monotonic()
                        seen.bytes_down += count
                        if self._most_bytes and seen.bytes_down > self._most_bytes:
                            break
                    while count:
                        count -= os.splice(reader, other.fileno(), count)
        finally:
            os.close(reader)
            os.close(writer)
            with suppress(OSError):
                other.shutdown(socket.SHUT_WR)


def _widen(pipe: int) -> None:
    with suppress(OSError):
        fcntl.fcntl(pipe, _F_SETPIPE_SZ, SPLICE_BYTES)


def _head(client: socket.socket) -> tuple[bytes, bytes]:
    """Returns the head of a request or an answer, and the bytes after it."""
    read = b""
    while b"\r\n\r\n" not in read:
        if len(read) > MAX_HEAD_BYTES:
            raise _BadRequestError("Head too long")
        chunk = client.recv(16384)
        if not chunk:
            raise _BadRequestError("Head incomplete")
        read += chunk
    head, _, rest = read.partition(b"\r\n\r\n")
    return head, rest


def parsed(head: bytes) -> Target:
    """Parses a request to the proxy: http with a complete URL, or a tunnel."""
    first, *lines = head.decode("latin-1").split("\r\n")
    try:
        method, address, _version = first.split(" ")
        headers = tuple(
            (name.strip().lower(), value.strip())
            for name, colon, value in (line.partition(":") for line in lines)
            if colon
        )
        if method == "CONNECT":
            parts = urlsplit(f"//{address}")
            path = ""
        else:
            parts = urlsplit(address)
            if parts.scheme != "http":
                raise _BadRequestError("Only http and tunnels for https")
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        host, port = parts.hostname, parts.port or (443 if method == "CONNECT" else 80)
    except ValueError:
        raise _BadRequestError("Not a request") from None
    if not host:
        raise _BadRequestError("No host")
    return Target(method, host, port, path, headers)


def request(target: Target) -> bytes:
    """Returns the request for the server: one per connection, against request smuggling."""
    host = f"[{target.host}]" if ":" in target.host else target.host
    at = host if target.port == 80 else f"{host}:{target.port}"  # noqa: PLR2004 - http's
    lines = [f"{target.method} {target.path} HTTP/1.1", f"Host: {at}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in target.headers if name not in _HOP]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def answer(head: bytes, rest: bytes) -> bytes:
    """Returns the answer's head, with a header that closes the connection, and the rest."""
    first, *lines = head.split(b"\r\n")
    kept = [line for line in lines if line.split(b":")[0].strip().lower() not in _OF_A_LEG]
    return b"\r\n".join([first, *kept, b"Connection: close", b"", rest])


def _respond(client: socket.socket, status: str) -> None:
    with suppress(OSError):
        client.sendall(
            f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
