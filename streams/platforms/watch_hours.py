"""Watch time towards YouTube's partner programme, and an estimate of when it is reached.

Source: YouTube Partner Programme (support.google.com/youtube/answer/72851, 2026): 1,000
subscribers and 4,000 valid public watch hours in 12 months. The API has no field for valid
public hours: `estimatedMinutesWatched` counts private and deleted videos as well, so the way
shown is an estimate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import structlog
from django.db.models import Q
from django.utils import timezone

from streams.models import PlatformAccount, WatchDay
from streams.platforms import connections, quota
from streams.platforms.connections import Pass
from streams.platforms.transport import PlatformError
from streams.platforms.youtube import YouTube
from streamsite.security.secret import UnreadableSecretError

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

HOURS: Final = 4000
SUBSCRIBERS: Final = 1000
WINDOW: Final = timedelta(days=365)
#: The days whose mean is continued.
RECENT: Final = timedelta(days=28)
#: How often the day's figures are read; YouTube needs two to three days for a day.
INTERVAL: Final = timedelta(hours=6)
#: Days that are read again, for late figures.
_REREAD_PERIOD: Final = timedelta(days=10)
#: An estimate further ahead says nothing.
_HORIZON: Final = timedelta(days=3 * 365)


@dataclass(frozen=True, slots=True)
class Progress:
    """`until`: the last day with figures. `reached_on`: an estimate; None: not foreseeable."""

    hours: float
    hours_a_day: float
    subscribers: int | None
    subscribers_a_day: float | None
    until: date | None
    reached_on: date | None
    sentence: str

    @property
    def hours_percent(self) -> float:
        return min(100.0, 100 * self.hours / HOURS)

    @property
    def subscribers_percent(self) -> float:
        return min(100.0, 100 * (self.subscribers or 0) / SUBSCRIBERS)


def progress(
    minutes: Mapping[date, float], subscribers: Mapping[date, int], today: date
) -> Progress:
    """Sum the last twelve months, and continue the last four weeks. Pure."""
    until = max(minutes, default=None)
    count_day = max(subscribers, default=None)
    count = subscribers[count_day] if count_day else None
    gain = _gain(subscribers)
    if until is None:
        sentence = "There are no figures yet."
        return Progress(0.0, 0.0, count, gain, None, None, sentence)
    # The window ends with the figures: the days without any are not counted as zero.
    hours = sum(m for day, m in minutes.items() if until - WINDOW < day <= until) / 60
    recent = [m for day, m in minutes.items() if until - RECENT < day <= until]
    rate = sum(recent) / len(recent) / 60
    hours_on = _hours_reached(minutes, until, rate)
    count_on = _subscribers_reached(count, gain, count_day)
    reached = max(hours_on, count_on) if hours_on and count_on else None
    sentence = _sentence(hours_on, count_on, reached, today)
    return Progress(hours, rate, count, gain, until, reached, sentence)


def _gain(subscribers: Mapping[date, int]) -> float | None:
    """Return the subscribers gained a day in the last four weeks; None: unknown."""
    if not subscribers:
        return None
    last = max(subscribers)
    first = min(day for day in subscribers if day > last - RECENT - timedelta(days=1))
    days = (last - first).days
    return (subscribers[last] - subscribers[first]) / days if days else None


def _hours_reached(minutes: Mapping[date, float], until: date, rate: float) -> date | None:
    """Return the day on which the sum of twelve months reaches the goal, at this rate.

    Days that are older than twelve months drop out of the sum.
    """
    total = sum(m for day, m in minutes.items() if until - WINDOW < day <= until) / 60
    day = until
    while total < HOURS:
        day += timedelta(days=1)
        if day - until > _HORIZON:
            return None
        gone = day - WINDOW
        left = minutes.get(gone, 0.0) / 60 if gone <= until else rate
        total += rate - left
    return day


def _subscribers_reached(
    count: int | None, gain: float | None, since: date | None
) -> date | None:
    if count is None or since is None:
        return None
    if count >= SUBSCRIBERS:
        return since
    if not gain or gain < 0:
        return None
    days = timedelta(days=-(-(SUBSCRIBERS - count) // gain))
    return since + days if days <= _HORIZON else None


def _sentence(
    hours_on: date | None, count_on: date | None, reached: date | None, today: date
) -> str:
    if reached is not None:
        if reached <= today:
            return "Both goals are reached, by these figures."
        return f"Estimate: both goals on {reached:%d %b %Y}, if the last four weeks continue."
    short = [
        name
        for name, day in (("watch hours", hours_on), ("subscribers", count_on))
        if day is None
    ]
    return (
        f"Estimate: at the rate of the last four weeks, {' and '.join(short)} are not reached "
        "within three years."
    )


# ---- rows ------------------------------------------------------------------------------------


def of(account: PlatformAccount, today: date) -> Progress:
    rows = WatchDay.objects.filter(account=account, day__gt=today - WINDOW - RECENT)
    listed = list(rows.values_list("day", "minutes", "subscribers"))
    return progress(
        {day: minutes for day, minutes, _ in listed if minutes is not None},
        {day: count for day, _, count in listed if count is not None},
        today,
    )


def read_due(job: Pass) -> None:
    """Read the figures of a YouTube account, if they are due. An error waits for the next."""
    now = timezone.now()
    last = job.row.watched_at
    youtube = job.account.kind == PlatformAccount.Kind.YOUTUBE
    if not youtube or (last is not None and last > now - INTERVAL):
        return
    # Written first: a job that is killed here does not ask again each minute.
    free = Q(watched_at=None) | Q(watched_at__lte=now - INTERVAL)
    if not job.mine().filter(free).update(watched_at=now):
        return
    try:
        _read(job, now)
    except (PlatformError, UnreadableSecretError) as error:
        log.warning("platform.watch_hours_failed", account=job.account.name, fault=str(error))
        _forbidden(job, error)


def _read(job: Pass, now: datetime) -> None:
    token = connections.access_token(job)
    youtube = YouTube(token, job.deadline, connections.spender(job))
    today = quota.day(now)
    counts = youtube.own_channel().get("statistics")
    if isinstance(counts, dict) and not counts.get("hiddenSubscriberCount"):
        number = str(counts.get("subscriberCount", ""))
        if number.isdecimal():
            write([_row(job, today, subscribers=int(number))], "subscribers")
    existing = WatchDay.objects.filter(account=job.account, typed=False).exclude(minutes=None)
    first = today - (_REREAD_PERIOD if existing.exists() else WINDOW)
    watched = youtube.watched(first, today)
    write([_row(job, d, minutes=m) for d, m in watched.items()], "minutes")


def _row(job: Pass, day: date, **columns: Any) -> WatchDay:
    return WatchDay(account=job.account, day=day, **columns)


def write(rows: Sequence[WatchDay], column: str) -> None:
    """Write one column of these days, and nothing else of them."""
    WatchDay.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["account", "day"],
        update_fields=[column, "typed"],
    )


def _forbidden(job: Pass, error: Exception) -> None:
    if isinstance(error, PlatformError) and error.reason in {
        "insufficientPermissions",
        "forbidden",
    }:
        fault = "Watch time needs a connection by the browser: connect the account so."
        job.mine().update(fault=fault)
