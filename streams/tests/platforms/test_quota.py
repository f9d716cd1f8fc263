from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from streams.platforms import quota

#: Midnight in California is 8:00 UTC in winter.
MIDNIGHT = datetime(2026, 12, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours_left", "spent", "cost", "expected"),
    [
        # 2880 of 10,000 units for a day of checks each minute.
        (24, 0, 2, 60),
        # 96 half hours, and 650 units beside the reserve: 325 checks.
        (24, 9_000, 2, 24 * 3600 / 325),
        (1, 9_640, 2, 3600 / 5),
        # The reserve is for new broadcasts.
        (1, 9_649, 2, 1800),
        (24, 10_000, 2, 1800),
        (0.01, 9_000, 2, 60),
    ],
)
def test_interval(hours_left: float, spent: int, cost: int, expected: float) -> None:
    now = MIDNIGHT - timedelta(hours=hours_left)
    assert quota.interval(now, spent, 10_000, cost).total_seconds() == pytest.approx(expected)


def test_checks_at_this_interval_last_until_midnight() -> None:
    now, spent = MIDNIGHT - timedelta(hours=24), 7_000
    while now < MIDNIGHT:
        spent += 2
        now += quota.interval(now, spent, 10_000, 2)
    assert spent <= 10_000 - quota.RESERVE


def test_the_day_is_that_of_california() -> None:
    assert quota.day(MIDNIGHT - timedelta(seconds=1)) < quota.day(MIDNIGHT)
    assert quota.renewed_at(MIDNIGHT - timedelta(seconds=1)) == MIDNIGHT


@pytest.mark.parametrize(("spent", "affords"), [(0, True), (5_280, True), (5_281, False)])
def test_titles_leave_enough_for_checks(spent: int, *, affords: bool) -> None:
    now = MIDNIGHT - timedelta(hours=24)
    assert quota.affords_title(now, spent, 10_000) is affords
