"""One worker's work at one job, and its result in the row."""

from __future__ import annotations

import logging
import shutil
from datetime import timedelta
from typing import Final

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from media_library import events
from media_library.downloads import importer, jobs, quota
from media_library.downloads.attempt import Attempt, DuplicateError, Timeouts
from media_library.downloads.errors import (
    CancelledError,
    Code,
    GivenUpError,
    Verdict,
    plain,
    verdict,
)
from media_library.downloads.process import RunnerError
from media_library.jobs.shutdown import requeued_on_stop
from media_library.models import DownloadJob
from streamsite.processes.claims import DATABASE_ERRORS, ClaimLostError

logger = logging.getLogger(__name__)

Status = DownloadJob.Status
DEFAULT_TIMEOUTS: Final = Timeouts()


def work(job: DownloadJob, *, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> str:
    """Runs a claimed job; returns the result as a sentence."""
    with requeued_on_stop(lambda: _requeue(job)):
        return _work(job, timeouts)


def _work(job: DownloadJob, timeouts: Timeouts) -> str:
    task = Attempt(job, timeouts)
    try:
        task.download()
        item = importer.store(job, task.outcome, task.report)
    except CancelledError:
        return _cancelled(job)
    except ClaimLostError:
        return "Stopped: another worker has it now."
    except DuplicateError as error:
        return _duplicate(job, error)
    except GivenUpError as error:
        return _failed(job, error.why, task)
    except (OSError, RunnerError) as error:
        logger.warning("download %s: %s", job.pk, error)
        code = Code.DISK if getattr(error, "errno", 0) in quota.FULL else Code.INTERNAL
        return _failed(job, verdict(code, plain(str(error))), task)
    except DATABASE_ERRORS:
        # Nothing can be written: the job is requeued when the database is available again.
        raise
    except Exception as error:
        # An abandoned job must never look as if it ran.
        logger.exception("download %s", job.pk)
        return _failed(job, verdict(Code.INTERNAL, type(error).__name__), task)
    shutil.rmtree(task.folder, ignore_errors=True)
    return f"Done: {item or job.key}."


def _requeue(job: DownloadJob) -> None:
    """Requeues the job: it keeps its place and its part files, and the try does not count."""
    jobs.requeue(job, timezone.now(), attempts=F("attempts") - 1)


def _cancelled(job: DownloadJob) -> str:
    # The row last: once it is cancelled, nothing of the job is left.
    shutil.rmtree(jobs.folder_of(job), ignore_errors=True)
    job.refresh_from_db()
    importer.forget(job)
    jobs.mine(job).update(
        **jobs.released(status=Status.CANCELLED, ended_at=timezone.now(), percent=0, key="")
    )
    return "Cancelled."


def _duplicate(job: DownloadJob, duplicate: DuplicateError) -> str:
    now = timezone.now()
    shutil.rmtree(jobs.folder_of(job), ignore_errors=True)
    done = duplicate.done
    if done is None:
        jobs.requeue(
            job,
            now,
            due_at=now + timedelta(minutes=1),
            note="Another job downloads the same.",
            video_id="",
            # Waiting does not count as a try.
            attempts=F("attempts") - 1,
        )
        return "Waits: another job downloads the same."
    with transaction.atomic():
        ours = jobs.mine(job).update(
            **jobs.released(
                status=Status.DONE,
                duplicate=True,
                video_id=done.video_id,
                percent=100,
                ended_at=now,
                key=done.key,
                item=done.item,
                size_bytes=done.size_bytes,
                got=done.got,
                extras=done.extras,
            )
        )
        if ours:
            events.download(job.pk)
    return "Done: it is in the library already."


def _failed(job: DownloadJob, why: Verdict, task: Attempt) -> str:
    jobs.failed(job, why, timezone.now(), warnings=task.outcome.warnings)
    logger.warning("download %s: %s %s", job.pk, why.code, why.sentence)
    return why.sentence
