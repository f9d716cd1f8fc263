"""Clients that ask for much and leave, against gunicorn, directly and behind nginx."""

from __future__ import annotations

import http.client
import socket
import statistics
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from django.utils import timezone

from streams.monitoring.thumbnail import folder as channel_folder
from streams.tests import rows
from streamsite.api import keys
from streamsite.api.permissions import KeyPermission
from streamsite.tests.figures import Figures
from streamsite.tests.serving import Served, behind_nginx, served

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
#: More than there are threads in two workers, at the same time.
STALLED = 48
#: Bytes: more than sockets and nginx's buffers hold.
LARGE = 24_000_000


@pytest.fixture(params=["direct", "nginx"])
def site(
    transactional_db: None, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Served]:
    nginx = request.param == "nginx"
    with ExitStack() as stack:
        running = stack.enter_context(served(tmp_path, bind="unix" if nginx else "port"))
        yield stack.enter_context(behind_nginx(tmp_path, running)) if nginx else running
    assert "Traceback" not in running.log.read_text()


@pytest.fixture
def requests_of_much() -> tuple[bytes, ...]:
    """A streamed file, and an answer that is in memory as a whole."""
    channel = rows.channel()
    hls = channel_folder(channel.pk) / "hls"
    hls.mkdir(parents=True, exist_ok=True)
    (hls / "large.ts").write_bytes(bytes(LARGE))
    (hls / "live.m3u8").write_bytes(b"#" + b"x" * 1_000_000)
    _, key = keys.mint(
        "tests",
        KeyPermission.READ_ONLY,
        by="ada",
        now=timezone.now(),
        requests_per_minute=100_000,
    )
    return tuple(
        f"GET /api/v1/channels/demo/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"X-API-Key: {key.reveal()}\r\n\r\n".encode()
        for path in ("preview/large.ts", "preview.m3u8")
    )


def requested(port: int, request: bytes) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), 30)
    sock.sendall(request)
    return sock


def abort(sock: socket.socket) -> None:
    """RST, as of a program that was killed with data unread."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def health(port: int) -> float:
    """Seconds until /health has answered."""
    began = time.monotonic()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as line:
        line.request("GET", "/health")
        line.getresponse().read()
    return time.monotonic() - began


def p99(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100)[98]


@pytest.mark.measured
def test_aborted_answers_hold_up_no_page(
    site: Served, requests_of_much: tuple[bytes, ...], figures: Figures
) -> None:
    count, pause = (400, 0.15) if figures.exact else (100, 0.0)
    for _ in range(50):
        health(site.port)
    quiet = [health(site.port) for _ in range(300 if figures.exact else 30)]
    busy: list[float] = []
    done = threading.Event()

    def request_health() -> None:
        while not done.wait(0.05):
            busy.append(health(site.port))

    calling = threading.Thread(target=request_health)
    calling.start()
    try:
        held = [requested(site.port, requests_of_much[n % 2]) for n in range(STALLED)]
        for number in range(count):
            sock = requested(site.port, requests_of_much[number % 2])
            if number % 4 >= 2:
                # Half of them leave in the middle.
                sock.recv(1000)
            abort(sock)
            time.sleep(pause)
        for sock in held:
            abort(sock)
    finally:
        done.set()
        calling.join(60)
    after = [health(site.port) for _ in range(30)]
    figures.record("quiet p99 ms", round(p99(quiet) * 1000, 1))
    figures.record("busy p99 ms", round(p99(busy) * 1000, 1))
    figures.record("after, longest ms", round(max(after) * 1000, 1))
    assert len(busy) > 5
    assert max(after) < 10
    assert p99(busy) < (3 * p99(quiet) if figures.exact else 20)
    # A page of each kind still comes whole.
    with closing(http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)) as line:
        head = requests_of_much[0].decode().split("\r\n")
        line.request("GET", head[0].split()[1], headers={"X-API-Key": head[2].split()[1]})
        assert len(line.getresponse().read()) == LARGE


def test_stalled_uploads_and_headers_hold_up_no_page(site: Served) -> None:
    upload = (
        b"POST /admin/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 400000\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n\r\nusername="
    )
    held = [requested(site.port, upload) for _ in range(STALLED)]
    held += [requested(site.port, upload.replace(b"400000", b"4000")) for _ in range(STALLED)]
    held += [requested(site.port, b"GET / HTTP/1.1\r\nHost: 127") for _ in range(STALLED)]
    try:
        assert max(health(site.port) for _ in range(20)) < 15
    finally:
        for sock in held:
            sock.close()
