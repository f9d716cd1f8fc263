"""gunicorn for tests: the pages as they are served, over the database of the test."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.db import connection

from conftest import need
from streams.tests.bench.rtmp import free_port
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


@contextmanager
def behind_nginx(folder: Path, running: Served) -> Iterator[Served]:
    """Starts nginx as deploy/nginx has it, before what the folder's socket serves."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    need(program, "nginx")
    port, inner = free_port(), free_port()
    config = folder / "nginx.conf"
    config.write_text(configured(folder, port, inner))
    log = folder / "nginx.log"
    with log.open("wb") as out:
        nginx = subprocess.Popen(
            (str(program), "-p", str(folder), "-c", str(config), "-e", "stderr"), stderr=out
        )
    try:
        until(lambda: is_open(port) or nginx.poll() is not None, 60, "nginx is open")
        assert nginx.poll() is None, log.read_text()
        yield Served(port, running.process, running.log)
    finally:
        nginx.terminate()
        nginx.wait(10)


def configured(folder: Path, port: int, inner: int) -> str:
    """deploy/nginx's own files, with the places of this test."""
    proxy = folder / "proxy.conf"
    shutil.copy(ROOT / "deploy/nginx/streamsite-proxy.conf", proxy)
    text = (ROOT / "deploy/nginx/streamsite.conf").read_text()
    for there, here in {
        "/run/streamsite-web.sock": str(folder / "web.sock"),
        "/etc/nginx/snippets/streamsite-proxy.conf": str(proxy),
        "listen 80;": f"listen 127.0.0.1:{port};",
        "    listen [::]:80;\n": "",
        "listen 127.0.0.1:8000;": f"listen 127.0.0.1:{inner};",
        "tv.example.org": "127.0.0.1",
    }.items():
        assert there in text
        text = text.replace(there, here)
    # As root, nginx's worker would be nobody, who may not open the socket.
    return (
        f"daemon off; master_process off; pid {folder}/nginx.pid; worker_processes 1;\n"
        "events {}\n"
        f"http {{ access_log off; client_body_temp_path {folder}/body;"
        f" proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;"
        f" uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n{text}}}\n"
    )


def _answers(where: Path | int) -> bool:
    with socket.socket(socket.AF_UNIX if isinstance(where, Path) else socket.AF_INET) as sock:
        sock.settimeout(30)
        try:
            sock.connect(str(where) if isinstance(where, Path) else ("127.0.0.1", where))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        sock.sendall(b"GET /health HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        return sock.recv(5) == b"HTTP/"


def is_open(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
