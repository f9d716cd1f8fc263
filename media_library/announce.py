"""What webhooks are told of the library, in the transaction that makes it true."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from django.utils import timezone

from media_library.models import MediaItem
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
