"""A broker that is away costs what was ordered nothing but time."""

from __future__ import annotations

from pathlib import Path

import pytest
from django_q import tasks
from django_q.brokers.redis_broker import Redis
from pytest_django import Settings
from redis import Redis as Connection

from media_library import actions
from media_library.downloads import jobs
from media_library.downloads.options import Options
from media_library.models import DownloadJob, MediaItem, SyncRun
from media_library.sync import runner
from media_library.tests.downloading import ADMIN
from streams.tests.bench.rtmp import free_port
from streamsite.processes.task_queue import enqueue

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def broker(monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path) -> None:
    """django-q's own broker for Redis, at a port where nobody is."""
    settings.MEDIA_ROOT = tmp_path
    settings.STORAGES = dict(settings.STORAGES)
    gone = Connection(host="127.0.0.1", port=free_port(), password="hush")
    monkeypatch.setattr(Redis, "get_connection", staticmethod(lambda *_: gone))
    monkeypatch.setattr(tasks, "get_broker", lambda *_: Redis("streamsite"))


def test_it_is_stated_and_the_password_is_not(caplog: pytest.LogCaptureFixture) -> None:
    assert not enqueue("media_library.tasks.probe_new")
    assert "queue.unreachable" in caplog.text
    assert "hush" not in caplog.text


def test_what_is_added_is_there(tmp_path: Path) -> None:
    source = tmp_path / "source.mp4"
    source.write_bytes(b"a film")
    item = actions.add_file(source, title="A")
    assert MediaItem.objects.get().pk == item.pk
    runner.start(by="ada")
    assert SyncRun.objects.get().status == SyncRun.Status.RUNNING
    jobs.add("https://example.org/a", Options(), ADMIN)
    assert DownloadJob.objects.get().status == DownloadJob.Status.QUEUED
