"""Events of the library, published in the transaction of the change."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, ClassVar, Final

from django.utils import timezone
from pydantic import Field

from media_library.models import DownloadJob, MediaItem
from streamsite.notifications import events
from streamsite.notifications.events import publish
from streamsite.webhooks.models import Event

#: Maximum items named in one message: a bucket may lose thousands at once.
MAX_NAMED: Final = 20


class LibraryFault(events.Event):
    webhook: ClassVar[str] = Event.LIBRARY_FAULT

    count: int
    items: list[dict[str, Any]]
    fault: str


class DownloadFinished(events.Event):
    """Without its address, which may contain a key of the user."""

    webhook: ClassVar[str] = Event.DOWNLOAD_FINISHED

    job: int = Field(validation_alias="pk")
    site: str
    title: str
    requested_by: str
    item: int | None = Field(validation_alias="item_id")
    key: str
    duplicate: bool
    code: str
    fault: str
    ended_at: datetime


class DownloadFailed(DownloadFinished):
    webhook: ClassVar[str] = Event.DOWNLOAD_FAILED


def faults(items: Collection[int], fault: str) -> None:
    """Publishes that items can't be played any more, for one common reason."""
    if not items:
        return
    named = MediaItem.objects.filter(pk__in=sorted(items)[:MAX_NAMED]).order_by("pk")
    rows = [dict(row) for row in named.values("id", "key", "title")]
    publish(LibraryFault(count=len(items), items=rows, fault=fault), timezone.now())


def download(job: int) -> None:
    """Publishes that a download is over: done, or failed for good."""
    row = DownloadJob.objects.get(pk=job)
    done = row.status == DownloadJob.Status.DONE
    event = (DownloadFinished if done else DownloadFailed).model_validate(row)
    publish(event, event.ended_at)
