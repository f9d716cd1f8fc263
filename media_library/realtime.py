"""The library's real-time topic: the progress of downloads."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from media_library.api.downloads import seen_by
from media_library.models import DownloadJob
from streamsite.api.auth import Caller
from streamsite.api.permissions import DOWNLOAD, Rule
from streamsite.realtime.hub import Topic

#: Fields that change; titles and addresses do not.
_FIELDS: Final = (
    *("status", "percent", "note", "speed", "seconds_left", "bytes_done", "bytes_total"),
    *("code", "fault"),
)


def _numbers(keys: Collection[str]) -> list[int]:
    """Returns the keys that can be a job's id: 2^63 has 19 digits."""
    return [int(key) for key in keys if key.isdecimal() and len(key) < 19]  # noqa: PLR2004 - digits of the largest id


def snapshots(keys: Collection[str], _now: datetime) -> Mapping[str, Mapping[str, Any]]:
    """Returns the progress by a job's id."""
    rows = DownloadJob.objects.filter(pk__in=_numbers(keys)).order_by().values("pk", *_FIELDS)
    return {str(row.pop("pk")): row for row in rows}


def _exists(who: Caller, key: str) -> bool:
    """Returns whether the caller may see the job: DOWNLOAD keys see their own only."""
    return seen_by(who).filter(pk__in=_numbers([key])).exists()


PROGRESS: Final = Topic(
    name="progress",
    place="jobs",
    parameter="id",
    rule=Rule(DOWNLOAD, "media_library.view_downloadjob"),
    data="Fields of `GET /api/v1/status/{id}`: "
    + ", ".join(f"`{name}`" for name in _FIELDS)
    + ".",
    exists=_exists,
    snapshots=snapshots,
)
