"""Downloads: what people order, who takes them up, and how they are given back.

A job is taken by a conditional update that writes a claim of this try alone; who takes the
claim away stops the work within a second. Waiting jobs hold no message of the queue: one that
is lost costs a minute.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any, Final
from urllib.parse import urlsplit

import psutil
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Count, F, QuerySet
from django.utils import timezone

from media_library import events
from media_library.downloads.errors import Verdict
from media_library.downloads.options import Options, Sound
from media_library.models import DownloadBatch, DownloadJob, DownloadSchedule, SitePause
from streamsite.api.models import ApiKey
from streamsite.processes.task_queue import enqueue
from streamsite.security.urls import without_secrets

Status = DownloadJob.Status

#: Tries at what may pass.
TRIES: Final = 5
LONGEST_URL: Final = 2000
#: Addresses of one batch.
MOST_AT_ONCE: Final = 500


class OrderError(Exception):
    """The order can't be taken. `str()` of it is a sentence for whoever gave it."""


@dataclass(frozen=True, slots=True)
class Order:
    """Who wants it, and on what terms."""

    by: str
    #: Whose quota it counts to: user:1, key:7.
    owner: str
    any_site: bool = False
    again: bool = False
    rights: str = ""


class NotNowError(OrderError):
    """The job is in no state in which that can be done."""


# ---- orders ----------------------------------------------------------------------------------


def cleaned(url: str) -> str:
    """The address, if it is one that may be asked for. Raises `OrderError`."""
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
            "Leave the name and password out of the address: put cookies under “Site cookies”."
        )
    if len(url) > LONGEST_URL or "__youtubedl_smuggle" in url or not url.isprintable():
        raise OrderError("The address can't be used: copy it from the browser.")
    return url


#: Hosts of one site: its cookies serve there, and if it wants to be left alone, so do they.
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
    """Raises `OrderError` where the library would not take what comes of it."""
    if options.sound is Sound.NO and options.extension not in settings.MEDIA_EXTENSIONS:
        raise OrderError(
            f"The library takes no .{options.extension} (MEDIA_EXTENSIONS): choose another "
            "form."
        )
    if options.translate and not settings.LIBRETRANSLATE_URL:
        raise OrderError(
            "No server translates here: set LIBRETRANSLATE_URL, or ask for no translation."
        )


def add(
    url: str,
    options: Options,
    order: Order,
    *,
    batch: DownloadBatch | None = None,
    schedule: DownloadSchedule | None = None,
    asked_key: str = "",
) -> DownloadJob:
    """Order one download. Asked again with the same `asked_key`, it is the same job.

    Raises `OrderError`.
    """
    url = cleaned(url)
    fits(options)
    if asked_key:
        known = DownloadJob.objects.filter(owner=order.owner, asked_key=asked_key).first()
        if known is not None:
            return _the_same(known, url, options)
    try:
        with transaction.atomic():
            job = DownloadJob.objects.create(
                url=url,
                site=site_of(url),
                options=options.told(),
                profile=options.profile,
                any_site=order.any_site,
                again=order.again,
                rights=order.rights,
                batch=batch,
                schedule=schedule,
                owner=order.owner,
                asked_by=order.by,
                asked_key=asked_key,
            )
            transaction.on_commit(ring)
    except IntegrityError:
        # The same order came twice at once.
        known = DownloadJob.objects.filter(owner=order.owner, asked_key=asked_key).first()
        if known is None:
            raise
        return _the_same(known, url, options)
    return job


def _the_same(known: DownloadJob, url: str, options: Options) -> DownloadJob:
    if (known.url, known.profile) != (url, options.profile):
        raise OrderError("That Idempotency-Key was used for another download: make a new one.")
    return known


