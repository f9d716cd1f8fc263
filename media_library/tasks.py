"""The library's jobs on django-q2. The truth is in the rows: a lost message costs a minute."""

from __future__ import annotations

from django.conf import settings
from django.utils import timezone

from media_library import actions
from media_library.analysis import queue as probing
from media_library.conform import queue, workdir
from media_library.downloads import attempt, jobs, recovery, schedules, worker, ytdlp_versions
from media_library.downloads.ytdlp_versions import UpdateError
from media_library.jobs import enqueue, slots
from media_library.models import MediaItem
from streamsite.http import form_uploads


def probe_item(item_id: int) -> str:
    """Look into a file of the library."""
    item = MediaItem.objects.filter(pk=item_id).first()
    if item is None:
        return "The item is gone."
    actions.look_into(item, now=timezone.now())
    return item.fault or "Probed."


def probe_new() -> str:
    """Look into new items, those of playlists first. Every minute, and when some have come."""
    with slots.place("probe", settings.PROBE_JOBS) as free:
        if not free:
            return "Enough are at it."
        return f"{probing.work()} looked into."


def prepare_next() -> str:
    """Make the most urgent prepared copy, and ring for the next."""
    with slots.place("prepare", settings.PREPARE_JOBS) as free:
        if not free:
            return "Enough are at it."
        copy = queue.take_next()
        if copy is None:
            return "Nothing to do."
        if queue.waiting().exists():
            # Help, as far as there are places.
            enqueue.prepare()
        said = f"{copy.item}: {queue.make(copy)}"
    if queue.waiting().exists():
        enqueue.prepare()
    return said


def prepare_item(copy_id: int) -> str:
    """Make that copy, unless another worker is at it."""
    copy = queue.take(copy_id)
    if copy is None:
        return "Nothing to do: it is being made, is made, or is gone."
    return queue.make(copy)


def sweep_library() -> str:
    """Queue again what dead workers left, and ring for what nobody makes. Every minute."""
    gone, left = queue.recover()
    waits = queue.waiting().count()
    for _ in range(min(waits, settings.PREPARE_JOBS)):
        enqueue.prepare()
    workdir.tidy()
    form_uploads.tidy()
    return f"{gone} given up, {left} left behind, {waits} waiting."


# ---- downloads -------------------------------------------------------------------------------


def download_next() -> str:
    """Do the download that waits longest, and ring for the next."""
    attempt.sing()
    job = jobs.take_next(timezone.now())
    if job is None:
        return "Nothing to do."
    if jobs.waiting(timezone.now()).exists():
        # Help, as far as there are workers.
        jobs.ring()
    said = f"{job}: {worker.work(job)}"
    if jobs.waiting(timezone.now()).exists():
        jobs.ring()
    return said


def sweep_downloads() -> str:
    """Queue again what dead workers left, and ring for what nobody does. Every minute."""
    now = timezone.now()
    gone, left = recovery.recover(now)
    waits = jobs.waiting(now).count()
    for _ in range(max(1, min(waits, settings.DOWNLOAD_JOBS))):
        # Once at least: it is also the canary of the downloads' cluster.
        jobs.ring()
    tidied = recovery.tidy(now)
    return f"{gone} given up, {left} left behind, {waits} waiting, {tidied} tidied up."


def update_downloader() -> str:
    """Fetch a newer yt-dlp and try it; what came of it is told on its page too."""
    try:
        return ytdlp_versions.update(timezone.now())
    except UpdateError as error:
        return str(error)


def look_at_schedules() -> str:
    """Look at the addresses whose time has come, one after the other. Every minute."""
    with slots.place("schedules", 1) as free:
        if not free:
            return "Another worker is at it."
        looked = 0
        while (schedule := schedules.due(timezone.now())) is not None:
            schedules.look(schedule, timezone.now())
            looked += 1
        return f"{looked} looked at."
