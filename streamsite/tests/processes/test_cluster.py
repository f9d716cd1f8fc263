"""A cluster's own process: heartbeats, and what its workers' deaths cost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from django.conf import settings
from django_q.conf import Conf
from django_q.models import Task
from django_q.tasks import async_task
from moto.server import ThreadedMotoServer

from conftest import need
from streams.tests.bench.rtmp import free_port
from streamsite.config.env import broker
from streamsite.processes.cluster import SELF_TEST_TASK, Heartbeat
from streamsite.tests.database import database_url
from streamsite.tests.processes.test_serve import living
from streamsite.tests.serving import is_open
from streamsite.tests.waiting import until


def test_a_jump_of_the_wall_clock_does_not_count_as_a_hung_cluster(tmp_path: Path) -> None:
    heartbeat = Heartbeat(tmp_path / "alive")
    heartbeat.touch()
    # The state after the clock was set forward by an hour.
    an_hour_ago = time.time() - 3600
    os.utime(heartbeat.file, (an_hour_ago, an_hour_ago))
    assert heartbeat.silence_s() < 60
    until(lambda: heartbeat.silence_s() > 0.2, 60, "silence is counted nevertheless")
    heartbeat.touch()
    assert heartbeat.silence_s() < 0.2


@pytest.fixture
def database() -> str:
    """The address of the queue's server: none."""
    return ""


@pytest.fixture
def redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    need(program, "Redis")
    port = free_port()
    server = subprocess.Popen(
        (str(program), "--port", str(port), "--save", "", "--dir", tmp_path),
        stdout=subprocess.DEVNULL,
    )
    until(lambda: is_open(port), 30, "Redis listens")
    url = f"redis://127.0.0.1:{port}/0"
    monkeypatch.setattr(Conf, "ORM", None)
    monkeypatch.setattr(Conf, "REDIS", url)
    yield url
    server.kill()
    server.wait()


@pytest.fixture
def sqs(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    for name, value in broker("sqs://eu-central-1").items():
        monkeypatch.setattr(Conf, name.upper(), value)
    yield "sqs://eu-central-1"
    server.stop()


@pytest.fixture(params=["database", "redis", "sqs"])
def broker_url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def cluster(
    tmp_path: Path, transactional_db: None, broker_url: str
) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {
        "Q_BROKER_URL": broker_url,
        "DATABASE_URL": database_url(),
        "DATA_DIR": str(tmp_path / "data"),
        "RUN_DIR": str(tmp_path / "run"),
        # Signs the messages of the queue.
        "SECRET_KEY": settings.SECRET_KEY,
        "FIELD_KEYS": ",".join(settings.FIELD_KEYS),
        "DJANGO_SETTINGS_MODULE": "streamsite.settings",
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            (sys.executable, "manage.py", "run_cluster", "background"),
            cwd=settings.BASE_DIR, env=environment, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    yield process
    process.kill()
    process.wait()


def done() -> int:
    count: int = Task.objects.filter(func=SELF_TEST_TASK, success=True).count()
    return count


def run_self_test() -> None:
    before = done()
    async_task(SELF_TEST_TASK)
    until(lambda: done() > before, 60, "the task is done")


@pytest.mark.slow
def test_a_killed_worker_costs_its_task_alone(
    cluster: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """Killed again and again, idle or at work; then all of it ends with the cluster."""
    this = psutil.Process(cluster.pid)
    for killed in range(4):
        run_self_test()
        for worker in this.children():
            (worker.kill if killed else worker.terminate)()
    assert cluster.poll() is None
    run_self_test()
    workers = this.children()
    # To the group, as systemd does.
    os.killpg(cluster.pid, signal.SIGTERM)
    assert cluster.wait(20) == 0
    until(lambda: not living(workers), 10, "its workers end with it")
    assert "Traceback" not in (tmp_path / "log").read_text()
