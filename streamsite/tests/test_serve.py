"""`deploy/run.sh` and `manage.py serve`, from the first start to the last process."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from streams.playout.process import marked, stop_everything
from streams.tests.bench.waiting import until
from streamsite import settings as site

ROOT = Path(__file__).parents[2]
KEY = "k3y-of-a-test-9876"
PASSWORD = "pass-of-a-test-5432"


def free_port() -> int:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@dataclass
class Site:
    """A streamsite of its own: folders, port, and the program that serves it."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def run_dir(self) -> Path:
        return self.folder / "run"

    def environment(self, **more: str) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if name not in site.env.asked}
        env.pop("DJANGO_SETTINGS_MODULE", None)
        return env | {
            "ENV_FILE": os.devnull,
            "DATA_DIR": str(self.folder / "data"),
            "RUN_DIR": str(self.run_dir),
            "PORT": str(self.port),
            "PYTHON": sys.executable,
            **more,
        }

    def start(self, *command: str, **more: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment(**more),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        return self.process

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def health(self) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health") as answer:
                told: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            return dict(json.load(error))
        except OSError:
            return {}
        return told

    def state(self) -> str:
        """The Demo channel's, when a supervisor tells it."""
        return next((str(c["state"]) for c in self.health().get("channels", ())), "")

    def on_air(self) -> bool:
        return self.state() in {"on_air", "degraded"}

    def ffmpeg(self) -> set[int]:
        return set(marked(self.run_dir))


@contextmanager
def a_site(folder: Path) -> Iterator[Site]:
    place = Site(folder)
    place.folder.mkdir(exist_ok=True)
    try:
        yield place
    finally:
        if place.process is not None:
            with suppress(ProcessLookupError):
                place.process.kill()
            place.process.wait()
        if place.run_dir.is_dir():
            stop_everything(place.run_dir)


def test_port_in_use_is_told_in_one_sentence(tmp_path: Path) -> None:
    with a_site(tmp_path) as place, closing(socket.socket()) as other:
        other.bind(("127.0.0.1", place.port))
        other.listen()
        migrate = place.start(sys.executable, "manage.py", "migrate", "--verbosity", "0")
        assert migrate.wait(60) == 0
        assert place.start(sys.executable, "manage.py", "serve").wait(60) == 1
        assert f"Port {place.port} of 127.0.0.1 is in use" in place.log
        assert "Traceback" not in place.log


def test_database_without_tables_is_told(tmp_path: Path) -> None:
    with a_site(tmp_path) as place:
        assert place.start(sys.executable, "manage.py", "serve").wait(60) == 1
        assert "The database is not up to date. Type: manage.py migrate" in place.log


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, ffmpeg: str) -> Iterator[Site]:
    """A first run, until the Demo channel is on air. It sends to where nobody listens."""
    with a_site(tmp_path_factory.mktemp("site")) as place:
        place.start(
            "deploy/run.sh",
            ADMIN_PASSWORD=PASSWORD,
            YOUTUBE_STREAM_KEY=KEY,
            YOUTUBE_RTMP_URL=f"rtmp://127.0.0.1:{free_port()}/live",
        )
        until(place.on_air, 400, "on air after the first deploy/run.sh")
        yield place


@pytest.mark.slow
class TestRun:
    """In the order in which it happens to an operator."""

    def test_first_run_tells_address_and_account(self, running: Site) -> None:
        assert f"streamsite: open http://127.0.0.1:{running.port}/admin/" in running.log
        assert re.search(
            r"Account +operator\n +Password +the one in ADMIN_PASSWORD", running.log
        )

    def test_neither_key_nor_password_shows_anywhere(self, running: Site) -> None:
        places = [*Path("/proc").glob("[0-9]*/environ"), *Path("/proc").glob("[0-9]*/cmdline")]
        places += [path for path in running.folder.rglob("*") if path.is_file()]
        looked = 0
        for path in places:
            try:
                held = path.read_bytes()
            except OSError:
                continue
            looked += 1
            assert KEY.encode() not in held, path
            assert PASSWORD.encode() not in held, path
        assert looked > 10

    def test_child_that_dies_is_started_again(self, running: Site) -> None:
        assert running.process is not None
        before = running.ffmpeg()
        web = child(running.process.pid, "gunicorn")
        web.kill()
        until(lambda: web.pid != child(running.process.pid, "gunicorn").pid, 20, "a new web")
        until(running.on_air, 30, "the pages again")
        assert before <= running.ffmpeg() | before
        assert steady(running) & before, "FFmpeg did not notice"

    def test_after_sigkill_ffmpeg_plays_on_and_is_adopted(self, running: Site) -> None:
        assert running.process is not None
        ours = psutil.Process(running.process.pid).children(recursive=True)
        before = steady(running)
        python = [p for p in ours if p.pid not in before and "ffmpeg" not in p.name()]
        running.process.kill()
        running.process.wait()
        gone, alive = psutil.wait_procs(python, timeout=10)
        assert not alive
        assert gone
        assert before <= running.ffmpeg()
        running.start("deploy/run.sh")
        until(running.on_air, 60, "on air again")
        assert before & running.ffmpeg(), "nothing was adopted"
        # Neither a second Demo nor a new password.
        assert running.log.count("Account ") == 1
        assert len(running.health()["channels"]) == 1

    def test_sigterm_ends_everything_within_ten_seconds(self, running: Site) -> None:
        assert running.process is not None
        ours = psutil.Process(running.process.pid).children(recursive=True)
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(15) == 0
        assert time.monotonic() - began < 10
        assert running.ffmpeg() == set()
        assert not psutil.wait_procs(ours, timeout=1)[1]
        assert "Traceback" not in running.log


def child(parent: int, word: str) -> psutil.Process:
    """The child whose command line holds the word; waits for its start."""

    def look() -> list[psutil.Process]:
        found = []
        for process in psutil.Process(parent).children():
            with suppress(psutil.Error):
                if word in " ".join(process.cmdline()):
                    found.append(process)
        return found

    return until(look, 20, f"a child with {word} in its command line")[0]


def steady(place: Site) -> set[int]:
    """Hub and whatever else lives longer than a moment: the pusher comes and goes."""

    def lasting() -> set[int]:
        return {
            pid for pid in place.ffmpeg()
            if psutil.pid_exists(pid) and "live.m3u8" in psutil.Process(pid).cmdline()[-1]
        }  # fmt: skip

    return until(lasting, 10, "a hub")
