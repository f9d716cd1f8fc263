"""The downloads' cluster for tests, as it runs in production."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
from django.conf import settings as configured
from django.db import connection

from media_library.tests.web import Web

MANAGE = Path(configured.BASE_DIR) / "manage.py"


class Cluster:
    """The downloads' cluster as `run_cluster downloads` runs it, on the tests' database."""

    def __init__(self, site: Web, folder: Path, tmp_path: Path, *, at_once: int = 1) -> None:
        database = connection.settings_dict
        url = f"sqlite:///{database['NAME']}"
        if connection.vendor != "sqlite":
            at = f"{database['HOST'] or '127.0.0.1'}:{database['PORT'] or 5432}"
            url = (
                f"postgres://{database['USER']}:{database['PASSWORD']}@{at}/{database['NAME']}"
            )
        self._environment = os.environ | {
            "DATABASE_URL": url,
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

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
            self.process = None

    @property
    def log(self) -> str:
        return self._log.read_text()
