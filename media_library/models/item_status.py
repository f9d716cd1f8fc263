"""An item's status, which is decided only here.

    new ──inspect──▶ probed ──request──▶ preparing ──▶ ready
     ▲                  ▲                    │
     └── changed        └──── cancelled, or the copy is faulty: the item still plays
    fault: it can't be read as a video. A retry by a person makes it new again.

"Preparing" means that a copy is queued or being made, even if another house format's copy is
ready already. "Ready" means that there is a copy of its present content, and that no other is
being made.
"""

from __future__ import annotations

from django.db.models import Case, Exists, OuterRef, Value, When

from media_library.models import MediaItem, PreparedCopy

Status = MediaItem.Status


def settle(item_id: int) -> None:
    """Derives the status from the item's copies, in one statement."""
    copies = PreparedCopy.objects.filter(item=OuterRef("pk"))
    busy = copies.filter(status__in=[PreparedCopy.Status.QUEUED, PreparedCopy.Status.RUNNING])
    ready = copies.filter(status=PreparedCopy.Status.READY, source_etag=OuterRef("etag"))
    MediaItem.objects.filter(pk=item_id).exclude(status__in=[Status.NEW, Status.FAULT]).update(
        status=Case(
            When(Exists(busy), then=Value(Status.PREPARING.value)),
            When(Exists(ready), then=Value(Status.READY.value)),
            default=Value(Status.PROBED.value),
        )
    )
