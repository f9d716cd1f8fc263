"""Downloads for tests: one try here, and the cluster as it runs in production."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from django.conf import settings as configured
from django.utils import timezone

from media_library.downloads import attempt, jobs, worker
from media_library.downloads.jobs import Order
from media_library.downloads.options import Options
from media_library.models import DownloadJob
from media_library.tests.web import Web
from streamsite.tests.database import database_url

MANAGE = Path(configured.BASE_DIR) / "manage.py"
#: Who may name any site.
ADMIN = Order(by="ada", owner="user:1", any_site=True)


class Cluster:
    """The downloads' cluster as `run_cluster downloads` runs it, on the tests' database."""

    def __init__(self, site: Web, folder: Path, tmp_path: Path, *, at_once: int = 1) -> None:
        self._environment = os.environ | {
            "DATABASE_URL": database_url(),
            "DATA_DIR": str(tmp_path / "data"),
            "RUN_DIR": str(tmp_path / "run"),
            "MEDIA_FOLDER": str(folder),
            "DOWNLOAD_PORTS": str(site.port),
            "DOWNLOAD_NETWORKS": "127.0.0.1/32",
            "DOWNLOAD_JOBS": str(at_once),
            # It signs the messages of the queue.
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
        return next((each for each in below if "runner.py" in " ".join(each.cmdline())), None)

    def stop(self) -> None:
        """SIGTERM to all of it, as systemd sends it."""
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


def order(url: str, *, terms: Order = ADMIN, **wanted: Any) -> DownloadJob:
    return jobs.add(url, Options(**wanted), terms)


def worked(job: DownloadJob, **patience: float) -> DownloadJob:
    """The job after one try, and nothing left running or lying about."""
    now = timezone.now()
    taken = jobs.take(job.pk, now)
    assert taken is not None
    worker.work(taken, timeouts=attempt.Timeouts(**patience))
    assert not at_work()
    job.refresh_from_db()
    assert job.reserved_bytes == 0
    assert not job.claim
    return job


def at_work() -> list[str]:
    """Command lines of runners that this process started, and of FFmpeg."""
    return [" ".join(each.cmdline()) for each in running()]


def running() -> list[psutil.Process]:
    """What this process started and has not ended: another test may have left a zombie."""
    found = []
    for each in psutil.Process().children(recursive=True):
        # It may end between two questions.
        with suppress(psutil.NoSuchProcess):
            if each.status() != psutil.STATUS_ZOMBIE:
                found.append(each)
    return found


def outside(tmp_path: Path, media: Path, job: DownloadJob) -> list[str]:
    """All files but those of the job's folder and those in the storage."""
    return sorted(
        str(each.relative_to(tmp_path))
        for each in tmp_path.rglob("*")
        if each.is_file()
        and jobs.folder_of(job) not in each.parents
        and media not in each.parents
        and each.name != attempt.ALIVE_FILE
    )


def files_of(job: DownloadJob) -> list[Path]:
    return [each for each in jobs.folder_of(job).rglob("*") if each.is_file()]
