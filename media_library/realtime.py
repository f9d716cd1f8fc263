"""What the library tells live: how far each download is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from media_library.api.downloads import seen_by
from media_library.models import DownloadJob
from streamsite.api.auth import Caller
from streamsite.realtime.hub import Topic

#: What changes; titles and addresses do not.
_TOLD: Final = (
    *("status", "percent", "note", "speed", "seconds_left", "bytes_done", "bytes_total"),
    *("code", "fault"),
)


def _numbers(keys: Collection[str]) -> list[int]:
    """Those that can be a job's id: 2^63 has 19 digits."""
    return [int(key) for key in keys if key.isdecimal() and len(key) < 19]  # noqa: PLR2004


def snapshots(keys: Collection[str], _now: datetime) -> Mapping[str, Mapping[str, Any]]:
    """By a job's id: how far it is."""
    found = DownloadJob.objects.filter(pk__in=_numbers(keys)).order_by().values("pk", *_TOLD)
    return {str(each.pop("pk")): each for each in found}


def _exists(who: Caller, key: str) -> bool:
    """A key of level DOWNLOAD hears of its own downloads only."""
    return seen_by(who).filter(pk__in=_numbers([key])).exists()


PROGRESS: Final = Topic(
    name="progress",
    place="jobs",
    parameter="id",
    data="Of `GET /api/v1/status/{id}`: " + ", ".join(f"`{name}`" for name in _TOLD) + ".",
    exists=_exists,
    snapshots=snapshots,
)
