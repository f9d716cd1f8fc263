"""Downloads for tests: one try in this process, and the real cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from django.conf import settings as configured
from django.utils import timezone

from media_library.downloads import alive, attempt, jobs, worker
from media_library.downloads.jobs import Order
from media_library.downloads.options import Options
from media_library.models import DownloadJob
from media_library.tests.web import Web
from streamsite.tests.database import database_url

MANAGE = Path(configured.BASE_DIR) / "manage.py"
#: An order that may use any site.
ADMIN = Order(by="ada", owner="user:1", any_site=True)


class Cluster:
    """The downloads' cluster as `run_cluster downloads` starts it, on the tests' database."""

    def __init__(self, site: Web, folder: Path, tmp_path: Path, *, at_once: int = 1) -> None:
        self._environment = os.environ | {
            "DATABASE_URL": database_url(),
            "DATA_DIR": str(tmp_path / "data"),
            "RUN_DIR": str(tmp_path / "run"),
            "MEDIA_FOLDER": str(folder),
            "DOWNLOAD_PORTS": str(site.port),
            "DOWNLOAD_NETWORKS": "127.0.0.1/32",
            "DOWNLOAD_JOBS": str(at_once),
            # Signs the messages of the queue.
            "SECRET_KEY": configured.SECRET_KEY,
            "FIELD_KEYS": ",".join(configured.FIELD_KEYS),
            "LOG_FORMAT": "json",
            "DJANGO_SETTINGS_MODULE": "streamsite.settings",
        }
        self._log = tmp_path / "cluster.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                (sys.executable, MANAGE, "run_cluster", "downloads"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    def runner(self) -> psutil.Process | None:
        assert self.process is not None
        below = psutil.Process(self.process.pid).children(recursive=True)
        return next(
            (process for process in below if "runner.py" in " ".join(process.cmdline())), None
        )

    def stop(self) -> None:
        """Sends SIGTERM to all processes, like systemd."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(15)
        self.process = None

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
            self.process = None

    @property
    def log(self) -> str:
        return self._log.read_text()


def order(url: str, *, terms: Order = ADMIN, **options: Any) -> DownloadJob:
    return jobs.add(url, Options(**options), terms)


def worked(job: DownloadJob, **timeouts: float) -> DownloadJob:
    """Runs one try of the job; afterwards nothing runs and nothing is left over."""
    now = timezone.now()
    taken = jobs.take(job.pk, now)
    assert taken is not None
    worker.work(taken, timeouts=attempt.Timeouts(**timeouts))
    assert not at_work()
    job.refresh_from_db()
    assert job.reserved_bytes == 0
    assert not job.claim
    return job


def at_work() -> list[str]:
    """Returns the command lines of runners that this process started, and of FFmpeg."""
    return [" ".join(process.cmdline()) for process in running()]


def running() -> list[psutil.Process]:
    """Returns the unfinished ones. Other children are zombies, or browsers of other tests."""
    processes = []
    for process in psutil.Process().children(recursive=True):
        # It may end between two calls.
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE and _is_ours(process.cmdline()):
                processes.append(process)
    return processes


def _is_ours(command: Sequence[str]) -> bool:
    names = {Path(word).name for word in command[:3]}
    return not names.isdisjoint({"runner.py", "ffmpeg", "ffprobe"})


def outside(tmp_path: Path, media: Path, job: DownloadJob) -> list[str]:
    """Returns all files outside the job's folder and the storage."""
    return sorted(
        str(path.relative_to(tmp_path))
        for path in tmp_path.rglob("*")
        if path.is_file()
        and jobs.folder_of(job) not in path.parents
        and media not in path.parents
        and path.name != alive.ALIVE_FILE
    )


def files_of(job: DownloadJob) -> list[Path]:
    return [path for path in jobs.folder_of(job).rglob("*") if path.is_file()]
