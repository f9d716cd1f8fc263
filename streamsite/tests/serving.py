"""gunicorn for tests: the pages as they are served, over the database of the test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.db import connection

from streamsite.tests.waiting import until

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Served:
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"


@contextmanager
def served(folder: Path, bind: str = "port") -> Iterator[Served]:
    """Ends it with SIGTERM. The test must have written for others to see: transactional_db.

    `bind`: port, or unix: the socket `web.sock` in the folder.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    log = folder / "gunicorn.log"
    env = os.environ | {
        "DJANGO_SETTINGS_MODULE": "streamsite.tests.served_settings",
        "TEST_DATABASE": str(connection.settings_dict["NAME"]),
        "PORT": str(port),
        "PYTHONPATH": str(ROOT),
    }
    place = folder / "web.sock"
    more = ("--bind", f"unix:{place}") if bind == "unix" else ()
    with log.open("ab") as out:
        process = subprocess.Popen(
            (sys.executable, "-m", "gunicorn", "--config", "python:streamsite.web", *more),
            cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        until(
            lambda: place.exists() or is_open(port) or process.poll() is not None,
            30,
            "the port is open",
        )
        assert process.poll() is None, log.read_text()
        # It is open before a worker has loaded the site, which on a busy machine takes long.
        until(lambda: _answers(place if bind == "unix" else port), 60, "it answers")
        yield Served(port, process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _answers(where: Path | int) -> bool:
    with socket.socket(socket.AF_UNIX if isinstance(where, Path) else socket.AF_INET) as sock:
        sock.settimeout(30)
        sock.connect(str(where) if isinstance(where, Path) else ("127.0.0.1", where))
        sock.sendall(b"GET /health HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        return sock.recv(5) == b"HTTP/"


def is_open(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
