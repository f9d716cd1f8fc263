"""What the queue runs: the node's supervisor, and the housekeeping."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from typing import Final

import structlog
from django.conf import settings
from django.utils import timezone

from media_library.actions import request_prepare
from media_library.models import MediaItem, PreparedCopy
from streams import plans
from streams.models import Channel, LogLine, Sample
from streams.node import NodeLedger
from streams.playout.supervisor import supervise
from streams.sources import open_sources

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Samples older than this are thinned to one in five minutes ...
FULL_DETAIL: Final = timedelta(days=1)
THINNED_TO: Final = 300
#: ... and removed after this.
SAMPLES_KEPT: Final = timedelta(days=30)
#: Log lines kept of each channel.
LINES_KEPT: Final = 2000


def supervise_node() -> str:
    """Supervise this node's channels until SIGTERM. The worker ends with it."""
    sources = open_sources()
    book = NodeLedger(settings.NODE_NAME, sources)
    supervise(plans.tools(), plans.policy(), book, sources)
    # Told to end: the worker must not wait for another task.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
    return "Stopped."


def prepare_playlists() -> str:
    """Queue what the playlists of channels hold and what is not in their house format yet."""
    asked = 0
    for channel in Channel.objects.exclude(playlist=None):
        house = channel.house
        done = PreparedCopy.objects.filter(house=house.signature).values("item")
        listed = MediaItem.objects.filter(entries__playlist=channel.playlist_id)
        for item in listed.exclude(pk__in=done).exclude(status="fault").distinct():
            request_prepare(item, house)
            asked += 1
    return f"{asked} asked for."


def thin_samples() -> str:
    """Keep a day of samples whole, a month of them thinned, and the newest log lines."""
    now = timezone.now()
    gone, _ = Sample.objects.filter(at__lt=now - SAMPLES_KEPT).delete()
    old = Sample.objects.filter(at__lt=now - FULL_DETAIL).order_by("pk")
    first: dict[tuple[int, int | None, str, int], int] = {}
    surplus: list[int] = []
    for pk, channel, output, role, at in old.values_list(
        "pk", "channel", "output", "role", "at"
    ).iterator():
        place = (channel, output, role, int(at.timestamp()) // THINNED_TO)
        if first.setdefault(place, pk) != pk:
            surplus.append(pk)
    for start in range(0, len(surplus), 500):
        Sample.objects.filter(pk__in=surplus[start : start + 500]).delete()
    for each in Channel.objects.all():
        lines = LogLine.objects.filter(channel=each)
        newest = lines.order_by("-pk").values_list("pk", flat=True)[:LINES_KEPT]
        lines.filter(pk__lt=min(newest, default=0)).delete()
    return f"{gone + len(surplus)} samples removed."
