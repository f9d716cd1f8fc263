"""The Demo channel: sample clips made in the background right after the installation."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django_q.models import Schedule
from django_q.tasks import async_task

from media_library.actions import add_file, request_prepare
from media_library.conform import sample_clips
from media_library.models import MediaItem, Playlist, PreparedCopy
from media_library.tasks import prepare_item
from streams.control.actions import ActionRefusedError, start
from streams.models import Channel
from streams.wake import wake_supervisor

NAME: Final = "Demo"
SLUG: Final = "demo"


def order() -> Channel:
    """Create the empty Demo channel, and enqueue the job that makes its clips."""
    with transaction.atomic():
        playlist = Playlist.objects.create(name=NAME)
        channel = Channel.objects.create(name=NAME, slug=SLUG, playlist=playlist)
        # The schedule repeats the job until it succeeds, also after a worker has died.
        Schedule.objects.create(
            name="make samples",
            func=sample_clips.TASK,
            schedule_type=Schedule.MINUTES,
            minutes=1,
            repeats=-1,
            next_run=timezone.now() + timedelta(minutes=1),
        )
        transaction.on_commit(lambda: async_task(sample_clips.TASK))
    return channel


def make() -> str:
    """Make the missing sample clips and add them to the playlist; then remove the schedule.

    The first finished clip starts the channel. Raises `ToolError` or `StorageError`.
    """
    channel = Channel.objects.filter(slug=SLUG).select_related("playlist").first()
    made = 0
    for sample in sample_clips.SAMPLES:
        if channel is None or channel.playlist is None:
            break
        if not channel.playlist.entries.filter(item__title=sample.title).exists():
            made += 1
            _add(channel, channel.playlist, sample)
    Schedule.objects.filter(func=sample_clips.TASK).delete()
    return f"{made} made."


def _add(channel: Channel, playlist: Playlist, sample: sample_clips.Sample) -> None:
    path = sample_clips.make(sample, settings.DATA_DIR / "samples", settings.FFMPEG_PATH)
    # A killed worker may have left the item in the library: it is reused.
    item = MediaItem.objects.filter(title=sample.title).first()
    item = item or add_file(path, title=sample.title)
    copy = request_prepare(item, channel.house_format, again=True)
    if copy.status != PreparedCopy.Status.READY:
        prepare_item(copy.pk)
    # If preparing failed, the item is encoded during playout and prepared later.
    playlist.entries.create(item=item, position=playlist.entries.count() + 1)
    if playlist.entries.count() > 1:
        wake_supervisor()
        return
    try:
        start(channel, by="first run", now=timezone.now())
    except ActionRefusedError:
        # The channel's page shows the reason, or an operator has started it already.
        return
