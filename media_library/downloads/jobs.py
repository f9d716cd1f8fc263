"""Downloads: orders, claims, and requeueing.

A job is claimed by a conditional update that writes a claim for this try alone; removing the
claim stops the work within a second. Waiting jobs hold no queue message: the next sweep
recovers a lost message within a minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, Q, QuerySet
from django.utils import timezone

from media_library import events
from media_library.downloads.errors import Verdict
from media_library.downloads.options import Options, Sound
from media_library.models import DownloadBatch, DownloadJob, DownloadSchedule, SitePause
from streamsite.api.models import ApiKey
from streamsite.processes import claims
from streamsite.processes.claims import Claims, given_up_sentence, retry_sentence
from streamsite.processes.task_queue import enqueue
from streamsite.security.urls import without_secrets

Status = DownloadJob.Status
_CLAIMS: Final = Claims(DownloadJob, "claim")

#: Tries after temporary errors.
MAX_TRIES: Final = 5
MAX_URL_CHARS: Final = 2000
#: Addresses per batch.
MAX_BATCH: Final = 500


class OrderError(Exception):
    """The order is refused. `str()` is a sentence for its author."""


@dataclass(frozen=True, slots=True)
class Order:
    """The author of an order, and its terms."""

    by: str
    #: Owner of the quota: user:1, key:7.
    owner: str
    any_site: bool = False
    again: bool = False
    rights: str = ""


class NotNowError(OrderError):
    """The job's state does not allow that."""


# ---- orders ----------------------------------------------------------------------------------


def cleaned(url: str) -> str:
    """Returns the address if it is acceptable. Raises `OrderError`."""
    url = url.strip()
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise OrderError("The address can't be read: copy it from the browser.") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise OrderError("The address must begin with https:// or http://.")
    if "@" in parts.netloc:
        raise OrderError(
            "Remove the name and password from the address: put cookies under “Site cookies”."
        )
    if len(url) > MAX_URL_CHARS or "__youtubedl_smuggle" in url or not url.isprintable():
        raise OrderError("The address can't be used: copy it from the browser.")
    return url


#: Aliases of a site's hosts: they share its cookies and its pauses.
_SAME: Final = {
    **dict.fromkeys(("youtu.be", "music.youtube.com", "youtube-nocookie.com"), "youtube.com"),
    "player.vimeo.com": "vimeo.com",
    "dai.ly": "dailymotion.com",
    "fb.watch": "facebook.com",
    "clips.twitch.tv": "twitch.tv",
    "twitter.com": "x.com",
}


def site_of(url: str) -> str:
    host = (urlsplit(url).hostname or "").removeprefix("www.").removeprefix("m.")
    return _SAME.get(host, host)[:253]


def fits(options: Options) -> None:
    """Raises `OrderError` if the library would not accept the result."""
    if options.sound is Sound.NO and options.extension not in settings.MEDIA_EXTENSIONS:
        raise OrderError(
            f"The library does not accept .{options.extension} (MEDIA_EXTENSIONS): choose "
            "another container."
        )
    if options.translate and not settings.LIBRETRANSLATE_URL:
        raise OrderError(
            "No translation server is configured: set LIBRETRANSLATE_URL, or request no "
            "translation."
        )


def add(
    url: str,
    options: Options,
    order: Order,
    *,
    batch: DownloadBatch | None = None,
    schedule: DownloadSchedule | None = None,
    requested_key: str = "",
) -> DownloadJob:
    """Orders one download. The same `requested_key` again returns the same job.

    Raises `OrderError`.
    """
    url = cleaned(url)
    fits(options)
    columns: dict[str, Any] = {
        "url": url,
        "site": site_of(url),
        "options": options.as_json(),
        "profile": options.profile,
        "any_site": order.any_site,
        "again": order.again,
        "rights": order.rights,
        "batch": batch,
        "schedule": schedule,
        "requested_by": order.by,
    }
    if not requested_key:
        job = DownloadJob.objects.create(owner=order.owner, **columns)
    else:
        # Also if the same order comes twice at once.
        job, _ = DownloadJob.objects.get_or_create(
            owner=order.owner, requested_key=requested_key, defaults=columns
        )
    if (job.url, job.profile) != (url, options.profile):
        raise OrderError("That Idempotency-Key was used for another download: use a new one.")
    transaction.on_commit(enqueue_next)
    return job