def add_many(
    urls: Sequence[str],
    options: Options,
    order: Order,
    *,
    name: str = "",
) -> DownloadBatch:
    """Order many, all or none. Raises `OrderError`."""
    wanted = list(dict.fromkeys(cleaned(url) for url in urls if url.strip()))
    if not wanted:
        raise OrderError("Give at least one address, each on a line of its own.")
    if len(wanted) > MOST_AT_ONCE:
        raise OrderError(f"Those are {len(wanted)} addresses: {MOST_AT_ONCE} at once at most.")
    with transaction.atomic():
        batch = DownloadBatch.objects.create(
            name=(name or without_secrets(wanted[0]))[:255], made_by=order.by
        )
        for url in wanted:
            add(url, options, order, batch=batch)
    return batch


def cancel(job: DownloadJob) -> bool:
    """Stop what waits or runs; False where it is over. Its worker notices within a second."""
    jobs = DownloadJob.objects.filter(pk=job.pk)
    now = timezone.now()
    stopped = jobs.filter(status=Status.QUEUED).update(
        status=Status.CANCELLED, ended_at=now, note="", code="", fault=""
    )
    asked = 0
    if not stopped:
        asked = jobs.filter(status__in=DownloadJob.RUNNING).update(cancel_asked=True)
        # It may have been given back between the two.
        asked += jobs.filter(status=Status.QUEUED).update(
            status=Status.CANCELLED, ended_at=now, note="", code="", fault=""
        )
    job.refresh_from_db()
    return bool(stopped or asked)


def cancel_batch(batch: DownloadBatch) -> int:
    """All of it that is not over; returns how many."""
    return sum(cancel(job) for job in batch.jobs.exclude(status__in=DownloadJob.OVER))


def retry(job: DownloadJob, *, lift: bool) -> None:
    """Try again what failed, was cancelled, or waits. Raises `NotNowError`.

    `lift`: although its site wants to be left alone. A person knows better than that pause;
    a program that tries again and again would have the site close its doors.
    """
    renewed = DownloadJob.objects.filter(
        pk=job.pk, status__in=[Status.FAILED, Status.CANCELLED, Status.QUEUED]
    ).update(
        status=Status.QUEUED,
        due_at=timezone.now(),
        ended_at=None,
        cancel_asked=False,
        attempts=0,
        deaths=0,
        percent=0,
        note="",
        code="",
        fault="",
    )
    if not renewed:
        raise NotNowError("It runs, or is done already: there is nothing to try again.")
    if lift:
        SitePause.objects.filter(site=job.site).delete()
    job.refresh_from_db()
    transaction.on_commit(ring)


def ring() -> None:
    """One more worker of the downloads' cluster looks for work."""
    enqueue("media_library.tasks.download_next", cluster=settings.DOWNLOADS_CLUSTER, timeout=-1)


# ---- who takes what up -----------------------------------------------------------------------


def waiting(now: datetime) -> QuerySet[DownloadJob]:
    """Those that may be taken up now, the oldest first; sites that are left alone are not."""
    paused = SitePause.objects.filter(until__gt=now).values("site")
    return (
        DownloadJob.objects.filter(status=Status.QUEUED, due_at__lte=now)
        .exclude(site__in=paused)
        .exclude(owner__in=_at_their_limit())
        .order_by("due_at", "pk")
    )


def _at_their_limit() -> list[str]:
    """Keys that have as many downloads running as they may."""
    running = DownloadJob.objects.filter(
        status__in=DownloadJob.RUNNING, owner__startswith="key:"
    )
    counts = dict(running.order_by().values_list("owner").annotate(Count("pk")))
    keys = [owner.partition(":")[2] for owner in counts]
    limits = ApiKey.objects.filter(pk__in=keys).values_list("pk", "concurrent_downloads")
    return [f"key:{pk}" for pk, most in limits if counts[f"key:{pk}"] >= most]


