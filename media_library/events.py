"""What webhooks are told of the library, in the transaction that makes it true."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from django.utils import timezone

from media_library.models import DownloadJob, MediaItem
from streamsite.webhooks.models import Event
from streamsite.webhooks.outbox import emit

#: Items that one message names: a bucket may lose thousands at once.
NAMED: Final = 20


def faults(items: Collection[int], fault: str) -> None:
    """These can't be played any more, for one and the same reason."""
    if not items:
        return
    named = MediaItem.objects.filter(pk__in=sorted(items)[:NAMED]).order_by("pk")
    data = {
        "count": len(items),
        "items": list(named.values("id", "key", "title")),
        "fault": fault,
    }
    emit(Event.LIBRARY_FAULT, data, at=timezone.now())


def download(job: int) -> None:
    """It is done, or has failed for good; of one that goes on nothing is told.

    Not its address: that may hold a key of whoever asked for it.
    """
    row = DownloadJob.objects.select_related("item").get(pk=job)
    if row.status == DownloadJob.Status.DONE:
        event = Event.DOWNLOAD_FINISHED
    elif row.status == DownloadJob.Status.FAILED:
        event = Event.DOWNLOAD_FAILED
    else:
        return
    data = {
        "job": row.pk,
        "site": row.site,
        "title": row.title,
        "asked_by": row.asked_by,
        "item": row.item_id,
        "key": row.key,
        "duplicate": row.duplicate,
        "code": row.code,
        "fault": row.fault,
        "ended_at": row.ended_at,
    }
    emit(event, data, at=row.ended_at or timezone.now())
