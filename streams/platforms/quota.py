"""The daily units of YouTube's API: when to ask next, and whether a call may be made. Pure.

Source: "Quota Calculator" (developers.google.com/youtube/data/determine_quota_cost, 2026):
10,000 units a day, which begin anew at midnight Pacific time; a list costs 1 a page, a change
50; refused calls cost as well.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_PACIFIC: Final = ZoneInfo("America/Los_Angeles")
LIST_COST: Final = 1
CHANGE_COST: Final = 50
#: Units that checks and titles leave: two new broadcasts (created, bound, transitioned, and
#: read between).
RESERVE: Final = 350
#: The interval of checks while the units last, and the longest: a fault has to be known.
MIN_INTERVAL: Final = timedelta(minutes=1)
MAX_INTERVAL: Final = timedelta(minutes=30)


def day(now: datetime) -> date:
    """Return the day whose units are spent now."""
    return now.astimezone(_PACIFIC).date()


def renewed_at(now: datetime) -> datetime:
    """Return when the units begin anew."""
    return datetime.combine(day(now) + timedelta(days=1), time(), _PACIFIC)


def interval(now: datetime, spent: int, budget: int, cost: int) -> timedelta:
    """Return the time until the next check, so that the units last until midnight.

    `cost`: units of a check.
    """
    left = budget - spent - RESERVE
    if left < cost:
        return MAX_INTERVAL
    checks = left // max(cost, 1)
    # The difference of aware times of one zone would ignore a change of the clocks.
    seconds = renewed_at(now).timestamp() - now.timestamp()
    return min(max(timedelta(seconds=seconds / checks), MIN_INTERVAL), MAX_INTERVAL)


def affords_title(now: datetime, spent: int, budget: int) -> bool:
    """Whether a change of a title leaves enough for checks each minute until midnight."""
    minutes = (renewed_at(now).timestamp() - now.timestamp()) / 60
    return spent + CHANGE_COST + RESERVE + 3 * LIST_COST * minutes <= budget
