"""An item's one status, decided here and nowhere else.

    new ──look──▶ probed ──request──▶ preparing ──▶ ready
     ▲               ▲                    │
     └── changed     └──── cancelled, or the copy is faulty: the item still plays
    fault: it can't be read as a film. A person's retry makes it new again.

"Preparing" means that a copy is queued or being made, even where another house's is ready
already: work is under way. "Ready" means that there is a copy of its present content, and that
nothing else is being made of it.
"""

from __future__ import annotations

from django.db.models import Case, Exists, OuterRef, Value, When

from media_library.models import MediaItem, PreparedCopy

Status = MediaItem.Status


def settle(item_id: int) -> None:
    """Let the status follow the item's copies, in one statement."""
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
