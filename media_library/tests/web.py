"""A site on this machine with all cases that a download may meet, good and bad."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from media_library.tests.clips import lavfi, make

#: A loopback address that no test's rules allow.
INNER: Final = "127.0.0.2"
CAPTIONS: Final = """WEBVTT

00:00:00.000 --> 00:00:01.500
one thing

00:00:01.500 --> 00:00:03.000
and another
"""


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    # Many fragments are requested at once.
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores closed connections, which the tests cause on purpose."""


@dataclass
class Web:
    """The site's files, and the requests it got."""

    folder: Path
    server: _Quiet = field(init=False)
    requests: list[str] = field(default_factory=list)
    #: By path: a function that answers instead of the file.
    handlers: dict[str, Callable[[_Handler], None]] = field(default_factory=dict)
    #: Set to release answers that were held back.
    go_on: threading.Event = field(default_factory=threading.Event)
    #: Bytes/s of each connection; 0: unlimited.
    pace: int = 0

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/{path}"

    def count(self, path: str) -> int:
        return self.requests.count(f"/{path}")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: Web

    def log_message(self, *_: object) -> None:
        """Logs nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        self.web.requests.append(path)
        handler = self.web.handlers.get(path)
        with suppress(BrokenPipeError, ConnectionResetError):
            if handler is not None:
                handler(self)
            else:
                self.file(self.web.folder / path.lstrip("/"))

    def file(self, path: Path, **headers: str) -> None:
        if not path.is_file():
            self.respond(404, b"")
            return
        size = path.stat().st_size
        start = self.start_of(size)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Content-Type", _KINDS.get(path.suffix, "application/octet-stream"))
        self.send_header("Content-Length", str(size - start))
        self.send_header("Accept-Ranges", "bytes")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            with path.open("rb") as file:
                file.seek(start)
                self.body(file.read())

    def start_of(self, size: int) -> int:
        range_ = self.headers.get("Range", "")
        return min(int(range_.removeprefix("bytes=").partition("-")[0] or 0), size - 1)

    def body(self, content: bytes) -> None:
        """Sends at the site's pace."""
        pace = self.web.pace
        if not pace:
            self.wfile.write(content)
            return
        step = max(4096, pace // 20)
        for at in range(0, len(content), step):
            self.wfile.write(content[at : at + step])
            if self.web.go_on.wait(step / pace) and self.web.pace == 0:
                self.wfile.write(content[at + step :])
                return

    def respond(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


_KINDS: Final = {
    ".mp4": "video/mp4",
    ".m3u8": "application/vnd.apple.mpegurl",
    ".mpd": "application/dash+xml",
    ".xml": "application/rss+xml",
    ".vtt": "text/vtt",
}


@contextmanager
def web_site(folder: Path) -> Iterator[Web]:
    site = Web(folder)

    class Handler(_Handler):
        web = site

    site.server = _Quiet(("127.0.0.1", 0), Handler)
    # The same port of another address, which must not be reached.
    inner = _Quiet((INNER, site.port), Handler)
    for server in (site.server, inner):
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield site
    finally:
        site.go_on.set()
        for server in (site.server, inner):
            server.shutdown()
            server.server_close()


# ---- the files -------------------------------------------------------------------------------


def make_videos(folder: Path) -> None:
    """Makes a video as a file, as HLS with subtitles, and as DASH."""
    video = make(
        folder / "film.mp4",
        *lavfi("testsrc2=s=320x180:r=25:d=6", "sine=d=6:r=48000"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-c:a", "aac", "-shortest"),
    )
    (folder / "hls").mkdir()
    make(
        folder / "hls" / "film.m3u8",
        *("-i", f"file:{video}", "-c", "copy", "-hls_time", "1", "-hls_playlist_type", "vod"),
    )
    (folder / "hls" / "en.vtt").write_text(CAPTIONS)
    (folder / "hls" / "en.m3u8").write_text(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:6\n#EXT-X-PLAYLIST-TYPE:VOD\n"
        "#EXTINF:6.0,\nen.vtt\n#EXT-X-ENDLIST\n"
    )
    (folder / "hls" / "master.m3u8").write_text(
        '#EXTM3U\n#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="s",NAME="English",LANGUAGE="en",'
        'DEFAULT=YES,URI="en.m3u8"\n#EXT-X-STREAM-INF:BANDWIDTH=800000,RESOLUTION=320x180,'
        'CODECS="avc1.42c00d,mp4a.40.2",SUBTITLES="s"\nfilm.m3u8\n'
    )
    (folder / "dash").mkdir()
    make(
        folder / "dash" / "film.mpd",
        *("-i", f"file:{video}", "-c", "copy", "-f", "dash", "-seg_duration", "1"),
    )


def feed(folder: Path, web: Web, count: int, name: str = "feed.xml") -> None:
    """Writes a page with that many videos, as RSS."""
    items = "".join(
        f"<item><title>Part {n}</title><link>{web.url(f'film.mp4?part={n}')}</link></item>"
        for n in range(1, count + 1)
    )
    (folder / name).write_text(
        f'<?xml version="1.0"?><rss version="2.0"><channel><title>All parts</title>{items}'
        "</channel></rss>"
    )


def hls_of(folder: Path, name: str, *segments: str) -> None:
    lines = "".join(f"#EXTINF:1.0,\n{segment}\n" for segment in segments)
    (folder / name).write_text(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-PLAYLIST-TYPE:VOD\n"
        f"{lines}#EXT-X-ENDLIST\n"
    )


def redirect(to: str) -> Callable[[_Handler], None]:
    return lambda handler: handler.respond(302, b"", Location=to)


def refusing(status: int, times: int, then: Callable[[_Handler], None]) -> Any:
    """Answers with that status `times` times, then as usual."""
    left = [times]

    def answer(handler: _Handler) -> None:
        if left[0]:
            left[0] -= 1
            handler.respond(status, b"", Retry_After="60")
            return
        then(handler)

    return answer


def stalling(web: Web, path: Path, times: int) -> Callable[[_Handler], None]:
    """Sends half of the file, then nothing until the test is over; `times` times."""
    left = [times]

    def answer(handler: _Handler) -> None:
        size = path.stat().st_size
        if not left[0] or handler.command == "HEAD":
            handler.file(path)
            return
        left[0] -= 1
        start = handler.start_of(size)
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        handler.send_header("Content-Type", "video/mp4")
        handler.send_header("Content-Length", str(size - start))
        handler.send_header("Accept-Ranges", "bytes")
        handler.end_headers()
        handler.wfile.write(path.read_bytes()[start : max(start + 1, size // 2)])
        handler.wfile.flush()
        web.go_on.wait(60)

    return answer


def huge(size: int) -> Callable[[_Handler], None]:
    """Announces that size, and sends slowly."""

    def answer(handler: _Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "video/mp4")
        handler.send_header("Content-Length", str(size))
        handler.end_headers()
        if handler.command != "HEAD":
            with suppress(OSError):
                while not handler.web.go_on.wait(0.01):
                    handler.wfile.write(bytes(65536))

    return answer


def endless(head: bytes, more: bytes) -> Callable[[_Handler], None]:
    """Sends an endless page."""

    def answer(handler: _Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/rss+xml")
        handler.send_header("Connection", "close")
        handler.close_connection = True
        handler.end_headers()
        with suppress(OSError):
            handler.wfile.write(head)
            while not handler.web.go_on.wait(0.02):
                handler.wfile.write(more)

    return answer


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