def add_many(
    urls: Sequence[str],
    options: Options,
    order: Order,
    *,
    name: str = "",
) -> DownloadBatch:
    """Orders many downloads, all or none. Raises `OrderError`."""
    unique = list(dict.fromkeys(cleaned(url) for url in urls if url.strip()))
    if not unique:
        raise OrderError("Enter at least one address, one per line.")
    if len(unique) > MAX_BATCH:
        raise OrderError(f"{len(unique)} addresses are too many: the maximum is {MAX_BATCH}.")
    with transaction.atomic():
        batch = DownloadBatch.objects.create(
            name=(name or without_secrets(unique[0]))[:255], made_by=order.by
        )
        for url in unique:
            add(url, options, order, batch=batch)
    return batch


def cancel(job: DownloadJob) -> bool:
    """Stops a waiting or running job within a second; False if it is over."""
    jobs = DownloadJob.objects.filter(pk=job.pk)
    queued, now = jobs.filter(status=Status.QUEUED), timezone.now()
    stopped = (
        _cancel(queued, now)
        or jobs.filter(status__in=DownloadJob.RUNNING).update(cancel_requested=True)
        # The worker may have requeued it between the two updates.
        or _cancel(queued, now)
    )
    job.refresh_from_db()
    return bool(stopped)


def _cancel(jobs: QuerySet[DownloadJob], now: datetime) -> int:
    return jobs.update(status=Status.CANCELLED, ended_at=now, note="", code="", fault="")


def cancel_batch(batch: DownloadBatch) -> int:
    """Cancels all jobs of the batch that are not over; returns how many."""
    return sum(cancel(job) for job in batch.jobs.exclude(status__in=DownloadJob.OVER))


def retry(job: DownloadJob, *, end_pause: bool) -> None:
    """Retries a failed, cancelled or waiting job. Raises `NotNowError`.

    `end_pause` ends the pause of its site. Only people may do that: a program that retries in a
    loop would get this machine blocked.
    """
    renewed = DownloadJob.objects.filter(
        pk=job.pk, status__in=[Status.FAILED, Status.CANCELLED, Status.QUEUED]
    ).update(
        status=Status.QUEUED,
        due_at=timezone.now(),
        ended_at=None,
        cancel_requested=False,
        attempts=0,
        deaths=0,
        percent=0,
        note="",
        code="",
        fault="",
    )
    if not renewed:
        raise NotNowError("It is running or done: there is nothing to try again.")
    if end_pause:
        SitePause.objects.filter(site=job.site).delete()
    job.refresh_from_db()
    transaction.on_commit(enqueue_next)


def enqueue_next() -> None:
    """Enqueues one more worker of the downloads' cluster."""
    enqueue("media_library.tasks.download_next", cluster=settings.DOWNLOADS_CLUSTER, timeout=-1)


# ---- claims ----------------------------------------------------------------------------------


def waiting(now: datetime) -> QuerySet[DownloadJob]:
    """Returns jobs that can be claimed now, the oldest first, without those of paused sites."""
    paused = SitePause.objects.filter(until__gt=now).values("site")
    return (
        DownloadJob.objects.filter(status=Status.QUEUED, due_at__lte=now)
        .exclude(site__in=paused)
        .exclude(owner__in=_at_their_limit())
        .order_by("due_at", "pk")
    )


def _at_their_limit() -> list[str]:
    """Returns API keys whose maximum of concurrent downloads is reached."""
    running = DownloadJob.objects.filter(
        status__in=DownloadJob.RUNNING, owner__startswith="key:"
    )
    counts = dict(running.order_by().values_list("owner").annotate(Count("pk")))
    keys = [owner.partition(":")[2] for owner in counts]
    limits = ApiKey.objects.filter(pk__in=keys).values_list("pk", "concurrent_downloads")
    return [f"key:{pk}" for pk, maximum in limits if counts[f"key:{pk}"] >= maximum]


