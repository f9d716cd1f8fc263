"""Destinations and receivers for drills: a relay that stops reading, a receiver of messages."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

#: Bytes that the kernel keeps for a reader that does not read: little, so that a destination
#: that stops reading is full at once.
BUFFER_BYTES: Final = 16_384


class Relay:
    """Passes a TCP connection on to a server, and may stop to read from it."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._reads = threading.Event()
        self._reads.set()
        self._server = socket.socket()
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._server.bind(("127.0.0.1", 0))
        self._server.listen()
        self.port: int = self._server.getsockname()[1]
        self._over = False
        threading.Thread(target=self._accept, daemon=True).start()

    def stop_reading(self) -> None:
        self._reads.clear()

    def read_again(self) -> None:
        self._reads.set()

    def close(self) -> None:
        self._over = True
        self._reads.set()
        # It waits in accept(): only this ends it.
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while not self._over:
                client, _ = self._server.accept()
                server = socket.create_connection(("127.0.0.1", self._target), 5)
                server.settimeout(None)
                for source, sink, waits in ((client, server, True), (server, client, False)):
                    threading.Thread(
                        target=self._pass,
                        args=(source, sink),
                        kwargs={"waits": waits},
                        daemon=True,
                    ).start()

    def _pass(self, source: socket.socket, sink: socket.socket, *, waits: bool) -> None:
        with suppress(OSError), source, sink:
            while not self._over:
                if waits:
                    self._reads.wait()
                if not (data := source.recv(4096)):
                    break
                sink.sendall(data)


@dataclass
class Receiver:
    """A real HTTP server that keeps what it is sent, with the time."""

    messages: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    address: str = ""

    def about(self, *words: str) -> float | None:
        """When a message with all of these words came (since the epoch); None: none did."""
        for at, message in list(self.messages):
            text = json.dumps(message, ensure_ascii=False)
            if all(word in text for word in words):
                return at
        return None


@contextmanager
def receiver() -> Iterator[Receiver]:
    received = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with suppress(ValueError):
                received.messages.append((time.time(), json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Silent: the messages are what counts."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received.address = f"http://127.0.0.1:{server.server_port}/alerts"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield received
        finally:
            server.shutdown()
