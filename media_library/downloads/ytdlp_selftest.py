"""One environment's yt-dlp, asked what it is, and tried before jobs get it.

The trial is a whole download as jobs have them, by proxy and runner, of a file that is served
here: the network is not needed, and a yt-dlp that can't be imported, that knows the parameters
no more, or brings something else than what was served, is found out.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from django.conf import settings

from media_library.downloads.errors import UPCOMING, plain
from media_library.downloads.options import PROTOCOLS, Options, Place, parameters
from media_library.downloads.process import Runner, RunnerError, limits
from media_library.downloads.proxy import Proxy
from streamsite.security.ssrf import Rules

#: Seconds for the question and for the trial; both take two on an idle machine.
ASKED: Final = 60.0
TRIED: Final = 120.0
#: Bytes that are served: no film, but yt-dlp does not look inside.
FILM: Final = bytes(range(256)) * 64


class CanaryError(Exception):
    """It can't be used. `str()` says what it did."""


@dataclass(frozen=True, slots=True)
class About:
    """yt-dlp as it really runs; `runtime` is empty where it finds no deno."""

    version: str
    python: str
    runtime: str
    #: Of streamsite's own environment, or of one that was made later.
    interpreter: str


def about(interpreter: str) -> About:
    """Asked of that interpreter itself. Raises `CanaryError`."""
    with TemporaryDirectory(prefix="streamsite-about-") as name:
        order = {"mode": "about", "folder": name, "limits": limits(0), "parameters": {}}
        end = _end_of(order, Path(name), interpreter, ASKED)
    if end.get("kind") != "about":
        raise CanaryError(_why(end))
    said = {each: str(end[each])[:64] for each in ("version", "python", "runtime")}
    return About(**said, interpreter=interpreter)


def try_out(interpreter: str) -> About:
    """A whole download with it, from this machine. Raises `CanaryError`."""
    found = about(interpreter)
    with TemporaryDirectory(prefix="streamsite-canary-") as name, _site() as port:
        rules = Rules(frozenset({port}), (ip_network("127.0.0.1/32"),))
        with Proxy(rules) as proxy:
            place = Place(
                folder=name,
                proxy=proxy.url.reveal(),
                ffmpeg=shutil.which(settings.FFMPEG_PATH) or settings.FFMPEG_PATH,
                any_site=True,
            )
            plainest = Options(thumbnail=False, metadata=False, chapters=False)
            order = {
                "mode": "download",
                "url": f"http://127.0.0.1:{port}/canary.mp4",
                "folder": name,
                "limits": limits(len(FILM)),
                "most_bytes": len(FILM),
                "protocols": PROTOCOLS,
                "upcoming": UPCOMING,
                "parameters": parameters(plainest, place),
                "subtitles": None,
            }
            end = _end_of(order, Path(name), interpreter, TRIED)
        if end.get("kind") != "done":
            raise CanaryError(_why(end))
        came = Path(name) / Path(end["file"]).name
        if not came.is_file() or came.read_bytes() != FILM:
            raise CanaryError("what it brought is not what was there.")
    return found


def _end_of(
    order: dict[str, Any], folder: Path, interpreter: str, within: float
) -> dict[str, Any]:
    try:
        with Runner(order, folder=folder, python=interpreter) as runner:
            end = runner.conclusion(within)
    except RunnerError as error:
        raise CanaryError(str(error)) from None
    if end is None:
        raise CanaryError(f"it took longer than {within:.0f} s.")
    return end


def _why(end: dict[str, Any]) -> str:
    if not end:
        return "it ended without a word."
    return plain(f"{end.get('type', '')}: {end.get('text', '')}")


class _Film(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Whom it serves is known."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Length", str(len(FILM)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(FILM)


@contextmanager
def _site() -> Iterator[int]:
    """The port of this machine where the film is."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Film)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="canary")
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
