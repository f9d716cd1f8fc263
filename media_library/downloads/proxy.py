"""A SOCKS5 proxy: the only network access of a download; checks all destinations.

It runs in the worker, in threads, for one job, on loopback. Each connection's name is resolved
once, here, each address is checked, and the connection is made to that very address: a name
that changes its answer a moment later (DNS rebinding) has no effect, and a redirect or a line
of a manifest is a connection like any other. The kernel moves the bytes (splice), so that the
proxy costs little CPU time. Protocol: RFC 1928, with the password of RFC 1929.
"""

from __future__ import annotations

import fcntl
import hmac
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from secrets import token_urlsafe
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Final, Self

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
#: Concurrent connections of one job: four fragments of two passes, and a page's requests.
MAX_CONNECTIONS: Final = 64
#: Bytes moved at once: the maximum of a pipe (fcntl(2)).
SPLICE_BYTES: Final = 1 << 20
_F_SETPIPE_SZ: Final = 1031
_VERSION: Final = 5
_PASSWORD: Final = 2
_CONNECT: Final = 1
#: Bytes of an address by its type; 3 is a name, whose length comes first.
_ADDRESS_BYTES: Final = {1: 4, 4: 16}
_NAME: Final = 3
#: Replies: RFC 1928, 6.
DONE, FAILED, REFUSED, UNREACHABLE = range(4)
_NO_HOST: Final = 4

Resolve = Callable[[str, int], list[str]]


@dataclass
class Seen:
    """Statistics of a job's connections. Written by the proxy's threads, read by the worker."""

    #: The last refused destination; empty: none.
    refused: str = ""
    bytes_down: int = 0
    #: Time of the last byte, monotonic.
    last_byte: float = field(default_factory=time.monotonic)


class Proxy(ThreadingTCPServer):
    """`with Proxy(rules) as proxy:` listens; `proxy.url` contains its secret."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, rules: Rules, *, find: Resolve = resolve, most_bytes: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.seen = Seen()
        self.rules = rules
        self.find = find
        self.most_bytes = most_bytes
        self.password = token_urlsafe(24)
        self.free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    @property
    def url(self) -> Secret:
        return Secret(f"socks5h://job:{self.password}@127.0.0.1:{self.server_address[1]}")

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        with self._lock:
            left = list(self._open)
        for one in left:
            _shut(one)

    def handle_error(self, *_: object) -> None:
        """Logs nothing: a connection that breaks is the client's matter."""

    @contextmanager
    def kept(self, one: socket.socket) -> Iterator[None]:
        """Lets the end of the proxy end the connection, which a thread may wait for."""
        with self._lock:
            self._open.add(one)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(one)


class _Connection(BaseRequestHandler):
    server: Proxy
    request: socket.socket

    def handle(self) -> None:
        if not self.server.free.acquire(blocking=False):
            return
        try:
            with self.server.kept(self.request), suppress(OSError):
                self.request.settimeout(CONNECT_TIMEOUT_S)
                if self._authenticated():
                    self._connect()
        finally:
            self.server.free.release()

    def _authenticated(self) -> bool:
        _, count = self._read("BB")
        if _PASSWORD not in self._bytes(count):
            self.request.sendall(bytes((_VERSION, 0xFF)))
            return False
        self.request.sendall(bytes((_VERSION, _PASSWORD)))
        _, length = self._read("BB")
        self._bytes(length)
        given = self._bytes(*self._read("B"))
        right = hmac.compare_digest(given, self.server.password.encode())
        self.request.sendall(bytes((1, not right)))
        return right

    def _connect(self) -> None:
        _, command, _, kind = self._read("BBBB")
        if kind == _NAME:
            host = self._bytes(*self._read("B")).decode("ascii", "replace")
        else:
            host = str(ip_address(self._bytes(_ADDRESS_BYTES.get(kind, 0))))
        (port,) = self._read("!H")
        if command != _CONNECT:
            self._reply(FAILED)
            return
        find, rules = self.server.find, self.server.rules
        try:
            addresses = judged(host, port, find(host, port), rules)
            server = connected(addresses, port, CONNECT_TIMEOUT_S)
        except RefusedError as refusal:
            self.server.seen.refused = str(refusal)
            self._reply(REFUSED)
        except NoAddressError:
            self._reply(_NO_HOST)
        except OSError:
            self._reply(UNREACHABLE)
        else:
            with server, self.server.kept(server):
                self._join(server)

    def _reply(self, status: int) -> None:
        # Behind the status, the proxy's own address, which nobody asks for.
        self.request.sendall(bytes((_VERSION, status, 0, 1, 0, 0, 0, 0, 0, 0)))

    def _read(self, form: str) -> tuple[int, ...]:
        return struct.unpack(form, self._bytes(struct.calcsize(form)))

    def _bytes(self, count: int) -> bytes:
        read = b""
        while len(read) < count:
            if not (chunk := self.request.recv(count - len(read))):
                raise ConnectionError
            read += chunk
        return read

    def _join(self, server: socket.socket) -> None:
        for one in (self.request, server):
            one.settimeout(None)
            # Blocking, because the kernel moves the bytes, but with a timeout.
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                one.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", IDLE_TIMEOUT_S, 0))
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reply(DONE)
        up = threading.Thread(target=self._move, args=(self.request, server, None), daemon=True)
        up.start()
        try:
            self._move(server, self.request, self.server.seen)
        finally:
            # Before they are closed: the number of a closed socket may be reused at once.
            _shut(self.request)
            _shut(server)
            up.join()

    def _move(self, one: socket.socket, other: socket.socket, seen: Seen | None) -> None:
        """Moves everything from one to the other, until one ends; then shuts the other down."""
        reader, writer = os.pipe()
        most_bytes = self.server.most_bytes
        try:
            with suppress(OSError):
                _widen(writer)
                while count := os.splice(one.fileno(), writer, SPLICE_BYTES):
                    if seen is not None:
                        seen.last_byte = time.monotonic()
                        seen.bytes_down += count
                        if most_bytes and seen.bytes_down > most_bytes:
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


def _shut(one: socket.socket) -> None:
    # Wakes threads that wait in it; closing alone does not.
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
