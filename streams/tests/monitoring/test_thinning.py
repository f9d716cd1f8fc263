"""Samples are thinned in slices; nothing is lost or counted twice, whatever ends the job."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import connection
from django.db.models import Sum

from streams.models import Channel, Sample, ThinnedSample
from streams.monitoring import metrics, thinning
from streams.tests import rows

#: Of a slice, and of all longer spans.
BEGUN = datetime(2026, 3, 1, tzinfo=UTC)
UNTIL_S = 10**9


def row(seconds: float, **values: Any) -> Sample:
    fields = {"channel_id": 1, "role": "hub", "state": "on_air"} | values
    return Sample(at=BEGUN + timedelta(seconds=seconds), **fields)


def test_means_and_worst_values_of_a_minute() -> None:
    one, two = thinning.thinned(
        [
            row(0, speed=1.0, lag_seconds=1.0, cpu_percent=2.0, bitrate=100, memory_bytes=5),
            row(
                10,
                resent_percent=4.0,
                queued_bytes=9,
                acknowledged=7,
                speed=0.5,
                lag_seconds=9.0,
                cpu_percent=50.0,
                bitrate=300,
                memory_bytes=8,
            ),
            row(59.9, speed=None, lag_seconds=2.0, cpu_percent=2.0, bitrate=200),
            row(60, speed=0.9),
        ],
        60,
    )
    assert (one.at, one.seconds, one.samples) == (BEGUN, 60, 3)
    assert (one.speed, one.speed_least) == (0.75, 0.5)
    assert (one.lag_seconds, one.lag_most) == (4.0, 9.0)
    assert (one.cpu_percent, one.cpu_most) == (18.0, 50.0)
    assert (one.bitrate, one.bitrate_least, one.memory_most) == (200, 100, 8)
    assert (one.resent_percent, one.resent_most) == (4.0, 4.0)
    assert (one.queued_most, one.acknowledged) == (9, 7)
    assert (two.at, two.samples, two.speed) == (BEGUN + timedelta(minutes=1), 1, 0.9)
    assert (two.bitrate, two.lag_most) == (None, None)


def test_thinned_again_a_row_counts_as_the_samples_that_it_stands_for() -> None:
    minutes = thinning.thinned([row(second, speed=1.0) for second in range(0, 60, 10)], 60)
    minutes += thinning.thinned([row(60, speed=0.3)], 60)
    (quarter,) = thinning.thinned(minutes, 900)
    assert (quarter.at, quarter.seconds, quarter.samples) == (BEGUN, 900, 7)
    assert quarter.speed == pytest.approx((6 * 1.0 + 0.3) / 7)
    assert quarter.speed_least == 0.3


def test_processes_are_thinned_apart() -> None:
    made = thinning.thinned(
        [row(0), row(1, role="player"), row(2, channel_id=2), row(3, role="pusher"), row(4)], 60
    )
    assert sorted((one.channel_id, one.role, one.samples) for one in made) == [
        (1, "hub", 2), (1, "player", 1), (1, "pusher", 1), (2, "hub", 1),
    ]  # fmt: skip


# ---- rows ------------------------------------------------------------------------------------


def fill(channel: Channel, begins: datetime, length: timedelta) -> int:
    """A sample every 10 s, with a dip at the start of every hour."""
    made = [
        Sample(
            channel=channel, role="hub", state="on_air",
            at=begins + timedelta(seconds=10 * number), speed=0.5 if number % 360 == 0 else 1.0,
        )
        for number in range(int(length.total_seconds()) // 10)
    ]  # fmt: skip
    Sample.objects.bulk_create(made)
    return len(made)


def count() -> int:
    """The samples that there are, as rows of their own or in thinned ones."""
    return Sample.objects.count() + (
        ThinnedSample.objects.aggregate(all=Sum("samples"))["all"] or 0
    )


@pytest.mark.django_db
@pytest.mark.database
def test_an_age_has_its_resolution() -> None:
    channel = rows.channel()
    now = BEGUN + timedelta(days=60)
    hour = timedelta(hours=1)
    ages = {"quarters": timedelta(days=40), "minutes": timedelta(days=3), "seconds": 2 * hour}
    total = sum(fill(channel, now - age, hour) for age in ages.values())
    assert thinning.surplus(now, BEGUN) == 720
    assert thinning.thin(now, UNTIL_S) == 720 + 60
    assert thinning.surplus(now, BEGUN) == thinning.thin(now, UNTIL_S) == 0
    assert count() == total
    assert Sample.objects.count() == 360
    by_length = {
        length: ThinnedSample.objects.filter(seconds=length).count() for length in (60, 900)
    }
    assert by_length == {60: 60, 900: 4}
    # The dip is there at every age, and the means are those of all samples.
    for age, size in zip(ages.values(), (900, 60, 10), strict=True):
        begins = now - age
        assert metrics.resolution(begins, begins + hour, slug="demo") == size
        (series,) = metrics.series(begins, begins + hour, slug="demo", seconds=3600)
        (bucket,) = series.buckets
        assert (bucket.samples, bucket.speed_least) == (360, 0.5)
        assert bucket.speed == pytest.approx((359 + 0.5) / 360)
    # A page of the whole time takes no finer buckets than there are.
    (series,) = metrics.series(now - ages["quarters"], now - ages["quarters"] + hour)
    assert len(series.buckets) == 4


@pytest.mark.django_db
@pytest.mark.database
def test_late_samples_join_those_of_their_minute() -> None:
    channel = rows.channel()
    fill(channel, BEGUN, timedelta(minutes=15))
    now = BEGUN + timedelta(days=4)
    thinning.thin(now, UNTIL_S)
    Sample.objects.create(channel=channel, role="hub", state="x", at=BEGUN, speed=0.1)
    thinning.thin(now, UNTIL_S)
    ends = BEGUN + timedelta(minutes=15)
    (series,) = metrics.series(BEGUN, ends, slug="demo", seconds=900)
    assert (series.buckets[0].samples, series.buckets[0].speed_least) == (91, 0.1)
    assert count() == 91


class KilledError(Exception):
    """The job ends here."""


@contextmanager
def killed_at(statement: int) -> Iterator[None]:
    """Ends the job in front of its n-th statement that changes rows."""
    left = statement

    def run(execute: Any, sql: str, *rest: Any) -> Any:
        nonlocal left
        if sql.startswith(("INSERT", "DELETE")):
            left -= 1
            if left == 0:
                raise KilledError
        return execute(sql, *rest)

    with connection.execute_wrapper(run):
        yield


@pytest.mark.django_db(transaction=True)
@pytest.mark.database
def test_a_job_that_ends_anywhere_counts_nothing_twice() -> None:
    channel = rows.channel()
    total = fill(channel, BEGUN, timedelta(hours=1))
    now = BEGUN + timedelta(days=40)
    ended = 0
    for statement in range(1, 40):
        try:
            with killed_at(statement % 5 + 1):
                thinning.thin(now, UNTIL_S)
        except KilledError:
            ended += 1
        assert count() == total
    assert ended >= 2
    assert [row.samples for row in ThinnedSample.objects.all()] == [90, 90, 90, 90]


@pytest.mark.django_db(transaction=True)
@pytest.mark.database
def test_two_jobs_at_once_count_nothing_twice() -> None:
    total = fill(rows.channel(), BEGUN, timedelta(hours=2))
    now = BEGUN + timedelta(days=4)
    together = Barrier(2)

    def job() -> None:
        together.wait(30)
        thinning.thin(now, UNTIL_S)
        connection.close()

    threads = [Thread(target=job) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (Sample.objects.count(), count()) == (0, total)
    assert ThinnedSample.objects.count() == 120


@pytest.mark.django_db
def test_a_job_without_time_does_nothing() -> None:
    fill(rows.channel(), BEGUN, timedelta(minutes=15))
    assert thinning.thin(BEGUN + timedelta(days=4), time.monotonic()) == 0
