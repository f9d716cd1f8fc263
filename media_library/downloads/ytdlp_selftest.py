"""Checks one environment's yt-dlp, and tests it before jobs use it.

The test is a complete download with proxy and runner, of a file that this process serves: it
needs no network, and detects a yt-dlp that can't be imported, that no longer knows a parameter,
or that delivers other bytes than were served.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from media_library.downloads.errors import plain
from media_library.downloads.options import Options, Place, parameters
from media_library.downloads.process import Runner, RunnerError, behind_proxy, limits
from streamsite.security.ssrf import Rules

#: Seconds for the check and for the test; both take two on an idle machine.
ABOUT_TIMEOUT_S: Final = 60.0
TRIAL_TIMEOUT_S: Final = 120.0
#: Bytes that are served: no video, but yt-dlp does not inspect the content.
VIDEO: Final = bytes(range(256)) * 64


class SelfTestError(Exception):
    """yt-dlp can't be used. `str()` gives the reason."""


@dataclass(frozen=True, slots=True)
class About:
    """The versions of a working yt-dlp; `runtime` is empty if it finds no deno."""

    version: str
    python: str
    runtime: str
    #: Interpreter of streamsite's own environment, or of a later one.
    interpreter: str


def about(interpreter: str) -> About:
    """Runs yt-dlp in that environment and returns its versions. Raises `SelfTestError`."""
    with TemporaryDirectory(prefix="streamsite-about-") as name:
        order = {"mode": "about", "folder": name, "limits": limits(0), "parameters": {}}
        with _errors(), Runner(order, folder=Path(name), python=interpreter) as runner:
            end = _conclusion(runner, ABOUT_TIMEOUT_S)
    if end.get("kind") != "about":
        raise SelfTestError(_why(end))
    versions = {name: str(end[name])[:64] for name in ("version", "python", "runtime")}
    return About(**versions, interpreter=interpreter)


def try_out(interpreter: str) -> About:
    """Tests a complete download from this machine. Raises `SelfTestError`."""
    version = about(interpreter)
    with TemporaryDirectory(prefix="streamsite-canary-") as name, _site() as port:
        rules = Rules(frozenset({port}), (ip_network("127.0.0.1/32"),))
        plainest = Options(thumbnail=False, metadata=False, chapters=False)

        def order(place: Place) -> dict[str, Any]:
            url = f"http://127.0.0.1:{port}/canary.mp4"
            return {"mode": "download", "url": url, "parameters": parameters(plainest, place)}

        run = behind_proxy(
            order, Path(name), interpreter, rules, any_site=True, max_bytes=10 * len(VIDEO)
        )
        with _errors(), run as (runner, _):
            end = _conclusion(runner, TRIAL_TIMEOUT_S)
        if end.get("kind") != "done":
            raise SelfTestError(_why(end))
        received = Path(name) / Path(end["file"]).name
        if not received.is_file() or received.read_bytes() != VIDEO:
            raise SelfTestError("it delivered other bytes than were served.")
    return version


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except RunnerError as error:
        raise SelfTestError(str(error)) from None


def _conclusion(runner: Runner, within_s: float) -> dict[str, Any]:
    if (end := runner.conclusion(within_s)) is None:
        raise SelfTestError(f"it took longer than {within_s:.0f} s.")
    return end


def _why(end: dict[str, Any]) -> str:
    if not end:
        return "it ended without a result."
    return plain(f"{end.get('type', '')}: {end.get('text', '')}")


class _VideoHandler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Logs nothing: the only client is known."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Length", str(len(VIDEO)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(VIDEO)


@contextmanager
def _site() -> Iterator[int]:
    """Serves the file; yields the port on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _VideoHandler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="canary")
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
