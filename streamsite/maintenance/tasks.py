"""Tasks of the queue that keep the installation in order."""

from __future__ import annotations

from typing import Final

from django.utils import timezone

from media_library import storage
from media_library.jobs import slots
from media_library.storage import StorageError
from streamsite.maintenance import prune as pruning
from streamsite.maintenance import scheduled_backups

#: Seconds for which one task goes on; the next begins an hour later.
PRUNE_TIMEOUT_S: Final = 600.0


def prune() -> str:
    """Removes rows whose time is over, and uploads that were never finished."""
    gone = pruning.prune(timezone.now(), PRUNE_TIMEOUT_S)
    try:
        gone["unfinished-uploads"] = storage.abort_stale_uploads()
    except StorageError as error:
        return f"{sum(gone.values())} rows removed. {error}"
    listed = ", ".join(f"{count} {name}" for name, count in gone.items() if count)
    return f"Removed: {listed or 'nothing'}."


def back_up() -> str:
    """Makes a backup if one is due. One that fails is a failed job, which health shows."""
    with slots.slot("backup", 1) as free:
        return scheduled_backups.back_up(timezone.now()) if free else "Another worker does it."
