"""The product's own web server in a process of its own, on the test's database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from urllib.error import HTTPError
from urllib.request import urlopen

from streams.tests.bench.node import MANAGE, Bench
from streams.tests.bench.rtmp import free_port
from streams.tests.bench.waiting import until


class Site:
    """A server whose port stays the same across `start` and `kill`."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        environment = {"HOST": "127.0.0.1", "PORT": str(self.port)}
        with (self.bench.folder / "web.log").open("ab") as log:
            self._process = subprocess.Popen(
                (sys.executable, "-m", "gunicorn", "--config", "python:streamsite.web"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=MANAGE.parent,
                env=self.bench.environment() | environment,
                start_new_session=True,
            )
        until(self._answers, 40, "the site is open")

    def _answers(self) -> bool:
        """Whether a worker answers: the port is open seconds before that."""
        try:
            urlopen(f"{self.url}/health", timeout=5).close()  # noqa: S310 - our own server
        except HTTPError:
            # 503: a channel is off the air.
            return True
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """Send SIGKILL to the master and its workers."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
            self._process = None
