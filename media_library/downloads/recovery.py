"""What dead workers leave: jobs are given to others, processes and folders are removed."""

from __future__ import annotations

import shutil
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import psutil
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from media_library import events
from media_library.downloads import importer, jobs
from media_library.downloads.errors import Code, verdict
from media_library.downloads.metadata import LOOK
from media_library.downloads.options import COOKIES
from media_library.downloads.process import sweep
from media_library.models import DownloadJob

Status = DownloadJob.Status

#: A worker speaks every few seconds; one of another machine that is silent for so long is dead.
SILENT: Final = timedelta(seconds=45)
#: One that lives and is silent for so long works at it no more: its database was away when the
#: job ended, say.
FORGOTTEN: Final = timedelta(minutes=5)
#: Tries of a job whose worker died at it, before it is taken for the job's fault.
DEATHS: Final = 3
#: Part files of a failed download are kept for so long, for a retry that goes on.
KEPT: Final = timedelta(days=7)
#: Seconds after which the folder of a look is a dead process's: a look takes one minute.
LOOKED: Final = 3600


def recover(now: datetime) -> tuple[int, int]:
    """Take the jobs of dead workers from them; how many were given up, and queued again.

    What such a worker left running on this machine is ended first.
    """
    gone = left = 0
    for job in DownloadJob.objects.filter(status__in=DownloadJob.RUNNING):
        alive = lives(job.worker)
        if not _left(job, now, alive=alive):
            continue
        if alive is not None:
            folder = jobs.folder_of(job)
            if job.session:
                sweep(job.session, folder)
            # A copy for a process that is no more.
            (folder / COOKIES).unlink(missing_ok=True)
        if job.cancel_asked:
            importer.forget(job)
            jobs.mine(job).update(
                **jobs.released(status=Status.CANCELLED, ended_at=now, key="")
            )
            continue
        if job.deaths + 1 < DEATHS:
            left += jobs.given_back(job, now, deaths=F("deaths") + 1, due_at=now)
            continue
        why = verdict(Code.WORKER, str(DEATHS))
        with transaction.atomic():
            ours = jobs.mine(job).update(
                **jobs.released(
                    status=Status.FAILED,
                    deaths=F("deaths") + 1,
                    ended_at=now,
                    code=why.code.value,
                    fault=why.sentence,
                )
            )
            if ours:
                events.download(job.pk)
        gone += ours
    return gone, left


def _left(job: DownloadJob, now: datetime, *, alive: bool | None) -> bool:
    """Whether nobody is at it any more. `alive`: its worker."""
    if alive is False or job.heard_at is None:
        return True
    return job.heard_at < now - (FORGOTTEN if alive else SILENT)


def lives(worker: str) -> bool | None:
    """Whether it still runs; None: it is another machine's, who knows."""
    node, _, rest = worker.rpartition(":")[0].rpartition(":")
    if node != settings.NODE_NAME:
        return None
    try:
        found = psutil.Process(int(rest))
        if found.status() == psutil.STATUS_ZOMBIE:
            return False
        there = found.create_time()
    except (psutil.Error, ValueError):
        return False
    return f"{there:.2f}" == worker.rpartition(":")[2]


def tidy(now: datetime) -> int:
    """Remove folders that no try will need; how many."""
    home: Path = settings.DATA_DIR / "downloads"
    if not home.is_dir():
        return 0
    folders = [each for each in home.iterdir() if each.name.isdecimal()]
    needed = ~Q(status__in=DownloadJob.OVER) | Q(status=Status.FAILED, ended_at__gt=now - KEPT)
    kept = set(
        DownloadJob.objects.filter(needed, pk__in=[int(each.name) for each in folders])
        .order_by()
        .values_list("pk", flat=True)
    )
    left = [each for each in folders if int(each.name) not in kept]
    with suppress(OSError):
        # One may end at this moment.
        long_ago = now.timestamp() - LOOKED
        left += [each for each in home.glob(f"{LOOK}*") if each.stat().st_mtime < long_ago]
    for each in left:
        shutil.rmtree(each, ignore_errors=True)
    return len(left)
