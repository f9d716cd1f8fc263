"""Cancelled downloads, and killed workers: nothing of them stays."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from django.conf import settings as configured
from django.db import connections
from django.utils import timezone
from pytest_django import Settings

from media_library.downloads import jobs, recovery, worker
from media_library.downloads.options import Options
from media_library.models import DownloadJob, MediaItem
from media_library.tests.downloading import ADMIN, Cluster, running
from media_library.tests.web import Web
from streamsite.processes import claims
from streamsite.tests.figures import Figures
from streamsite.tests.waiting import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("ffmpeg"),
]
Status = DownloadJob.Status


def started(url: str) -> tuple[DownloadJob, threading.Thread]:
    """Starts a worker for a job in a thread."""
    job = jobs.add(url, Options(), ADMIN)
    taken = jobs.take(job.pk, timezone.now())
    assert taken is not None

    def do() -> None:
        try:
            worker.work(taken)
        finally:
            connections.close_all()

    thread = threading.Thread(target=do)
    thread.start()
    return job, thread


def in_status(job: DownloadJob, *statuses: str, share: int = 0) -> bool:
    job.refresh_from_db()
    assert not job.over, job.fault
    return job.status in statuses and job.percent >= share


def cancelled_within(job: DownloadJob, thread: threading.Thread) -> float:
    """Returns the seconds from the order to the end of the last process; nothing is left."""
    began = time.monotonic()
    assert jobs.cancel(job)
    until(lambda: not running(), 60, "its processes are gone")
    took = time.monotonic() - began
    thread.join(15)
    job.refresh_from_db()
    assert (job.status, job.claim, job.reserved_bytes) == (Status.CANCELLED, "", 0)
    assert not jobs.folder_of(job).exists()
    assert not MediaItem.objects.exists()
    return took


@pytest.mark.measured
@pytest.mark.parametrize("path", ["film.mp4", "hls/film.m3u8", "dash/film.mpd"])
def test_cancel_ends_a_download_within_a_second(
    path: str,
    folder: Path,
    site: Web,
    figures: Figures,
) -> None:
    site.pace = 20_000
    job, thread = started(site.url(path))
    until(lambda: in_status(job, Status.DOWNLOADING, share=3), 30, "it downloads")
    took = cancelled_within(job, thread)
    figures.record("seconds", took)
    assert took < figures.within(1)


@pytest.mark.measured
def test_cancel_ends_a_merge_within_a_second(
    folder: Path,
    site: Web,
    settings: Settings,
    tmp_path: Path,
    figures: Figures,
) -> None:
    """A slowed FFmpeg is running then: it is killed with the rest."""
    slow = tmp_path / "bin" / "ffmpeg"
    slow.parent.mkdir()
    # The real one, slowed like for a long video: it reads at playback speed.
    slow.write_text(
        '#!/bin/sh\ncase "$*" in *-bsfs*|*-version*) exec ffmpeg "$@";; esac\n'
        'for each; do shift; [ "$each" = -i ] && set -- "$@" -readrate 0.2; '
        'set -- "$@" "$each"; done\nexec ffmpeg "$@"\n'
    )
    slow.chmod(0o755)
    (slow.parent / "ffprobe").symlink_to("/usr/bin/ffprobe")
    settings.FFMPEG_PATH = str(slow)
    job, thread = started(site.url("dash/film.mpd"))
    until(
        lambda: (
            in_status(job, Status.PROCESSING)
            and any(process.name() == "ffmpeg" for process in running())
        ),
        30,
        "FFmpeg merges video and audio",
    )
    assert cancelled_within(job, thread) < figures.within(1)


def test_a_waiting_job_is_cancelled_at_once(folder: Path, site: Web) -> None:
    job = jobs.add(site.url("film.mp4"), Options(), ADMIN)
    assert jobs.cancel(job)
    assert job.status == Status.CANCELLED
    assert not jobs.cancel(job)
    assert jobs.take(job.pk, timezone.now()) is None


def test_one_cancel_ends_a_whole_batch(folder: Path, site: Web) -> None:
    urls = [site.url(f"film.mp4?{number}") for number in range(5)]
    batch = jobs.add_many(urls, Options(), ADMIN)
    site.pace = 20_000
    taken = jobs.take_next(timezone.now())
    assert taken is not None

    def do() -> None:
        try:
            worker.work(taken)
        finally:
            connections.close_all()

    thread = threading.Thread(target=do)
    thread.start()
    until(lambda: in_status(taken, Status.DOWNLOADING), 30, "the first downloads")
    assert jobs.cancel_batch(batch) == 5
    thread.join(15)
    assert {row.status for row in batch.jobs.all()} == {Status.CANCELLED}


# ---- killed workers --------------------------------------------------------------------------


@pytest.fixture
def cluster(site: Web, folder: Path, tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(site, folder, tmp_path)
    yield made
    made.kill()


def has_ended(process: psutil.Process) -> bool:
    """A killed process may need a while to end on a busy machine."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize(
    "who", ["the worker", "the whole cluster", "worker and runner at once"]
)
def test_a_job_is_done_although_its_worker_was_killed(
    who: str, site: Web, cluster: Cluster
) -> None:
    site.pace = 60_000
    job = jobs.add(site.url("film.mp4"), Options(), ADMIN)
    cluster.start()
    until(lambda: in_status(job, Status.DOWNLOADING, share=10), 60, "it downloads")
    runner = cluster.runner()
    assert runner is not None
    session = job.session
    assert session == runner.pid
    worker = psutil.Process(runner.ppid())
    if who == "the whole cluster":
        cluster.kill()
    else:
        worker.kill()
    if who == "worker and runner at once":
        runner.kill()
    until(lambda: has_ended(runner) and has_ended(worker), 60, "no orphan")
    assert not [process for process in psutil.process_iter() if _session(process) == session]
    site.pace = 0
    if cluster.process is None:
        cluster.start()
    else:
        # As the jobs' cluster does each minute.
        assert recovery.recover(timezone.now()) == (0, 1)
        jobs.enqueue_next()
    until(lambda: DownloadJob.objects.get(pk=job.pk).over, 60, f"it ends ({cluster.log})")
    job.refresh_from_db()
    assert (job.status, job.fault, job.deaths) == (Status.DONE, "", 1)
    # It resumed.
    assert job.item is not None
    assert job.attempts == 2