def _within_limit(job: DownloadJob) -> bool:
    """Those that were taken first stay: of two that look at once, one goes on."""
    kind, _, pk = job.owner.partition(":")
    most = None
    if kind == "key":
        keys = ApiKey.objects.filter(pk=pk)
        most = keys.values_list("concurrent_downloads", flat=True).first()
    if most is None:
        return True
    running = DownloadJob.objects.filter(status__in=DownloadJob.RUNNING, owner=job.owner)
    return job.pk in running.order_by("started_at", "pk").values_list("pk", flat=True)[:most]


def take_next(now: datetime) -> DownloadJob | None:
    """The next job, claimed; None where nothing waits."""
    while (pk := waiting(now).values_list("pk", flat=True).first()) is not None:
        if (job := take(pk, now)) is not None:
            return job
    return None


def take(job_id: int, now: datetime) -> DownloadJob | None:
    """That job, claimed; None where it is not queued any more, or its key has enough."""
    claim = token_hex(16)
    taken = DownloadJob.objects.filter(pk=job_id, status=Status.QUEUED).update(
        status=Status.EXTRACTING,
        claim=claim,
        worker=this_worker(),
        session=None,
        heard_at=now,
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
    job = DownloadJob.objects.filter(pk=job_id, claim=claim).first() if taken else None
    if job is None or _within_limit(job):
        return job
    # Two workers took one each at the same moment.
    given_back(job, now, attempts=F("attempts") - 1)
    return None


def mine(job: DownloadJob) -> QuerySet[DownloadJob]:
    """The row, as long as the claim is this worker's."""
    return DownloadJob.objects.filter(pk=job.pk, claim=job.claim)


def this_worker() -> str:
    me = psutil.Process(os.getpid())
    return f"{settings.NODE_NAME}:{me.pid}:{me.create_time():.2f}"


def released(**more: Any) -> dict[str, Any]:
    """What a row looks like that no worker holds any more."""
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


def given_back(job: DownloadJob, now: datetime, **more: Any) -> int:
    """Let another take it up; 0 where it is this worker's no more.

    If its end was ordered meanwhile, it ends.
    """
    ours = mine(job).update(**released(status=Status.QUEUED, **more))
    DownloadJob.objects.filter(pk=job.pk, status=Status.QUEUED, cancel_asked=True).update(
        status=Status.CANCELLED, ended_at=now, note="", code="", fault=""
    )
    return ours


def retry_sentence(due_at: datetime) -> str:
    """When it is tried again, in the installation's time zone."""
    return f"It is tried again at {timezone.localtime(due_at):%H:%M}."


def given_up_sentence(tries: int) -> str:
    return f"It was tried {tries} times and is not tried again by itself."


def failed(job: DownloadJob, why: Verdict, now: datetime, *, warnings: Sequence[str]) -> None:
    """Write down why; what may pass is queued again, and the site left alone if it asks so."""
    again = why.at is not None or (why.again is not None and job.attempts < TRIES)
    if why.pause is not None:
        SitePause.objects.update_or_create(
            site=job.site, defaults={"until": now + why.pause, "why": why.sentence}
        )
    said: dict[str, Any] = {
        "code": why.code.value,
        "fault": why.sentence,
        "warnings": list(warnings),
    }
    if again:
        wait = (why.again or timedelta()) * 2 ** max(0, job.attempts - 1)
        due_at = why.at or now + min(wait, timedelta(hours=12))
        if why.at is not None:
            said["attempts"] = 0
        else:
            said["fault"] = f"{why.sentence} {retry_sentence(due_at)}"
        given_back(job, now, due_at=due_at, **said)
        return
    if why.again is not None:
        said["fault"] = f"{why.sentence} {given_up_sentence(job.attempts)}"
    with transaction.atomic():
        if mine(job).update(**released(status=Status.FAILED, ended_at=now, **said)):
            events.download(job.pk)


def folder_of(job: DownloadJob) -> Path:
    """The same at each try, so that part files are found again."""
    folder: Path = settings.DATA_DIR / "downloads" / str(job.pk)
    return folder
