"""Detects an empty storage while the library has items: an unmounted disk or a wrong bucket."""

from __future__ import annotations

from django.conf import settings

from media_library import storage
from media_library.models import MediaItem
from media_library.storage.backends import is_local


def emptied() -> str:
    """Returns a sentence if the storage is empty and the library has items; otherwise empty.

    Like the deletion guard of the sync: after a deliberate deletion, accepting it there marks
    the items as missing. Never raises: a storage that can't be listed is reported elsewhere.
    """
    if not MediaItem.objects.filter(missing_since=None).exists():
        return ""
    try:
        if not storage.holds_nothing():
            return ""
    except storage.StorageError:
        return ""
    if is_local():
        return f"The media folder {settings.MEDIA_ROOT} is empty: is its disk mounted?"
    return "The bucket is empty: is STORAGE_BUCKET the right one?"
