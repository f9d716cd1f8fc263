"""Room for a download: on the disk, and of its owner's quota. Kept before, given back after."""

from __future__ import annotations

import errno
import shutil
from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db.models import F, Sum
from django.db.models.functions import Greatest
from django.utils import timezone

from media_library.downloads import jobs
from media_library.downloads.errors import Code, GivenUpError, Verdict, verdict
from media_library.models import DownloadJob
from streamsite.api.models import ApiKey

#: What the system says of a disk that is full.
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
#: Bytes that downloads leave to everything else.
FLOOR: Final = 1_000_000_000
#: A film of two passes is there twice while they are put together.
TWICE: Final = 2
#: Where no size was told, room is kept for so many bytes more than came; and so many may come
#: above what was told: pages, pictures, subtitles.
STEP: Final = 256_000_000
SLACK: Final = 64_000_000
#: What DOWNLOAD_QUOTA_GB counts, and what a key's quota does.
PERIOD: Final = timedelta(days=30)
DAY: Final = timedelta(days=1)


def demand(job: DownloadJob) -> None:
    """See that a job may begin at all. Raises `GivenUpError`."""
    if _left(job) < 0:
        raise GivenUpError(verdict(Code.DISK))
    if (why := _over_quota(job, 1)) is not None:
        raise GivenUpError(why)


def reserve(job: DownloadJob, expected: int, *, come: int = 0) -> Verdict | None:
    """Keep room for so many bytes in all, `come` of them on the disk already.

    Returns why that can't be done, or None.
    """
    if expected > settings.DOWNLOAD_MAX_GB * 10**9:
        return verdict(Code.TOO_LARGE, f"{expected / 10**9:.1f} GB")
    # Its own is kept first: of two that look at once both may find no room, and try again; but
    # never do both find the same room.
    jobs.mine(job).update(reserved_bytes=TWICE * expected)
    why = _over_quota(job, 0)
    if why is None and _left(job) < TWICE * expected - come:
        why = verdict(Code.DISK)
    if why is not None:
        jobs.mine(job).update(reserved_bytes=0)
    return why


def watch() -> None:
    """Raises `GivenUpError` when the disk runs full, whoever fills it."""
    if shutil.disk_usage(settings.DATA_DIR).free < FLOOR // 2:
        raise GivenUpError(verdict(Code.DISK))


def _left(job: DownloadJob) -> int:
    """Bytes of the disk that no other job of this machine counts on."""
    here = jobs.this_worker().split(":", maxsplit=1)[0] + ":"
    others = DownloadJob.objects.filter(
        status__in=DownloadJob.RUNNING, worker__startswith=here
    ).exclude(pk=job.pk)
    # What of it is on the disk already is no longer free.
    promised = others.aggregate(sum=Sum(Greatest(F("reserved_bytes") - F("bytes_done"), 0)))[
        "sum"
    ]
    return int(shutil.disk_usage(settings.DATA_DIR).free - FLOOR - (promised or 0))


def _over_quota(job: DownloadJob, least: int) -> Verdict | None:
    """`least`: bytes that must be left of it."""
    if not job.owner:
        return None
    most = settings.DOWNLOAD_QUOTA_GB * 10**9
    used, kept = used_by(job.owner, PERIOD)
    if most and used + kept + least > most:
        said = f"{used / 10**9:.1f} of {settings.DOWNLOAD_QUOTA_GB} GB in 30 days"
        return verdict(Code.QUOTA, f"{said}. Wait, or raise DOWNLOAD_QUOTA_GB.")
    daily = _daily(job.owner)
    used, kept = used_by(job.owner, DAY)
    if daily is not None and used + kept + least > daily:
        said = f"{used / 10**9:.1f} of {daily / 10**9:.1f} GB in 24 hours"
        return verdict(Code.QUOTA, f"{said}. Wait, or mint a key with a larger quota.")
    return None


def _daily(owner: str) -> int | None:
    """Bytes that an API key may download in 24 hours; None: as many as fit."""
    kind, _, pk = owner.partition(":")
    if kind != "key":
        return None
    return ApiKey.objects.filter(pk=pk).values_list("bytes_per_day", flat=True).first()


def used_by(owner: str, period: timedelta) -> tuple[int, int]:
    """Bytes that an owner downloaded in that time, and those kept for running jobs."""
    theirs = DownloadJob.objects.filter(owner=owner)
    since = timezone.now() - period
    done = theirs.filter(status=DownloadJob.Status.DONE, duplicate=False, ended_at__gt=since)
    used = done.aggregate(sum=Sum("size_bytes"))["sum"] or 0
    kept = theirs.aggregate(sum=Sum("reserved_bytes"))["sum"] or 0
    return used, kept // TWICE
