"""Recovery of dead workers: requeues their jobs, ends their processes, removes folders."""

from __future__ import annotations

import shutil
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from media_library import events
from media_library.downloads import importer, jobs
from media_library.downloads.errors import Code, verdict
from media_library.downloads.metadata import FOLDER_PREFIX
from media_library.downloads.options import COOKIES
from media_library.downloads.process import sweep
from media_library.models import DownloadJob
from streamsite.processes.claims import lives

Status = DownloadJob.Status

#: A worker writes every few seconds; a silent one of another machine counts as dead.
HEARTBEAT_TIMEOUT: Final = timedelta(seconds=45)
#: A living worker that is silent for so long has abandoned the job: its database was
#: unavailable when the job ended, for example.
ABANDONED_AFTER: Final = timedelta(minutes=5)
#: Deaths of a job's workers after which the job itself is at fault.
MAX_DEATHS: Final = 3
#: Retention of a failed download's part files, for a retry that resumes.
PART_FILE_RETENTION: Final = timedelta(days=7)
#: Seconds after which the folder of an inspection belongs to a dead process: it takes a minute.
INSPECT_FOLDER_MAX_AGE_S: Final = 3600


def recover(now: datetime) -> tuple[int, int]:
    """Recovers the jobs of dead workers; returns how many failed, and how many were requeued.

    Processes that such a worker left running on this machine are ended first.
    """
    gone = left = 0
    for job in DownloadJob.objects.filter(status__in=DownloadJob.RUNNING):
        alive = lives(job.worker)
        if not _is_abandoned(job, now, alive=alive):
            continue
        if alive is not None:
            folder = jobs.folder_of(job)
            if job.session:
                sweep(job.session, folder)
            # A copy for a process that has ended.
            (folder / COOKIES).unlink(missing_ok=True)
        if job.cancel_requested:
            importer.forget(job)
            jobs.mine(job).update(
                **jobs.released(status=Status.CANCELLED, ended_at=now, key="")
            )
            continue
        if job.deaths + 1 < MAX_DEATHS:
            left += jobs.requeue(job, now, deaths=F("deaths") + 1, due_at=now)
            continue
        why = verdict(Code.WORKER, str(MAX_DEATHS))
        with transaction.atomic():
            updated = jobs.mine(job).update(
                **jobs.released(
                    status=Status.FAILED,
                    deaths=F("deaths") + 1,
                    ended_at=now,
                    code=why.code.value,
                    fault=why.sentence,
                )
            )
            if updated:
                events.download(job.pk)
        gone += updated
    return gone, left


def _is_abandoned(job: DownloadJob, now: datetime, *, alive: bool | None) -> bool:
    """Returns whether nobody works at the job any more. `alive`: its worker is alive."""
    if alive is False or job.heartbeat_at is None:
        return True
    return job.heartbeat_at < now - (ABANDONED_AFTER if alive else HEARTBEAT_TIMEOUT)


def tidy(now: datetime) -> int:
    """Removes folders that no try will need; returns how many."""
    home: Path = settings.DATA_DIR / "downloads"
    if not home.is_dir():
        return 0
    folders = [folder for folder in home.iterdir() if folder.name.isdecimal()]
    needed = ~Q(status__in=DownloadJob.OVER) | Q(
        status=Status.FAILED, ended_at__gt=now - PART_FILE_RETENTION
    )
    kept = set(
        DownloadJob.objects.filter(needed, pk__in=[int(folder.name) for folder in folders])
        .order_by()
        .values_list("pk", flat=True)
    )
    left = [folder for folder in folders if int(folder.name) not in kept]
    with suppress(OSError):
        # An inspection may end at this moment.
        long_ago = now.timestamp() - INSPECT_FOLDER_MAX_AGE_S
        left += [
            folder
            for folder in home.glob(f"{FOLDER_PREFIX}*")
            if folder.stat().st_mtime < long_ago
        ]
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)
    return len(left)
