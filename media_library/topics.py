"""What the library tells live: how far each download is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from media_library.models import DownloadJob
from streamsite.levels import Level, Rule
from streamsite.live import Topic

#: No title and no address: whoever may listen to one job may listen to all.
_TOLD: Final = (
    *("status", "percent", "note", "speed", "seconds_left", "bytes_done", "bytes_total"),
    *("code", "fault"),
)


def snapshots(keys: Collection[str], _now: datetime) -> Mapping[str, Mapping[str, Any]]:
    """By a job's id: how far it is."""
    wanted = [int(key) for key in keys if key.isdecimal() and len(key) < 19]  # noqa: PLR2004 - 2^63 has 19 digits
    found = DownloadJob.objects.filter(pk__in=wanted).order_by().values("pk", *_TOLD)
    return {str(each.pop("pk")): each for each in found}


PROGRESS: Final = Topic(
    name="progress",
    place="jobs",
    rule=Rule(Level.DOWNLOAD, "media_library.view_downloadjob"),
    snapshots=snapshots,
)