def test_a_stop_of_the_service_requeues_its_downloads(site: Web, cluster: Cluster) -> None:
    site.pace = 60_000
    job = jobs.add(site.url("film.mp4"), Options(), ADMIN)
    cluster.start()
    until(lambda: in_status(job, Status.DOWNLOADING, share=10), 60, "it downloads")
    session = job.session
    # To all processes, like systemd.
    cluster.stop()
    until(lambda: not in_status(job, *DownloadJob.RUNNING), 10, f"requeued ({cluster.log})")
    assert (job.status, job.deaths, job.attempts) == (Status.QUEUED, 0, 0)
    assert not [process for process in psutil.process_iter() if _session(process) == session]
    site.pace = 0
    cluster.start()
    until(lambda: DownloadJob.objects.get(pk=job.pk).over, 60, f"it ends ({cluster.log})")
    job.refresh_from_db()
    assert (job.status, job.deaths, job.attempts) == (Status.DONE, 0, 1)


def _session(process: psutil.Process) -> int:
    try:
        return 0 if process.status() == "zombie" else os.getsid(process.pid)
    except (psutil.Error, OSError):
        return 0


def test_a_job_that_kills_its_worker_is_given_up(folder: Path, site: Web) -> None:
    job = jobs.add(site.url("film.mp4"), Options(), ADMIN)
    for death in range(1, recovery.MAX_DEATHS + 1):
        assert jobs.take(job.pk, timezone.now()) is not None
        DownloadJob.objects.filter(pk=job.pk).update(worker=f"{claims.machine()}-3b9ac9ff-1")
        last = death == recovery.MAX_DEATHS
        assert recovery.recover(timezone.now()) == ((1, 0) if last else (0, 1))
    job.refresh_from_db()
    assert (job.status, job.code) == (Status.FAILED, "worker")
    assert "stopped responding 3 times" in job.fault


def test_another_machines_worker_is_dead_after_the_timeout(folder: Path, site: Web) -> None:
    job = jobs.add(site.url("film.mp4"), Options(), ADMIN)
    now = timezone.now()
    jobs.take(job.pk, now)
    DownloadJob.objects.filter(pk=job.pk).update(worker="elsewhere:1:1.00")
    assert recovery.recover(now + recovery.HEARTBEAT_TIMEOUT) == (0, 0)
    assert recovery.recover(now + 1.01 * recovery.HEARTBEAT_TIMEOUT) == (0, 1)


def test_unneeded_folders_are_removed(folder: Path, site: Web) -> None:
    now = timezone.now()
    kept = [jobs.add(site.url(f"film.mp4?{number}"), Options(), ADMIN) for number in range(3)]
    DownloadJob.objects.filter(pk=kept[1].pk).update(
        status=Status.FAILED, code="http", fault="404", ended_at=now
    )
    jobs.cancel(kept[2])
    for name in (*(str(job_.pk) for job_ in kept), "987654321"):
        (configured.DATA_DIR / "downloads" / name).mkdir(parents=True)
    assert recovery.tidy(now) == 2
    assert jobs.folder_of(kept[0]).exists()
    assert jobs.folder_of(kept[1]).exists()
    assert recovery.tidy(now + 2 * recovery.PART_FILE_RETENTION) == 1
