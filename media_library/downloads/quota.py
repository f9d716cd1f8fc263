"""Disk space and quota of a download: reserved before it, released after it."""

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
from streamsite.processes import claims

#: Error numbers of a full disk.
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
#: Bytes of the disk that downloads leave free.
MIN_FREE_BYTES: Final = 1_000_000_000
#: During a merge, a video of two passes is on the disk twice.
TWICE: Final = 2
#: If no size is known, this many bytes more than received are reserved; and this many may
#: arrive beyond the announced size: pages, pictures, subtitles.
RESERVE_STEP_BYTES: Final = 256_000_000
SLACK_BYTES: Final = 64_000_000
#: Period of DOWNLOAD_QUOTA_GB, and of a key's quota.
PERIOD: Final = timedelta(days=30)
DAY: Final = timedelta(days=1)


def demand(job: DownloadJob) -> None:
    """Checks that a job may begin at all. Raises `GivenUpError`."""
    if _left(job) < 0:
        raise GivenUpError(verdict(Code.DISK))
    if (why := _over_quota(job, 1)) is not None:
        raise GivenUpError(why)


def reserve(job: DownloadJob, expected: int, *, received: int = 0) -> Verdict | None:
    """Reserves space for `expected` bytes in total, `come` of them on the disk already.

    Returns why that is impossible, or None.
    """
    if expected > settings.DOWNLOAD_MAX_GB * 10**9:
        return verdict(Code.TOO_LARGE, f"{expected / 10**9:.1f} GB")
    # The own reservation comes first: two concurrent jobs may both find no space and retry, but
    # they never both get the same space.
    jobs.mine(job).update(reserved_bytes=TWICE * expected)
    why = _over_quota(job, 0)
    if why is None and _left(job) < TWICE * expected - received:
        why = verdict(Code.DISK)
    if why is not None:
        jobs.mine(job).update(reserved_bytes=0)
    return why


def watch() -> None:
    """Raises `GivenUpError` when the disk is nearly full, whatever the cause."""
    if shutil.disk_usage(settings.DATA_DIR).free < MIN_FREE_BYTES // 2:
        raise GivenUpError(verdict(Code.DISK))


def _left(job: DownloadJob) -> int:
    """Returns the bytes of the disk that no other job of this machine has reserved."""
    others = DownloadJob.objects.filter(
        status__in=DownloadJob.RUNNING, worker__startswith=f"{claims.machine()}-"
    ).exclude(pk=job.pk)
    # Bytes that are on the disk already are no longer free.
    promised = others.aggregate(sum=Sum(Greatest(F("reserved_bytes") - F("bytes_done"), 0)))[
        "sum"
    ]
    return int(shutil.disk_usage(settings.DATA_DIR).free - MIN_FREE_BYTES - (promised or 0))


def _over_quota(job: DownloadJob, least: int) -> Verdict | None:
    """`least`: bytes that must be left of the quota."""
    if not job.owner:
        return None
    maximum = settings.DOWNLOAD_QUOTA_GB * 10**9
    used, kept = used_by(job.owner, PERIOD)
    if maximum and used + kept + least > maximum:
        usage = f"{used / 10**9:.1f} of {settings.DOWNLOAD_QUOTA_GB} GB in 30 days"
        return verdict(Code.QUOTA, f"{usage}. Wait, or raise DOWNLOAD_QUOTA_GB.")
    daily = _daily(job.owner)
    used, kept = used_by(job.owner, DAY)
    if daily is not None and used + kept + least > daily:
        usage = f"{used / 10**9:.1f} of {daily / 10**9:.1f} GB in 24 hours"
        return verdict(Code.QUOTA, f"{usage}. Wait, or create a key with a larger quota.")
    return None


def _daily(owner: str) -> int | None:
    """Returns the bytes that an API key may download in 24 hours; None: unlimited."""
    kind, _, pk = owner.partition(":")
    if kind != "key":
        return None
    return ApiKey.objects.filter(pk=pk).values_list("bytes_per_day", flat=True).first()


def used_by(owner: str, period: timedelta) -> tuple[int, int]:
    """Returns the bytes that an owner downloaded in that time, and those reserved for jobs."""
    theirs = DownloadJob.objects.filter(owner=owner)
    since = timezone.now() - period
    done = theirs.filter(status=DownloadJob.Status.DONE, duplicate=False, ended_at__gt=since)
    used = done.aggregate(sum=Sum("size_bytes"))["sum"] or 0
    kept = theirs.aggregate(sum=Sum("reserved_bytes"))["sum"] or 0
    return used, kept // TWICE
