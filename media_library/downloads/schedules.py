"""Checks addresses repeatedly and downloads new videos."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db.models import F, Q

from media_library.downloads import jobs, metadata
from media_library.downloads.errors import GivenUpError
from media_library.downloads.jobs import Order, OrderError
from media_library.downloads.metadata import BusyError
from media_library.downloads.options import Options
from media_library.models import DownloadJob, DownloadSchedule
from streamsite.processes import claims
from streamsite.processes.claims import Claims

_CLAIMS: Final = Claims(DownloadSchedule, "next_at")
logger = logging.getLogger(__name__)

#: Delay of the next check after a failure, and after one that had to wait for others.
RETRY_DELAY: Final = timedelta(hours=1)
BUSY_DELAY: Final = timedelta(minutes=2)


def due(now: datetime) -> DownloadSchedule | None:
    """Claims the schedule that waits longest: writes its next check before this one.

    So a worker that dies in the middle costs one check, and never causes a loop.
    """
    free = Q(enabled=True, next_at__lte=now)
    waiting = DownloadSchedule.objects.filter(free).order_by("next_at", "pk")

    def take(pk: int) -> DownloadSchedule | None:
        hours = waiting.filter(pk=pk).values_list("every_hours", flat=True).first()
        next_at = now + (timedelta(hours=hours) if hours else RETRY_DELAY)
        return _CLAIMS.take(pk, next_at, free, checked_at=now)

    return claims.take_next(lambda: waiting, take)


def check(schedule: DownloadSchedule, now: datetime) -> str:
    """Orders new videos of its address; returns the result as a sentence."""
    rows = DownloadSchedule.objects.filter(pk=schedule.pk)
    try:
        info = metadata.inspect(schedule.url, cap=schedule.cap, any_site=schedule.any_site)
        pages = [entry["page"] for entry in info["entries"] if entry["page"]]
        new = _new(schedule, pages if info["playlist"] else [schedule.url])
        refused = _ordered(schedule, new)
    except BusyError as error:
        rows.update(next_at=now + BUSY_DELAY)
        return str(error)
    except (GivenUpError, OrderError) as error:
        rows.update(next_at=now + RETRY_DELAY, fault=str(error))
        logger.warning("schedule %s: %s", schedule, error)
        return str(error)
    rows.update(
        fault=refused[0] if refused else "",
        ordered=F("ordered") + len(new) - len(refused),
        # A schedule that runs once is finished.
        **({"enabled": False} if schedule.every_hours == 0 else {}),
    )
    return f"{len(new) - len(refused)} new of {len(pages) or 1}."


def _ordered(schedule: DownloadSchedule, urls: Sequence[str]) -> list[str]:
    """Orders each address; returns the errors. One error does not block the others."""
    order = Order(
        by=schedule.made_by,
        owner=schedule.owner,
        any_site=schedule.any_site,
        rights=schedule.rights,
    )
    refused = []
    for url in urls:
        try:
            jobs.add(url, Options.of(schedule.options), order, schedule=schedule)
        except OrderError as error:
            refused.append(f"{url[:100]}: {error}")
    return refused


def _new(schedule: DownloadSchedule, urls: list[str]) -> list[str]:
    """Returns addresses that this schedule never ordered, whatever their result; oldest first.

    Channels list the newest first. A video that another job downloaded is detected later, by
    id.
    """
    ordered = set(
        DownloadJob.objects.filter(schedule=schedule, url__in=urls).values_list(
            "url", flat=True
        )
    )
    return [url for url in reversed(urls) if url not in ordered]
