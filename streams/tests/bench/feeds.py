"""Ingest servers for the engine alone: live streams become its ingest state, without rows."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

from streams.playout.contract.ledger import Note, Snapshot
from streams.playout.contract.live_feed import IngestState, LiveFeed
from streams.playout.contract.plan import Assignment
from streams.tests.bench.engine import MemoryLedger
from streams.tests.bench.ingest import NginxIngest, Publisher
from streams.tests.bench.rtmp import free_port
from streams.tests.bench.waiting import until
from streamsite.security.secret import Secret

RTSP_SERVER: Final = Path(__file__).with_name("rtsp_server.py")
#: Debian's Python, which has GStreamer's bindings.
PYTHON: Final = "/usr/bin/python3"
#: Installed by gir1.2-gst-rtsp-server-1.0.
GSTREAMER: Final = Path("/usr/lib/x86_64-linux-gnu/girepository-1.0/GstRtspServer-1.0.typelib")
ADA: Final = "live/ada"


class LiveLedger(MemoryLedger):
    """A ledger whose ingest state holds the streams that are live at the ingest server."""

    hold: float = 20.0
    debounce: float = 2.0
    live: LiveFeed | None = None
    finished: frozenset[int] = frozenset()

    def exchange(
        self, at: float, snapshots: Sequence[Snapshot], notes: Sequence[Note]
    ) -> dict[int, Assignment]:
        answer = super().exchange(at, snapshots, notes)
        feeds = () if self.live is None else (self.live,)
        ingest = IngestState(
            feeds,
            frozenset(feed.stream for feed in feeds),
            finished=self.finished,
            debounce=self.debounce,
            hold=self.hold,
        )
        return {pk: replace(one, ingest=ingest) for pk, one in answer.items()}


class Ingest(Protocol):
    """An ingest server that reports live streams to `book`."""

    book: LiveLedger

    def publish(self, file: Path) -> Publisher: ...

    def stop(self) -> None: ...


class NginxFeeds:
    """The nginx-rtmp of deploy/, beside a server that accepts everybody."""

    def __init__(self, folder: Path, module: Path, book: LiveLedger) -> None:
        self.book = book
        self._number = 0
        self._lock = threading.Lock()
        self._web = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._web.daemon_threads = True
        threading.Thread(
            target=self._web.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        site = f"http://127.0.0.1:{self._web.server_address[1]}"
        self.nginx = NginxIngest(folder, module, site, "token-of-the-bench")
        self.nginx.start()

    def publish(self, file: Path) -> Publisher:
        return Publisher(f"{self.nginx.address}/{ADA}", file)

    def stop(self) -> None:
        self.nginx.stop()
        self._web.shutdown()
        self._web.server_close()

    def notify(self, form: dict[str, str]) -> None:
        with self._lock:
            if form["call"] == "publish":
                self._number += 1
                self.book.live = feed(self._number, f"{self.nginx.address}/{ADA}")
            elif form["call"] == "publish_done":
                self.book.live = None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        feeds = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                feeds.notify({name: values[0] for name, values in parse_qs(body).items()})
                self.send_response(204)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Print nothing."""

        return Handler


class RtspFeeds:
    """GStreamer's RTSP server, read as MediaMTX is."""

    def __init__(self, book: LiveLedger, video: str = "h264", audio: str = "aac") -> None:
        self.book = book
        self.rtsp, self.port = free_port(), free_port()
        self._process = subprocess.Popen(
            (PYTHON, RTSP_SERVER, str(self.rtsp), str(self.port), video, audio),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._ready = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        until(self._ready.is_set, 30, "the RTSP server listens")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            what, _, number = line.partition(" ")
            if what == "listens\n":
                self._ready.set()
            elif what == "began":
                url = f"rtsp://127.0.0.1:{self.rtsp}/{ADA}"
                self.book.live = feed(int(number), url)
            else:
                self.book.live = None

    def publish(self, file: Path) -> Publisher:
        return Publisher(f"tcp://127.0.0.1:{self.port}", file, form="mpegts")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()


def feed(stream: int, url: str) -> LiveFeed:
    return LiveFeed(stream, 1, "Ada", Secret(url), requested_at=time.time())
