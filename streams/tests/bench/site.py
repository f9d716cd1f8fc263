"""The product's own web server in a process of its own, on the test's database."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

from streams.tests.bench.node import MANAGE, Bench
from streams.tests.bench.rtmp import free_port
from streams.tests.bench.waiting import until


class Site:
    """`start` and `kill` as often as you like: the port stays."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        told = {"HOST": "127.0.0.1", "PORT": str(self.port)}
        with (self.bench.folder / "web.log").open("ab") as log:
            self._process = subprocess.Popen(
                (sys.executable, "-m", "gunicorn", "--config", "python:streamsite.web"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=MANAGE.parent,
                env=self.bench.environment() | told,
                start_new_session=True,
            )
        until(self._answers, 40, "the site is open")

    def _answers(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """SIGKILL to the master and its workers."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
            self._process = None
