"""One worker's work at one job, and what became of it, written into the row."""

from __future__ import annotations

import logging
import shutil
from datetime import timedelta
from typing import Final

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import F
from django.utils import timezone

from media_library import events
from media_library.downloads import importer, jobs, quota
from media_library.downloads.attempt import Attempt, DuplicateError, Patience
from media_library.downloads.errors import (
    CancelledError,
    ClaimLostError,
    Code,
    GivenUpError,
    Verdict,
    plain,
    verdict,
)
from media_library.downloads.process import RunnerError
from media_library.jobs.shutdown import given_back
from media_library.models import DownloadJob

logger = logging.getLogger(__name__)

Status = DownloadJob.Status
USUAL: Final = Patience()


def work(job: DownloadJob, *, patience: Patience = USUAL) -> str:
    """Do a claimed job; returns what became of it, in words."""
    with given_back(lambda: _give_back(job)):
        return _work(job, patience)


def _work(job: DownloadJob, patience: Patience) -> str:
    task = Attempt(job, patience)
    try:
        task.download()
        item = importer.store(job, task.outcome, task.told)
    except CancelledError:
        return _cancelled(job)
    except ClaimLostError:
        return "Stopped: another worker has it now."
    except DuplicateError as found:
        return _duplicate(job, found)
    except GivenUpError as error:
        return _failed(job, error.why, task)
    except (OSError, RunnerError) as error:
        logger.warning("download %s: %s", job.pk, error)
        code = Code.DISK if getattr(error, "errno", 0) in quota.FULL else Code.INTERNAL
        return _failed(job, verdict(code, plain(str(error))), task)
    except (OperationalError, InterfaceError):
        # Nothing can be written: the job is given to another when the database is back.
        raise
    except Exception as error:
        # A job that nobody is at any more must never look as if it ran.
        logger.exception("download %s", job.pk)
        return _failed(job, verdict(Code.INTERNAL, type(error).__name__), task)
    shutil.rmtree(task.folder, ignore_errors=True)
    return f"Done: {item or job.key}."


def _give_back(job: DownloadJob) -> None:
    """It keeps its place among those that wait, and goes on from its part files: no new try."""
    jobs.given_back(job, timezone.now(), attempts=F("attempts") - 1)


def _cancelled(job: DownloadJob) -> str:
    # The row last: whoever reads that it is cancelled finds nothing of it.
    shutil.rmtree(jobs.folder_of(job), ignore_errors=True)
    job.refresh_from_db()
    importer.forget(job)
    jobs.mine(job).update(
        **jobs.released(status=Status.CANCELLED, ended_at=timezone.now(), percent=0, key="")
    )
    return "Cancelled."


def _duplicate(job: DownloadJob, found: DuplicateError) -> str:
    now = timezone.now()
    shutil.rmtree(jobs.folder_of(job), ignore_errors=True)
    done = found.done
    if done is None:
        jobs.given_back(
            job,
            now,
            due_at=now + timedelta(minutes=1),
            note="Another job is downloading the same.",
            video_id="",
            # To wait is no try.
            attempts=F("attempts") - 1,
        )
        return "Waits: another job is downloading the same."
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
    return "Done: it was in the library already."


def _failed(job: DownloadJob, why: Verdict, task: Attempt) -> str:
    jobs.failed(job, why, timezone.now(), warnings=task.outcome.warnings)
    logger.warning("download %s: %s %s", job.pk, why.code, why.sentence)
    return why.sentence
