"""Thins samples: 10 s for 48 hours, 1 minute for 30 days, then 15 minutes.

Each transaction takes a slice of one channel: it writes the thinned rows and removes those that
they stand for. A job that is killed has done a slice or not, and nothing is counted twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from django.db import transaction
from django.db.models import QuerySet

from streams.models import Channel, Sample, ThinnedSample

T = TypeVar("T", int, float)
Row = Sample | ThinnedSample

#: Rows removed by one statement.
BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Step:
    """Rows older than `age` are thinned to one in `seconds`.

    `slice_s`: what one transaction takes: some 400 rows of a channel with two outputs.
    """

    age: timedelta
    seconds: int
    slice_s: int
    source: Callable[[int], QuerySet[Any]]


STEPS: Final = (
    Step(
        age=timedelta(hours=48),
        seconds=60,
        slice_s=900,
        source=lambda channel: Sample.objects.filter(channel=channel),
    ),
    Step(
        age=timedelta(days=30),
        seconds=900,
        slice_s=5400,
        source=lambda channel: ThinnedSample.objects.filter(channel=channel, seconds=60),
    ),
)


def thinned(rows: Iterable[Row], seconds: int) -> list[ThinnedSample]:
    """Returns one row for each process and span of so many seconds. Pure.

    Means are weighted by the samples that a row stands for.
    """
    groups: dict[tuple[int, int | None, str, int], list[Row]] = {}
    for row in rows:
        begins = int(row.at.timestamp()) // seconds * seconds
        key = (row.channel_id, row.output_id, row.role, begins)
        groups.setdefault(key, []).append(row)
    return [_joined(key, group, seconds) for key, group in groups.items()]


def _joined(
    key: tuple[int, int | None, str, int], group: Sequence[Row], seconds: int
) -> ThinnedSample:
    channel, output, role, begins = key
    weights = [getattr(row, "samples", 1) for row in group]

    def mean(name: str) -> float | None:
        pairs = [
            (getattr(row, name), weight)
            for row, weight in zip(group, weights, strict=True)
            if getattr(row, name) is not None
        ]
        total = sum(weight for _, weight in pairs)
        return sum(value * weight for value, weight in pairs) / total if total else None

    def whole(name: str) -> int | None:
        value = mean(name)
        return None if value is None else round(value)

    def worst(pick: Callable[[list[Any]], Any], name: str, thin: str) -> Any:
        values = [getattr(row, thin, None) for row in group]
        values += [getattr(row, name, None) for row in group]
        present = [value for value in values if value is not None]
        return pick(present) if present else None

    return ThinnedSample(
        channel_id=channel,
        output_id=output,
        role=role,
        at=datetime.fromtimestamp(begins, UTC),
        seconds=seconds,
        samples=sum(weights),
        bitrate=whole("bitrate"),
        bitrate_least=worst(min, "bitrate", "bitrate_least"),
        fps=mean("fps"),
        speed=mean("speed"),
        speed_least=worst(min, "speed", "speed_least"),
        lag_seconds=mean("lag_seconds"),
        lag_most=worst(max, "lag_seconds", "lag_most"),
        cpu_percent=mean("cpu_percent"),
        cpu_most=worst(max, "cpu_percent", "cpu_most"),
        memory_bytes=whole("memory_bytes"),
        memory_most=worst(max, "memory_bytes", "memory_most"),
        acknowledged=whole("acknowledged"),
        resent_percent=mean("resent_percent"),
        resent_most=worst(max, "resent_percent", "resent_most"),
        queued_most=worst(max, "queued_bytes", "queued_most"),
    )


def thin(now: datetime, until: float) -> int:
    """Thins what is old enough, up to a time of the monotonic clock.

    Returns the number of rows that went; the next call goes on.
    """
    removed = 0
    for channel in Channel.objects.order_by("pk").values_list("pk", flat=True):
        for step in STEPS:
            while time.monotonic() < until and (begins := _next_slice(step, channel, now)):
                removed += _take(step, channel, begins)
    return removed


def surplus(now: datetime, since: datetime) -> int:
    """Returns the number of rows from `since` on that `thin` would take."""
    return sum(
        step.source(channel).filter(at__gte=since, at__lt=_bound(step, now)).count()
        for channel in Channel.objects.values_list("pk", flat=True)
        for step in STEPS
    )


def _bound(step: Step, now: datetime) -> datetime:
    """The end of the last slice that is old enough."""
    return _slice_start(step, now - step.age)


def _slice_start(step: Step, moment: datetime) -> datetime:
    return datetime.fromtimestamp(int(moment.timestamp()) // step.slice_s * step.slice_s, UTC)


def _next_slice(step: Step, channel: int, now: datetime) -> datetime | None:
    """Returns the start of the oldest slice that is old enough."""
    oldest = step.source(channel).order_by("at").values_list("at", flat=True).first()
    if oldest is None or oldest >= _bound(step, now):
        return None
    return _slice_start(step, oldest)


def _take(step: Step, channel: int, begins: datetime) -> int:
    ends = begins + timedelta(seconds=step.slice_s)
    with transaction.atomic():
        # Locked: a second job waits, and finds nothing. SQLite has one writer anyway.
        rows = list(
            step.source(channel)
            .filter(at__gte=begins, at__lt=ends)
            .order_by("pk")
            .select_for_update(of=("self",))
        )
        ThinnedSample.objects.bulk_create(thinned(rows, step.seconds))
        chosen = [row.pk for row in rows]
        for start in range(0, len(chosen), BATCH):
            # These alone: one that was written meanwhile is for the next job.
            step.source(channel).filter(pk__in=chosen[start : start + BATCH]).delete()
    return len(rows)
