"""The database is unavailable for a moment: the work continues, and its result is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection
from django.db.models import Model, QuerySet
from django.utils import timezone
from pytest_django import Settings

from media_library import actions, storage
from media_library.conform import queue
from media_library.downloads import attempt, importer, jobs, worker
from media_library.downloads.errors import CancelledError
from media_library.downloads.options import Options
from media_library.models import DownloadJob, MediaItem, PreparedCopy
from media_library.tests.conform.test_queue import HOUSE_FORMAT, make_video
from media_library.tests.downloading import ADMIN
from media_library.tests.web import Web
from streamsite.processes import claims
from streamsite.processes.claims import ClaimLostError, Heartbeat
from streamsite.tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

#: A column of each heartbeat, and those of the final write.
LIVES, COPY_IS_MADE, DOWNLOAD_IS_OVER = "heartbeat_at", "made_at", "ended_at"


@pytest.fixture(autouse=True)
def machine(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DATA_DIR = tmp_path / "data"
    settings.RUN_DIR = tmp_path / "run"
    monkeypatch.setattr(claims, "HEARTBEAT_RETRY_S", 0.0)
    monkeypatch.setattr(claims, "WRITE_RETRIES_S", (0.0, 0.0))
    monkeypatch.setattr(queue, "PROGRESS_INTERVAL_S", 0.0)
    monkeypatch.setattr(queue, "HEARTBEAT_INTERVAL_S", 0.01)
    monkeypatch.setattr(importer, "PROGRESS_INTERVAL_S", 0.01)


@contextmanager
def away(
    model: type[Model],
    column: str,
    times: int,
    *,
    written: bool = False,
    kind: type[Exception] = OperationalError,
) -> Iterator[list[dict[str, Any]]]:
    """Lets that many writes of the column fail in any thread; yields the failed writes.

    `written`: the write succeeds, but its answer is lost.
    """
    failed: list[dict[str, Any]] = []
    update = QuerySet.update

    def broken(rows: QuerySet[Any], **values: Any) -> int:
        if rows.model is not model or column not in values or len(failed) >= times:
            return update(rows, **values)
        failed.append(values)
        if written:
            update(rows, **values)
        raise kind("the connection is closed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(QuerySet, "update", broken)
        yield failed


# ---- heartbeats and final writes -------------------------------------------------------------


@pytest.mark.parametrize("kind", [OperationalError, InterfaceError])
def test_a_failed_heartbeat_is_skipped_and_the_connection_is_reopened(
    kind: type[Exception],
) -> None:
    copy = PreparedCopy.objects.create(item=MediaItem.objects.create(key="a"), claim="x")
    heartbeat = Heartbeat(PreparedCopy.objects.filter(claim="x"), "a.mp4", 0.0)
    heartbeat.columns = {"percent": 7}
    with away(PreparedCopy, LIVES, 1, kind=kind):
        assert not heartbeat.send()
    assert connection.connection is None
    assert heartbeat.send()
    copy.refresh_from_db()
    assert copy.percent == 7
    copy.delete()
    with pytest.raises(ClaimLostError):
        heartbeat.send()


def test_heartbeats_pause_while_the_database_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(claims, "HEARTBEAT_RETRY_S", 600.0)
    heartbeat = Heartbeat(PreparedCopy.objects.all(), "a.mp4", 0.0)
    with away(PreparedCopy, LIVES, 3) as failed:
        for _ in range(3):
            assert not heartbeat.send()
    assert len(failed) == 1


def test_a_permanent_outage_raises_in_the_end() -> None:
    def broken() -> None:
        tries.append(1)
        raise OperationalError("connection refused")

    tries: list[int] = []
    with pytest.raises(OperationalError):
        claims.retry_write("a.mp4", broken)
    assert len(tries) == 3


# ---- copies ----------------------------------------------------------------------------------


def taken(tmp_path: Path) -> PreparedCopy:
    copy = actions.request_prepare(
        actions.add_file(make_video(tmp_path / "a.mp4"), title="A"), HOUSE_FORMAT
    )
    mine = queue.take(copy.pk)
    assert mine is not None
    return mine


@pytest.mark.usefixtures("ffmpeg", "folder")
def test_a_copy_is_made_although_its_heartbeats_fail(tmp_path: Path) -> None:
    copy = taken(tmp_path)
    with away(PreparedCopy, LIVES, 3) as failed:
        assert queue.make(copy) == "Ready: 56 frames."
    assert len(failed) == 3
    copy.refresh_from_db()
    assert (copy.status, copy.deaths) == (PreparedCopy.Status.READY, 0)


@pytest.mark.usefixtures("ffmpeg", "folder")
@pytest.mark.parametrize("written", [False, True])
def test_a_finished_copy_is_written_when_the_database_is_available_again(
    tmp_path: Path, *, written: bool
) -> None:
    copy = taken(tmp_path)
    with away(PreparedCopy, COPY_IS_MADE, 1, written=written) as failed:
        queue.make(copy)
    assert len(failed) == 1
    copy.refresh_from_db()
    assert copy.status == PreparedCopy.Status.READY
    assert storage.exists(copy.key)
    copy.item.refresh_from_db()
    assert copy.item.status == MediaItem.Status.READY


@pytest.mark.usefixtures("ffmpeg", "folder")
def test_a_copy_that_is_cancelled_after_an_outage_is_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heartbeats come from a thread then, which outlives the outage."""
    copy = taken(tmp_path)

    def slow(_source: Path, _key: str, *, progress: Callable[[int], None], **_: object) -> None:
        with away(PreparedCopy, LIVES, 2) as failed:
            until(lambda: len(failed) == 2, 10, "two heartbeats failed")
        actions.cancel_prepare(copy)

        def ended() -> bool:
            try:
                progress(1)
            except ClaimLostError:
                return True
            return False

        until(ended, 10, "the transfer is stopped")
        raise ClaimLostError

    monkeypatch.setattr(storage, "upload", slow)
    assert queue.make(copy).startswith("Stopped")


# ---- downloads -------------------------------------------------------------------------------


def begun(url: str) -> DownloadJob:
    job = jobs.take(jobs.add(url, Options(), ADMIN).pk, timezone.now())
    assert job is not None
    return job


@pytest.mark.slow
@pytest.mark.usefixtures("ffmpeg", "folder")
@pytest.mark.parametrize(("column", "times"), [(LIVES, 2), (DOWNLOAD_IS_OVER, 1)])
def test_a_download_is_done_although_the_database_was_unavailable(
    column: str, times: int, site: Web
) -> None:
    job = begun(site.url("film.mp4"))
    with away(DownloadJob, column, times) as failed:
        assert worker.work(job).startswith("Done")
    assert len(failed) == times
    job.refresh_from_db()
    assert (job.status, job.deaths, job.attempts) == (DownloadJob.Status.DONE, 0, 1)
    # The version was reported once, while nothing could be written.
    assert job.tool_version
    assert MediaItem.objects.get().key == job.key


@pytest.mark.usefixtures("folder")
def test_a_download_that_is_stored_notices_a_cancel_after_an_outage() -> None:
    job = begun("https://example.org/a")
    jobs.folder_of(job).mkdir(parents=True)
    task = attempt.Attempt(job, attempt.Timeouts())

    def store() -> None:
        with importer.Uploads(task.report) as uploads:
            with away(DownloadJob, LIVES, 2) as failed:
                until(lambda: len(failed) == 2, 10, "two heartbeats failed")
            jobs.cancel(job)
            uploads.wait(10)
            pytest.fail("It is not stopped.")

    with pytest.raises(CancelledError):
        store()
