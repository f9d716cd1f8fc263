"""A fake MediaMTX: its HTTP authentication, its hooks and its API, without any media.

MediaMTX itself is not available from a package registry. The fake copies, from its source and
its OpenAPI file (1.20): it asks for permission inside its single loop, which its API needs too;
it waits 10 s for the response and refuses without one; a refused client is notified with a
delay; a second publisher replaces the first one; hooks run beside it, in any order; lists are
paginated; field names changed in 1.16.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any, Final, Literal
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import Request, urlopen

#: Its `readTimeout`, in seconds.
READ_TIMEOUT: Final = 10.0
#: Seconds until a refused client is notified; the real server takes up to 4, at random.
REJECT_DELAY: Final = 0.3
TYPES: Final = {
    "rtmp": ("rtmpConn", "rtmpconns"),
    "rtsp": ("rtspSession", "rtspsessions"),
    "srt": ("srtConn", "srtconns"),
    "webrtc": ("webRTCSession", "webrtcsessions"),
}
Fields = Literal["old", "new"]


@dataclass
class Session:
    path: str
    protocol: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    received: int = 0
    #: It was kicked, or replaced by another publisher.
    ended: bool = False

    @property
    def type(self) -> str:
        return TYPES[self.protocol][0]


class FakeMediaMtx:
    def __init__(self, site: str, token: str, fields: Fields = "new") -> None:
        self.site = site
        self.token = token
        self.fields: Fields = fields
        #: Hooks that are lost: ready, not-ready.
        self.lost: set[str] = set()
        #: While set, the API does not respond.
        self.stuck = Event()
        self.freed = Event()
        self.lists = 0
        self._loop = Lock()
        self._online: dict[str, Session] = {}
        self._hooks: list[Thread] = []
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.open()

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # ---- publishers --------------------------------------------------------------------------
    def publish(self, path: str, protocol: str, **credentials: str) -> Session | None:
        """Try to publish; None: refused."""
        session = Session(path, protocol)
        with self._loop:
            if protocol in {"rtsp", "webrtc"} and "query" not in credentials:
                # These clients connect without credentials first, and again when asked for
                # them.
                assert self._authorize(session) == 401
            accepted = 200 <= self._authorize(session, **credentials) < 300
            if accepted:
                self._replace(session)
        if not accepted:
            Event().wait(REJECT_DELAY)
            return None
        return session

    def _authorize(self, session: Session, **credentials: str) -> int:
        fields: dict[str, Any] = dict.fromkeys(("user", "password", "token", "query"), "")
        fields |= {"ip": "127.0.0.1", "action": "publish", "path": session.path}
        fields |= {"protocol": session.protocol, "id": session.id, "userAgent": ""}
        return self._post("/auth", json.dumps(fields | credentials), "application/json", {})

    def _post(self, path: str, body: str, kind: str, headers: dict[str, str]) -> int:
        request = Request(  # noqa: S310 - the live server of the test
            self.site + path, body.encode(), {"Content-Type": kind, **headers}
        )
        try:
            with urlopen(request, timeout=READ_TIMEOUT) as answer:  # noqa: S310 - a server of the test
                return int(answer.status)
        except HTTPError as error:
            with error:
                return error.code
        except TimeoutError:
            return 500

    def _replace(self, session: Session) -> None:
        if old := self._online.pop(session.path, None):
            old.ended = True
            self._hook("not-ready", old)
        self._online[session.path] = session
        self._hook("ready", session)

    def leave(self, session: Session) -> None:
        with self._loop:
            self._drop(session)

    def _drop(self, session: Session) -> None:
        session.ended = True
        if self._online.get(session.path) is session:
            del self._online[session.path]
            self._hook("not-ready", session)

    def appear(self, session: Session) -> None:
        """Come online without any authentication or hook."""
        self._online[session.path] = session

    # ---- hooks -------------------------------------------------------------------------------
    def _hook(self, what: str, session: Session) -> None:
        if what in self.lost:
            return
        body = {"path": session.path, "source_type": session.type, "source_id": session.id}
        thread = Thread(
            target=self._post,
            args=(
                f"/webhook/{what}",
                urlencode(body),
                "application/x-www-form-urlencoded",
                {"X-Ingest-Token": self.token},
            ),
        )
        self._hooks.append(thread)
        thread.start()

    def hooks_done(self) -> None:
        for thread in self._hooks:
            thread.join()
        self._hooks.clear()

    # ---- API ---------------------------------------------------------------------------------
    def _list(self, page: int, size: int) -> dict[str, Any]:
        with self._loop:
            self.lists += 1
            sessions = sorted(self._online.values(), key=lambda one: one.path)
        items = [self._item(one) for one in sessions]
        # A configured path without a publisher.
        items.insert(
            0, {"name": "live/nobody", "source": None, "online": False, "ready": False}
        )
        pages = -(-len(items) // size)
        shown = items[page * size : (page + 1) * size]
        return {"itemCount": len(items), "pageCount": pages, "items": shown}

    def _item(self, one: Session) -> dict[str, Any]:
        item: dict[str, Any] = {
            "name": one.path,
            "confName": "~^live/([A-Za-z0-9_-]{1,64})$",
            "source": {"type": one.type, "id": one.id},
            "readers": [],
        }
        since = "2026-03-01T12:00:00.123456789Z"
        if self.fields == "old":
            return item | {
                "ready": True,
                "readyTime": since,
                "tracks": ["H264", "MPEG-4 Audio"],
                "bytesReceived": one.received,
                "bytesSent": 0,
            }
        return item | {
            "online": True,
            "onlineTime": since,
            "available": True,
            "availableTime": since,
            "tracks2": [
                {"codec": "H264", "codecProps": {"width": 1280, "height": 720}},
                {"codec": "MPEG-4 Audio", "codecProps": None},
            ],
            "inboundBytes": one.received,
            "outboundBytes": 0,
        }

    def _kick(self, kind: str, source: str) -> int:
        with self._loop:
            session = next((one for one in self._online.values() if one.id == source), None)
            if session is None or TYPES[session.protocol][1] != kind:
                return 404
            self._drop(session)
        return 200

    def open(self) -> None:
        """Start to respond, on the previous port."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}).start()

    def close(self) -> None:
        """Stop responding; streams stay online."""
        self.freed.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def crash(self) -> None:
        """Take everything offline without notifying anybody."""
        self.close()
        self._online.clear()


def _handler(fake: FakeMediaMtx) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if fake.stuck.is_set():
                fake.freed.wait()
            parts = urlsplit(self.path)
            query = parse_qs(parts.query)
            if parts.path != "/v3/paths/list":
                self._respond(404, {"status": "error", "error": "not found"})
                return
            size = min(int(query["itemsPerPage"][0]), 20)
            self._respond(200, fake._list(int(query["page"][0]), size))

        def do_POST(self) -> None:
            match self.path.split("/"):
                case ["", "v3", kind, "kick", source]:
                    status = fake._kick(kind, source)
                case _:
                    status = 404
            self._respond(status, {"status": "ok" if status == 200 else "error"})

        def _respond(self, status: int, body: object) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            """Print nothing."""

    return Handler
