"""A receiver of webhooks for tests: a real HTTP server that keeps what it was sent."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class Hook:
    """A receiver of webhooks, which answers as it is told to."""

    def __init__(self, secret: str) -> None:
        self.status = 204
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        #: As they came, to the byte; and the headers with them, names in lower case.
        self.raw: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                hook.raw.append(body)
                hook.headers.append({n.lower(): v for n, v in self.headers.items()})
                hook.bodies.append(json.loads(body))
                hook.paths.append(self.path)
                self.send_response(hook.status)
                if hook.status == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            def do_GET(self) -> None:
                self.do_POST()

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing on the screen."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.server.serve_forever)
        self.thread.start()
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/{secret}"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
