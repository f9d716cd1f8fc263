"""A storage that has nothing in it, beside a library that has items: proof of nothing."""

from __future__ import annotations

from django.conf import settings

from media_library import storage
from media_library.models import MediaItem
from media_library.storage.backends import is_local


def emptied() -> str:
    """A sentence, where the storage lists nothing and the library has items; empty otherwise.

    As the brake of the sync: whoever has deleted all of it tells so there, and then the items
    are marked as missing. Raises nothing: a storage that can't be listed is another matter.
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
