"""Addresses that are looked at again and again: what is new there is downloaded."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db.models import F

from media_library.downloads import jobs, metadata
from media_library.downloads.errors import GivenUpError
from media_library.downloads.jobs import Order, OrderError
from media_library.downloads.metadata import BusyError
from media_library.downloads.options import Options
from media_library.models import DownloadJob, DownloadSchedule

logger = logging.getLogger(__name__)

#: Until the next look after one that failed, or found others looking.
AGAIN: Final = timedelta(hours=1)
SOON: Final = timedelta(minutes=2)


def due(now: datetime) -> DownloadSchedule | None:
    """The schedule that waits longest, taken: its next look is written before this one.

    So a worker that dies in the middle costs one look, never a loop of them.
    """
    while True:
        waiting = DownloadSchedule.objects.filter(enabled=True, next_at__lte=now)
        found = waiting.order_by("next_at", "pk").first()
        if found is None:
            return None
        once = found.every_hours == 0
        taken = waiting.filter(pk=found.pk, next_at=found.next_at).update(
            next_at=now + (timedelta(hours=found.every_hours) if not once else AGAIN),
            looked_at=now,
        )
        if taken:
            return found


def look(schedule: DownloadSchedule, now: datetime) -> str:
    """Order what is new at its address; returns what came of it, in words."""
    rows = DownloadSchedule.objects.filter(pk=schedule.pk)
    try:
        found = metadata.look(schedule.url, cap=schedule.cap, any_site=schedule.any_site)
        pages = [each["page"] for each in found["entries"] if each["page"]]
        new = _new(schedule, pages if found["playlist"] else [schedule.url])
        refused = _ordered(schedule, new)
    except BusyError as error:
        rows.update(next_at=now + SOON)
        return str(error)
    except (GivenUpError, OrderError) as error:
        rows.update(next_at=now + AGAIN, fault=str(error))
        logger.warning("schedule %s: %s", schedule, error)
        return str(error)
    rows.update(
        fault=refused[0] if refused else "",
        found=F("found") + len(new) - len(refused),
        # One that looks once has looked.
        **({"enabled": False} if schedule.every_hours == 0 else {}),
    )
    return f"{len(new) - len(refused)} new of {len(pages) or 1}."


def _ordered(schedule: DownloadSchedule, urls: Sequence[str]) -> list[str]:
    """Order each; why those that can't be were not. One of them holds up no other."""
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
    """Those that this schedule never ordered, whatever became of them: the oldest first.

    Lists of channels have the newest first. What another job brought is found by its id later.
    """
    known = set(
        DownloadJob.objects.filter(schedule=schedule, url__in=urls).values_list(
            "url", flat=True
        )
    )
    return [url for url in reversed(urls) if url not in known]
