"""Receivers for tests: real HTTP and mail servers that keep what they were sent."""

from __future__ import annotations

import json
import socket
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope

#: The password of the mail server.
HUSH: Final = "hush-hush-5678"


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


class Post:
    """A mail server that takes mail from whoever knows the password."""

    def __init__(self) -> None:
        self.taken: list[EmailMessage] = []
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.controller = Controller(
            self,
            hostname="127.0.0.1",
            port=self.port,
            authenticator=self._authenticate,
            auth_required=True,
            auth_require_tls=False,
        )
        self.controller.start()

    @staticmethod
    def _authenticate(*reported: Any) -> AuthResult:
        return AuthResult(success=reported[-1].password == HUSH.encode())

    async def handle_DATA(self, *reported: Any) -> str:  # noqa: N802 - aiosmtpd's own name
        envelope: Envelope = reported[-1]
        assert isinstance(envelope.content, bytes)
        result = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(result, EmailMessage)
        self.taken.append(result)
        return "250 OK"
