"""The library's tasks on django-q2. The rows hold the state: sweeps recover lost messages."""

from __future__ import annotations

from django.conf import settings
from django.utils import timezone

from media_library import actions
from media_library.analysis import queue as probing
from media_library.conform import queue, workdir
from media_library.downloads import alive, jobs, recovery, schedules, worker, ytdlp_versions
from media_library.downloads.ytdlp_versions import UpdateError
from media_library.jobs import enqueue, slots
from media_library.models import MediaItem


def probe_item(item_id: int) -> str:
    """Inspects a file of the library."""
    item = MediaItem.objects.filter(pk=item_id).first()
    if item is None:
        return "The item was deleted."
    actions.inspect(item, now=timezone.now())
    return item.fault or "Probed."


def probe_new() -> str:
    """Inspects new items, those of playlists first. Runs each minute, and after additions."""
    with slots.slot("probe", settings.PROBE_JOBS) as free:
        if not free:
            return "Enough workers are running."
        return f"{probing.work()} inspected."


def prepare_next() -> str:
    """Makes the most urgent prepared copy, and enqueues the next."""
    with slots.slot("prepare", settings.PREPARE_JOBS) as free:
        if not free:
            return "Enough workers are running."
        copy = queue.take_next()
        if copy is None:
            return "Nothing to do."
        if queue.waiting().exists():
            # More workers, as far as there are slots.
            enqueue.prepare()
        result = f"{copy.item}: {queue.make(copy)}"
    if queue.waiting().exists():
        enqueue.prepare()
    return result


def prepare_item(copy_id: int) -> str:
    """Makes that copy, unless another worker has it."""
    copy = queue.take(copy_id)
    if copy is None:
        return "Nothing to do: it is being made, is made, or was deleted."
    return queue.make(copy)


def sweep_library() -> str:
    """Requeues copies of dead workers, and enqueues workers for others. Each minute."""
    gone, left = queue.recover()
    waits = queue.waiting().count()
    for _ in range(min(waits, settings.PREPARE_JOBS)):
        enqueue.prepare()
    workdir.tidy()
    return f"{gone} failed, {left} requeued, {waits} waiting."


# ---- downloads -------------------------------------------------------------------------------


def download_next() -> str:
    """Runs the download that waits longest, and enqueues the next."""
    alive.touch_alive_file()
    # Two clusters of a machine may do downloads: `background`, and `downloads` of before.
    with slots.slot("download", settings.DOWNLOAD_JOBS) as free:
        if not free:
            return "Enough workers are running."
        job = jobs.take_next(timezone.now())
        if job is None:
            return "Nothing to do."
        if jobs.waiting(timezone.now()).exists():
            # More workers, as far as there are any.
            jobs.enqueue_next()
        result = f"{job}: {worker.work(job)}"
    if jobs.waiting(timezone.now()).exists():
        jobs.enqueue_next()
    return result


def sweep_downloads() -> str:
    """Requeues downloads of dead workers, and enqueues workers for others. Each minute."""
    now = timezone.now()
    gone, left = recovery.recover(now)
    waits = jobs.waiting(now).count()
    for _ in range(max(1, min(waits, settings.DOWNLOAD_JOBS))):
        # At least once: the task also proves that the downloads' cluster works.
        jobs.enqueue_next()
    tidied = recovery.tidy(now)
    return f"{gone} failed, {left} requeued, {waits} waiting, {tidied} tidied up."


def update_downloader() -> str:
    """Installs a newer yt-dlp and tests it; its page shows the result too."""
    try:
        return ytdlp_versions.update(timezone.now())
    except UpdateError as error:
        return str(error)


def check_schedules() -> str:
    """Checks the download schedules that are due, one after the other. Runs each minute."""
    with slots.slot("schedules", 1) as free:
        if not free:
            return "Another worker is running."
        count = 0
        while (schedule := schedules.due(timezone.now())) is not None:
            schedules.check(schedule, timezone.now())
            count += 1
        return f"{count} checked."