def _within_limit(job: DownloadJob) -> bool:
    """Returns whether the key's limit permits the job: jobs that were claimed first stay."""
    kind, _, pk = job.owner.partition(":")
    maximum = None
    if kind == "key":
        keys = ApiKey.objects.filter(pk=pk)
        maximum = keys.values_list("concurrent_downloads", flat=True).first()
    if maximum is None:
        return True
    running = DownloadJob.objects.filter(status__in=DownloadJob.RUNNING, owner=job.owner)
    return job.pk in running.order_by("started_at", "pk").values_list("pk", flat=True)[:maximum]


def take_next(now: datetime) -> DownloadJob | None:
    """Claims the next job; None if none is waiting."""
    return claims.take_next(lambda: waiting(now), lambda pk: take(pk, now))


def take(job_id: int, now: datetime) -> DownloadJob | None:
    """Claims that job; None if it is not queued any more, or its key is at its limit."""
    job = _CLAIMS.take(
        job_id,
        token_hex(16),
        Q(status=Status.QUEUED),
        status=Status.EXTRACTING,
        worker=claims.this_process(),
        session=None,
        heartbeat_at=now,
        started_at=now,
        ended_at=None,
        attempts=F("attempts") + 1,
        percent=0,
        note="",
        speed=None,
        seconds_left=None,
        bytes_done=0,
        bytes_total=None,
        code="",
        fault="",
        video_id="",
    )
    if job is None or _within_limit(job):
        return job
    # Two workers claimed one job each at the same moment.
    requeue(job, now, attempts=F("attempts") - 1)
    return None


def mine(job: DownloadJob) -> QuerySet[DownloadJob]:
    """Returns the row, as long as this worker holds its claim."""
    return _CLAIMS.mine(job)


def released(**more: Any) -> dict[str, Any]:
    """Returns the column values of an unclaimed row."""
    return {
        "claim": "",
        "worker": "",
        "session": None,
        "speed": None,
        "seconds_left": None,
        "reserved_bytes": 0,
        "note": "",
        **more,
    }


def requeue(job: DownloadJob, now: datetime, **more: Any) -> int:
    """Requeues the job; 0 if this worker has lost it.

    A job that was cancelled meanwhile ends.
    """
    updated = mine(job).update(**released(status=Status.QUEUED, **more))
    mine_again = DownloadJob.objects.filter(pk=job.pk, status=Status.QUEUED)
    _cancel(mine_again.filter(cancel_requested=True), now)
    return updated


def failed(job: DownloadJob, why: Verdict, now: datetime, *, warnings: Sequence[str]) -> None:
    """Records the failure; requeues after temporary errors; pauses the site if necessary."""
    again = why.at is not None or (why.retry_after is not None and job.attempts < MAX_TRIES)
    if why.pause is not None:
        SitePause.objects.update_or_create(
            site=job.site, defaults={"until": now + why.pause, "why": why.sentence}
        )
    result: dict[str, Any] = {
        "code": why.code.value,
        "fault": why.sentence,
        "warnings": list(warnings),
    }
    if again:
        wait = (why.retry_after or timedelta()) * 2 ** max(0, job.attempts - 1)
        due_at = why.at or now + min(wait, timedelta(hours=12))
        if why.at is not None:
            result["attempts"] = 0
        else:
            result["fault"] = f"{why.sentence} {retry_sentence(due_at)}"
        requeue(job, now, due_at=due_at, **result)
        return
    if why.retry_after is not None:
        result["fault"] = f"{why.sentence} {given_up_sentence(job.attempts)}"
    with transaction.atomic():
        if mine(job).update(**released(status=Status.FAILED, ended_at=now, **result)):
            events.download(job.pk)


def folder_of(job: DownloadJob) -> Path:
    """Returns the job's folder, the same for each try, so that part files are found again."""
    folder: Path = settings.DATA_DIR / "downloads" / str(job.pk)
    return folder
