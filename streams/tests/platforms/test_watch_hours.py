from __future__ import annotations

from datetime import date, timedelta

import pytest
from django.utils import timezone

from streams.models import AccountState, WatchDay
from streams.platforms import quota, reports, watch_hours
from streams.platforms.watch_hours import progress
from streams.tests.platforms.accounts import connected
from streams.tests.platforms.stand_in import RefusedError, StandIn

TODAY = date(2026, 12, 1)


def _days(count: int, minutes: float, until: date = TODAY) -> dict[date, float]:
    return {until - timedelta(days=n): minutes for n in range(count)}


def _count(first: int, last: int) -> dict[date, int]:
    return {TODAY - timedelta(days=28): first, TODAY: last}


@pytest.mark.parametrize(
    ("minutes", "subscribers", "hours", "reached"),
    [
        # 12 h a day: 2800 h in 234 days, and 500 subscribers at 10 a day before that.
        (_days(100, 720), _count(220, 500), 1200, TODAY + timedelta(days=234)),
        # The subscribers take longer: 900 at 1 a day.
        (_days(100, 720), _count(72, 100), 1200, TODAY + timedelta(days=900)),
        # Reached.
        (_days(365, 700), _count(1000, 1100), 4258.33, TODAY),
        # At 6 h a day the sum of twelve months ends at 2190 h.
        (_days(365, 360), _count(1000, 1100), 2190, None),
        (_days(100, 720), _count(500, 500), 1200, None),
        (_days(100, 720), {}, 1200, None),
    ],
)
def test_progress(
    minutes: dict[date, float], subscribers: dict[date, int], hours: float, reached: date | None
) -> None:
    result = progress(minutes, subscribers, TODAY)
    assert result.hours == pytest.approx(hours, abs=0.01)
    assert result.reached_on == reached
    assert "Estimate" in result.sentence or "are reached" in result.sentence


def test_days_without_figures_are_not_zero() -> None:
    # YouTube is three days late.
    late = progress(_days(28, 600, TODAY - timedelta(days=3)), {}, TODAY)
    assert (late.hours_a_day, late.until) == (10.0, TODAY - timedelta(days=3))


def test_old_days_drop_out_of_the_sum() -> None:
    # A strong month a year ago leaves while weak ones come.
    old = {TODAY - timedelta(days=n): 6000.0 for n in range(335, 365)}
    result = progress(old | _days(28, 60), _count(1000, 1100), TODAY)
    assert result.hours == pytest.approx(3028)
    assert result.reached_on is None


def test_no_figures() -> None:
    result = progress({}, {}, TODAY)
    assert (result.hours, result.until, result.reached_on) == (0, None, None)


@pytest.mark.django_db
def test_figures_are_read_by_day(platform: StandIn) -> None:
    account = connected()
    AccountState.objects.update(watched_at=None)
    today = quota.day(timezone.now())
    WatchDay.objects.create(
        account=account, day=today - timedelta(days=3), minutes=1, typed=True
    )
    platform.watched = [
        [(today - timedelta(days=days)).isoformat(), minutes]
        for days, minutes in [(4, 500), (3, 700.5)]
    ]
    reports.check(account.pk)
    rows = WatchDay.objects.order_by("day").values_list("minutes", "subscribers", "typed")
    assert list(rows) == [(500, None, False), (700.5, None, False), (None, 412, False)]
    request = next(call for call in platform.calls if "youtubeanalytics" in call)
    assert f"startDate={today - timedelta(days=365)}" in request
    # Not again before the interval is over.
    count = len(platform.calls)
    reports.check(account.pk)
    assert len(platform.calls) == count
    result = watch_hours.of(account, today)
    assert result.hours == pytest.approx(1200.5 / 60)


@pytest.mark.django_db
def test_without_the_scope_the_fault_names_the_connection(platform: StandIn) -> None:
    account = connected()
    AccountState.objects.update(watched_at=None)

    def refuse(call: str) -> None:
        if "youtubeanalytics" in call:
            raise RefusedError(403, "insufficientPermissions")

    platform.before = refuse
    reports.check(account.pk)
    assert "by the browser" in AccountState.objects.get().fault
    assert WatchDay.objects.get().subscribers == 412
