"""Webhook events of the library, emitted in the transaction of the change."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from django.utils import timezone

from media_library.models import DownloadJob, MediaItem
from streamsite.webhooks.models import Event
from streamsite.webhooks.outbox import emit

#: Maximum items named in one message: a bucket may lose thousands at once.
MAX_NAMED: Final = 20


def faults(items: Collection[int], fault: str) -> None:
    """Emits an event about items that can't be played any more, for one common reason."""
    if not items:
        return
    named = MediaItem.objects.filter(pk__in=sorted(items)[:MAX_NAMED]).order_by("pk")
    data = {
        "count": len(items),
        "items": list(named.values("id", "key", "title")),
        "fault": fault,
    }
    emit(Event.LIBRARY_FAULT, data, at=timezone.now())


def download(job: int) -> None:
    """Emits an event about a finished or failed download; none if it continues.

    Without its address, which may contain a key of the user.
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
        "requested_by": row.requested_by,
        "item": row.item_id,
        "key": row.key,
        "duplicate": row.duplicate,
        "code": row.code,
        "fault": row.fault,
        "ended_at": row.ended_at,
    }
    emit(event, data, at=row.ended_at or timezone.now())
