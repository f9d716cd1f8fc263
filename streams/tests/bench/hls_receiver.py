"""A receiver of HLS uploads: a real HTTPS server that checks the rules of the platform.

Stands for YouTube, whose rules were read in "Delivering Live YouTube Content via HLS" (2026).
"""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

from streams.playout.ffmpeg import mpegts

#: What a request gets: a status, or what the server does before it is answered.
Trouble = Callable[[str, int], int | None]
_NAME = re.compile(r"[\w./-]+")
_ENTRY = re.compile(r"(#EXT-X-DISCONTINUITY\n)?#EXTINF:([0-9.]+),\n(\S+)\n")
MAX_OUTSTANDING = 5
#: Ticks by which a frame may be off its place: less than a frame at 60 a second.
TOLERANCE = 1000


@dataclass
class Part:
    """One segment: its number, a hash of its content, and the DTS of its video."""

    number: int
    digest: str
    first: int
    last: int
    step: int
    times: int = 1


@dataclass
class Receiver:
    key: str
    copy: str = "0"
    parts: dict[str, Part] = field(default_factory=dict)
    #: By name: number, and whether it was announced as a discontinuity.
    announced: dict[str, tuple[int, bool]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    connections: int = 0
    requests: int = 0
    #: Called with the name and the count of requests before an answer.
    trouble: Trouble = lambda _name, _count: None
    #: Seconds to wait after each chunk that is read.
    slow: float = 0.0
    port: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def address(self) -> str:
        return f"https://localhost:{self.port}/http_upload_hls?copy={self.copy}"

    def put(self, name: str, body: bytes) -> int:
        with self.lock:
            if not _NAME.fullmatch(name):
                self.faults.append(f"name {name}")
            if name.endswith(".m3u8"):
                self._playlist(body.decode())
                return 200
            return self._segment(name, body)

    def _playlist(self, text: str) -> None:
        head, _, _ = text.partition("#EXTINF")
        match = re.search(r"#EXT-X-MEDIA-SEQUENCE:(\d+)\n", head)
        if not text.startswith("#EXTM3U\n") or match is None or "ENDLIST" in text:
            self.faults.append("a playlist that can't be read")
            return
        first, outstanding = int(match[1]), 0
        if not self.announced and first:
            self.faults.append(f"the first playlist starts at {first}")
        for number, (broken, seconds, name) in enumerate(_ENTRY.findall(text), first):
            if float(seconds) > 5:
                self.faults.append(f"a segment of {seconds} s")
            earlier = self.announced.setdefault(name, (number, bool(broken)))
            if earlier[0] != number:
                self.faults.append(f"{name} was number {earlier[0]} and is {number}")
            outstanding += name not in self.parts
        if outstanding > MAX_OUTSTANDING:
            self.faults.append(f"{outstanding} segments outstanding")

    def _segment(self, name: str, body: bytes) -> int:
        digest = hashlib.sha256(body).hexdigest()
        if body[:1] != b"G" or mpegts.pid_at(body, 0) not in mpegts.TABLES:
            self.faults.append(f"{name} does not begin with its tables")
        if (had := self.parts.get(name)) is not None:
            if had.digest != digest:
                self.faults.append(f"{name} came again with other content")
            had.times += 1
            return 200
        number = self.announced.get(name, (-1, False))[0]
        frames = [frame.dts for frame in mpegts.video_frames(body)]
        step = (frames[-1] - frames[0]) // max(1, len(frames) - 1)
        self.parts[name] = Part(number, digest, frames[0], frames[-1], step)
        return 202 if number < 0 else 200

    def check(self, *, gaps: int = 0) -> dict[str, int]:
        """Check what was received, and return the counts. `gaps`: announced ones allowed."""
        with self.lock:
            assert self.faults == []
            ordered = sorted(self.parts.items(), key=lambda item: item[1].number)
            numbers = [part.number for _, part in ordered]
            missing = sorted(set(range(numbers[-1] + 1)) - set(numbers))
            digests = [part.digest for _, part in ordered]
            doubled = len(digests) - len(set(digests))
            jumps = announced_gaps = 0
            for (_, before), (name, after) in pairwise(ordered):
                step = (after.first - before.last) % mpegts.WRAP
                if self.announced[name][1]:
                    announced_gaps += 1
                elif abs(step - before.step) > TOLERANCE:
                    jumps += 1
            repeated = sum(part.times - 1 for _, part in ordered)
        assert announced_gaps <= gaps, f"{announced_gaps} gaps"
        return {
            "segments": len(ordered),
            "missing": len(missing) + jumps,
            "doubled": doubled,
            "announced gaps": announced_gaps,
            "sent again": repeated,
            "connections": self.connections,
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    receiver: Receiver

    def log_message(self, *_: object) -> None:
        """Nothing: a platform's log is not ours."""

    def do_PUT(self) -> None:
        receiver = self.receiver
        query = parse_qs(urlsplit(self.path).query)
        name = query.get("file", [""])[0]
        left, body = int(self.headers["Content-Length"]), bytearray()
        while left > 0 and (chunk := self.rfile.read(min(left, 65536))):
            body += chunk
            left -= len(chunk)
            if receiver.slow:
                time.sleep(receiver.slow)
        if left:
            # The sender was killed.
            self.close_connection = True
            return
        receiver.requests += 1
        status = receiver.trouble(name, receiver.requests)
        if status is not None and status <= 0:
            # It ends the connection; with 0 it has taken the segment, and with -1 not.
            if status == 0:
                receiver.put(name, bytes(body))
            self.close_connection = True
            return
        if status is None:
            right = query.get("cid") == [receiver.key] and query.get("copy") == [receiver.copy]
            status = receiver.put(name, bytes(body)) if right else 401
        # A careless server quotes what it got.
        answer = f"{status} {self.path}\n".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        if 300 <= status < 400:
            self.send_header("Location", f"https://elsewhere.example{self.path}")
        self.end_headers()
        self.wfile.write(answer)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    context: ssl.SSLContext
    receiver: Receiver

    def finish_request(self, request: object, address: object) -> None:
        assert isinstance(request, socket.socket)
        self.receiver.connections += 1
        with suppress(OSError), self.context.wrap_socket(request, server_side=True) as inner:
            super().finish_request(inner, address)

    def handle_error(self, *_: object) -> None:
        """Nothing: senders are killed."""


@contextmanager
def serve(receiver: Receiver, context: ssl.SSLContext) -> Iterator[Receiver]:
    handler = type("Bound", (_Handler,), {"receiver": receiver})
    server = _Server(("127.0.0.1", receiver.port), handler)
    server.context, server.receiver = context, receiver
    receiver.port = server.server_port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
