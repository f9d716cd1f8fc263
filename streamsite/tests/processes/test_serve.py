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
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from streams.playout.ffmpeg.process import marked_pids, stop_everything
from streams.tests.bench.rtmp import RtmpServer, free_port
from streams.tests.bench.waiting import until
from streamsite import settings as site
from streamsite.tests.memory import bare, installation, table
from streamsite.tests.waiting import Patience

ROOT = Path(__file__).parents[3]
KEY = "k3y-of-a-test-9876"
PASSWORD = "pass-of-a-test-5432"


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
        env = {
            name: value for name, value in os.environ.items() if name not in site.env.defaults
        }
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
                reported: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            return dict(json.load(error))
        except OSError:
            return {}
        return reported

    def state(self) -> str:
        """The Demo channel's, when a supervisor tells it."""
        return next((str(c["state"]) for c in self.health().get("channels", ())), "")

    def on_air(self) -> bool:
        return self.state() == "on_air"

    def ffmpeg(self) -> set[int]:
        return set(marked_pids(self.run_dir))


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


@pytest.mark.slow
def test_port_in_use_is_reported_in_one_sentence(tmp_path: Path) -> None:
    with a_site(tmp_path) as place, closing(socket.socket()) as other:
        other.bind(("127.0.0.1", place.port))
        other.listen()
        migrate = place.start(sys.executable, "manage.py", "migrate", "--verbosity", "0")
        assert migrate.wait(60) == 0
        assert place.start(sys.executable, "manage.py", "serve").wait(60) == 1
        assert f"Port {place.port} of 127.0.0.1 is in use" in place.log
        assert "Traceback" not in place.log


@pytest.mark.slow
def test_database_without_tables_is_reported(tmp_path: Path) -> None:
    with a_site(tmp_path) as place:
        assert place.start(sys.executable, "manage.py", "serve").wait(60) == 1
        assert "The database is not up to date. Type: manage.py migrate" in place.log


@pytest.fixture(scope="module")
def youtube(tmp_path_factory: pytest.TempPathFactory, nginx_rtmp: Path) -> Iterator[RtmpServer]:
    server = RtmpServer(tmp_path_factory.mktemp("rtmp"), nginx_rtmp)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, ffmpeg: str, youtube: RtmpServer
) -> Iterator[Site]:
    """A first run, until the Demo channel is on air."""
    with a_site(tmp_path_factory.mktemp("site")) as place:
        first = place.start(
            "deploy/run.sh",
            ADMIN_PASSWORD=PASSWORD,
            YOUTUBE_STREAM_KEY=KEY,
            YOUTUBE_RTMP_URL=youtube.address,
        )
        until(lambda: place.on_air() or first.poll() is not None, 400, "on air")
        assert first.poll() is None, place.log
        yield place


@pytest.mark.slow
class TestRun:
    """In the order in which it happens to an operator."""

    def test_first_run_reports_address_and_account(self, running: Site) -> None:
        assert f"streamsite: open http://127.0.0.1:{running.port}/admin/" in running.log
        steps = (
            *("looking at what this machine has", "bringing the database up to date"),
            *("collecting the static files", "looking for account", "clips are made in the"),
            *("streamsite: starting", "streamsite: open"),
        )
        output = [running.log.index(step) for step in steps]
        assert output == sorted(output)
        # The pages were there before there was anything to play.
        assert output[-1] < running.log.index("On air: ")
        reported = r"Account +operator\n +Password +the one in ADMIN_PASSWORD"
        assert re.search(reported, running.log)

    def test_it_shares_what_it_loads(self, running: Site) -> None:
        """In memory, what one process takes alone is the measure. Jobs' own FFmpeg is not."""
        assert running.process is not None
        processes = [p for p in installation(running.process.pid, running.run_dir) if p.part]
        python = [p for p in processes if "ffmpeg" not in p.command]
        playout = [p for p in processes if p.on_air]
        one = bare(running.environment())
        # 4.3 and 1.7 are usual; it was 11 and 2.6 with a copy of the program in each process.
        assert sum(p.pss for p in processes) < 5 * one, table(processes)
        assert sum(p.pss for p in playout) < 2 * one, table(processes)
        # The parent, three for the pages, the supervisor, the jobs' and as many as jobs need.
        assert len(python) <= 12, table(processes)

    def test_neither_key_nor_password_shows_anywhere(self, running: Site) -> None:
        places = [*Path("/proc").glob("[0-9]*/environ"), *Path("/proc").glob("[0-9]*/cmdline")]
        places += [path for path in running.folder.rglob("*") if path.is_file()]
        checked = 0
        for path in places:
            try:
                held = path.read_bytes()
            except OSError:
                continue
            checked += 1
            assert KEY.encode() not in held, path
            assert PASSWORD.encode() not in held, path
        assert checked > 10

    def test_children_that_die_are_started_again(self, running: Site) -> None:
        """All at once; FFmpeg plays on, and the new supervisor adopts it."""
        assert running.process is not None
        parent, playing = running.process.pid, running.ffmpeg()
        words = ("gunicorn", "run_cluster playout", "run_cluster background")
        killed = [child(parent, word) for word in words]
        for process in killed:
            process.kill()
        for word, process in zip(words, killed, strict=True):
            until(lambda w=word, p=process: child(parent, w).pid != p.pid, 60, f"a new {word}")  # type: ignore[misc]  # bound now
        until(running.on_air, 60, "the pages again")
        assert running.ffmpeg() & playing

    def test_after_sigkill_ffmpeg_plays_on_and_is_adopted(
        self, running: Site, youtube: RtmpServer
    ) -> None:
        assert running.process is not None
        family = psutil.Process(running.process.pid).children(recursive=True)
        python = [process for process in family if "ffmpeg" not in process.name()]
        running.process.kill()
        running.process.wait()
        # Before the rest: what waits behind the present item lasts for forty seconds.
        youtube.until_sent(KEY, seconds=3, bitrate=3_000_000, within=20)
        assert living(psutil.wait_procs(python, timeout=Patience.bound(10))[1]) == []
        running.start("deploy/run.sh")
        until(running.on_air, 90, "on air again")
        youtube.until_sent(KEY, seconds=3, bitrate=3_000_000, within=20)
        assert youtube.sessions(KEY) == 1
        assert "The static files have not changed." in running.log
        # Neither a second Demo nor a new password.
        assert running.log.count("Account ") == 1
        assert len(running.health()["channels"]) == 1

    def test_sigterm_ends_everything_within_ten_seconds(self, running: Site) -> None:
        assert running.process is not None
        ours = psutil.Process(running.process.pid).children(recursive=True)
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(Patience.bound(15)) == 0
        assert time.monotonic() - began < Patience.bound(10)
        assert running.ffmpeg() == set()
        assert living(psutil.wait_procs(ours, timeout=1)[1]) == []
        assert "Traceback" not in running.log


def living(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended: an orphan is a zombie until this machine's init looks."""
    result = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                result.append(process)
    return result


def child(parent: int, word: str) -> psutil.Process:
    """The child whose command line holds the word; waits for its start."""

    def check() -> list[psutil.Process]:
        result = []
        for process in psutil.Process(parent).children():
            with suppress(psutil.Error):
                if word in " ".join(process.cmdline()):
                    result.append(process)
        return result

    return until(check, 60, f"a child with {word} in its command line")[0]
