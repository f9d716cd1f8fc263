"""A stand-in for Google and Twitch on loopback, made from their published contracts.

It is no platform: it keeps streams and broadcasts as dictionaries of the documented shape, and
answers the calls that streamsite makes. `faults` makes it stall, refuse or answer nonsense.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "access-token-1f7c"
REFRESH = "refresh-token-93ab"
YOUTUBE = "/youtube.googleapis.com/youtube/v3/"


class RefusedError(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class StandIn(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.streams: list[dict[str, Any]] = []
        self.broadcasts: dict[str, dict[str, Any]] = {}
        self.channel: dict[str, Any] = {
            "id": "UC123",
            "snippet": {"title": "Our channel"},
            "statistics": {"subscriberCount": "412", "hiddenSubscriberCount": False},
        }
        self.watched: list[list[Any]] = []
        self.twitch: list[dict[str, Any]] = []
        #: The documented rows, and `_id`, `url_template` beside them.
        self.ingests: list[dict[str, Any]] = [
            {"name": "US East: Ashburn", "availability": 1.0, "priority": 20},
            {"name": "Europe: Gone", "availability": 0.0, "priority": 1},
            {"name": "Europe: Frankfurt", "availability": 1.0, "priority": 2},
        ]
        self.patched: list[dict[str, Any]] = []
        #: Answers of the token endpoint, in their order; the last one stays.
        self.tokens: list[tuple[int, dict[str, Any]]] = [(200, _tokens())]
        self.calls: list[str] = []
        self.sent: list[bytes] = []
        #: Called before an answer is made; may raise `RefusedError`, or wait.
        self.before: Callable[[str], None] = lambda _: None
        #: Called when it has been made, before it is sent.
        self.after: Callable[[str], None] = lambda _: None
        #: Sent instead of the answer.
        self.raw: bytes | None = None
        self.access = TOKEN

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    # ---- what there is

    def add_stream(self, key: str, status: str = "active", health: str = "good") -> str:
        name = f"stream{len(self.streams)}"
        self.streams.append(stream(name, key, status, health, int(time.time())))
        return name

    def add_broadcast(self, bound: str, life: str = "live", **content: Any) -> str:
        name = f"video{len(self.broadcasts)}"
        self.broadcasts[name] = broadcast(name, bound, life, **content)
        return name

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        parts = urlsplit(path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if parts.path.startswith(YOUTUBE):
            return 200, self._youtube(method, parts.path[len(YOUTUBE) :], query, body)
        fixed: dict[str, Any] = {
            "/youtubeanalytics.googleapis.com/v2/reports": {"rows": self.watched},
            "/oauth2.googleapis.com/device/code": _code(
                "ABCD-EFGH", verification_url="https://www.google.com/device"
            ),
            "/id.twitch.tv/oauth2/device": _code(
                "TWTCHXYZ", verification_uri="https://www.twitch.tv/activate?public=true"
            ),
            "/api.twitch.tv/helix/users": {
                "data": [{"id": "141981764", "display_name": "OurTwitch"}]
            },
            "/ingest.twitch.tv/ingests": {"ingests": self.ingests},
            "/api.twitch.tv/helix/streams": {"data": self.twitch, "pagination": {}},
        }
        if parts.path in fixed:
            return 200, fixed[parts.path]
        if parts.path.endswith("/token"):
            return self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]
        if parts.path == "/api.twitch.tv/helix/channels":
            self.patched.append(json.loads(body))
            return 204, None
        raise RefusedError(404, "notFound")

    def _youtube(self, method: str, what: str, query: dict[str, str], body: bytes) -> Any:
        match method, what:
            case "GET", "liveStreams":
                return self._page(self.streams, query)
            case "GET", "liveBroadcasts":
                return self._page(self._listed(query), query)
            case "GET", "channels":
                return {"items": [self.channel]}
            case "POST", "liveBroadcasts":
                return self._insert(json.loads(body))
            case "POST", "liveBroadcasts/bind":
                one = self.broadcasts[query["id"]]
                one["contentDetails"]["boundStreamId"] = query["streamId"]
                one["status"]["lifeCycleStatus"] = "ready"
                return one
            case "POST", "liveBroadcasts/transition":
                return self._transition(query)
            case "PUT", "liveBroadcasts":
                new = json.loads(body)
                self.broadcasts[new["id"]] |= {k: v for k, v in new.items() if k != "id"}
                return self.broadcasts[new["id"]]
            case _:
                raise RefusedError(404, "notFound")

    def _listed(self, query: dict[str, str]) -> list[dict[str, Any]]:
        if "id" in query:
            return [self.broadcasts[i] for i in query["id"].split(",") if i in self.broadcasts]
        lives = {
            "active": {"live", "liveStarting", "testing"},
            "upcoming": {"created", "ready"},
        }[query["broadcastStatus"]]
        rows = self.broadcasts.values()
        return [one for one in rows if one["status"]["lifeCycleStatus"] in lives]

    @staticmethod
    def _page(rows: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
        start, size = int(query.get("pageToken", 0)), int(query.get("maxResults", 5))
        more = {"nextPageToken": str(start + size)} if len(rows) > start + size else {}
        return {"items": rows[start : start + size], **more}

    def _insert(self, body: dict[str, Any]) -> dict[str, Any]:
        start = datetime.fromisoformat(body["snippet"]["scheduledStartTime"])
        if start.timestamp() <= time.time():
            raise RefusedError(400, "invalidScheduledStartTime")
        if not body["status"]["privacyStatus"]:
            raise RefusedError(400, "invalidPrivacyStatus")
        name = f"video{len(self.broadcasts)}"
        made = broadcast(name, "", "created")
        made["snippet"] |= body["snippet"]
        made["status"] |= body["status"]
        made["contentDetails"] = {**body["contentDetails"]}
        self.broadcasts[name] = made
        return made

    def _transition(self, query: dict[str, str]) -> dict[str, Any]:
        one = self.broadcasts[query["id"]]
        if one["status"]["lifeCycleStatus"] == query["broadcastStatus"]:
            raise RefusedError(403, "redundantTransition")
        bound = one["contentDetails"].get("boundStreamId")
        fed = {s["id"] for s in self.streams if s["status"]["streamStatus"] == "active"}
        if bound not in fed:
            raise RefusedError(403, "errorStreamInactive")
        if one["contentDetails"]["monitorStream"]["enableMonitorStream"]:
            raise RefusedError(403, "invalidTransition")
        one["status"]["lifeCycleStatus"] = query["broadcastStatus"]
        return one


class _Handler(BaseHTTPRequestHandler):
    server: StandIn
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        call = f"{self.command} {self.path}"
        self.server.calls.append(call)
        self.server.sent.append(body)
        host = self.path.split("/")[1]
        try:
            self.server.before(call)
            if "oauth2" not in self.path and host != "ingest.twitch.tv":
                self._authorize()
            status, answer = self.server.answer(self.command, self.path, body)
            self.server.after(call)
        except RefusedError as refusal:
            status, answer = refusal.status, _error(host, refusal)
        sent = b"" if answer is None else json.dumps(answer).encode()
        if self.server.raw is not None and status == 200:
            sent = self.server.raw
        self.send_response(status)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def _authorize(self) -> None:
        if self.headers["Authorization"] != f"Bearer {self.server.access}":
            raise RefusedError(401, "authError")

    do_GET = do_POST = do_PUT = do_PATCH = _serve  # noqa: N815 - http.server's names

    def log_message(self, format: str, *args: Any) -> None:
        """It writes nothing."""


def _error(host: str, refusal: RefusedError) -> dict[str, Any]:
    if "twitch" in host:
        return {"error": "Refused", "status": refusal.status, "message": refusal.reason}
    errors = [{"domain": "youtube.quota", "reason": refusal.reason, "message": "…"}]
    return {"error": {"code": refusal.status, "message": "…", "errors": errors}}


def _code(user_code: str, **address: str) -> dict[str, Any]:
    parts = {"device_code": "device-code-55", "expires_in": 1800, "interval": 5}
    return {"user_code": user_code, **parts, **address}


def _tokens() -> dict[str, Any]:
    return {
        "access_token": TOKEN,
        "refresh_token": REFRESH,
        "expires_in": 3599,
        "scope": "https://www.googleapis.com/auth/youtube",
        "token_type": "Bearer",
    }


def stream(name: str, key: str, status: str, health: str, at: int | None) -> dict[str, Any]:
    """A `liveStream` resource."""
    judged: dict[str, Any] = {"status": health, "configurationIssues": []}
    if at is not None:
        judged["lastUpdateTimeSeconds"] = str(at)
    return {
        "kind": "youtube#liveStream",
        "id": name,
        "cdn": {
            "ingestionType": "rtmp",
            "ingestionInfo": {
                "streamName": key,
                "ingestionAddress": "rtmp://a.rtmp.youtube.com/live2",
            },
            "resolution": "variable",
            "frameRate": "variable",
        },
        "status": {"streamStatus": status, "healthStatus": judged},
    }


def broadcast(name: str, bound: str, life: str, **content: Any) -> dict[str, Any]:
    """A `liveBroadcast` resource."""
    return {
        "kind": "youtube#liveBroadcast",
        "id": name,
        "snippet": {
            "title": "Ours, day and night",
            "description": "All day.",
            "scheduledStartTime": "2026-11-01T00:00:00Z",
        },
        "contentDetails": {
            **({"boundStreamId": bound} if bound else {}),
            "boundStreamLastUpdateTimeMs": "2026-11-01T00:00:00Z",
            "monitorStream": {"enableMonitorStream": True},
            "enableDvr": True,
            "enableAutoStart": False,
            "enableAutoStop": False,
            "latencyPreference": "low",
            **content,
        },
        "status": {
            "lifeCycleStatus": life,
            "privacyStatus": "unlisted",
            "selfDeclaredMadeForKids": False,
        },
        "statistics": {"concurrentViewers": "17"},
    }
