"""Time series of channels and outputs, aggregated in buckets of equal length.

Samples are written every ten seconds; after a day one per five minutes is kept (`surplus`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    Avg,
    BigIntegerField,
    Count,
    ExpressionWrapper,
    F,
    Func,
    Max,
    Min,
)

from streams.models import Sample

#: Default bucket lengths in seconds: the shortest that gives at most `TARGET_BUCKETS`.
LENGTHS: Final = (10, 30, 60, 300, 900, 3600, 6 * 3600, 86400)
#: The target number of buckets for the default length, and the maximum per answer.
TARGET_BUCKETS: Final = 300
MAX_BUCKETS: Final = 3000
#: Samples older than this are thinned to one in so many seconds.
FULL_DETAIL_AGE: Final = timedelta(days=1)
THINNED_INTERVAL_S: Final = 300


class TooFineError(ValueError):
    """The request exceeds `MAX_BUCKETS`. `str()` of it is a sentence for the caller."""


class _Epoch(Func):
    """SQL expression: whole seconds since 1970."""

    output_field = BigIntegerField()

    def as_sqlite(self, compiler: Any, connection: BaseDatabaseWrapper, **more: Any) -> Any:
        template = "CAST(strftime('%%%%s', %(expressions)s) AS INTEGER)"
        return self.as_sql(compiler, connection, template=template, **more)

    def as_postgresql(self, compiler: Any, connection: BaseDatabaseWrapper, **more: Any) -> Any:
        template = "CAST(FLOOR(EXTRACT(EPOCH FROM %(expressions)s)) AS bigint)"
        return self.as_sql(compiler, connection, template=template, **more)


@dataclass(frozen=True, slots=True)
class Bucket:
    """Means and worst values of a bucket. Rates in bit/s, lag in seconds.

    CPU in percent of one core, memory in bytes. None if the value was not measured.
    """

    begins: datetime
    samples: int
    bitrate: float | None
    bitrate_least: int | None
    fps: float | None
    speed: float | None
    speed_least: float | None
    lag_most: float | None
    cpu_percent: float | None
    memory_most: int | None


@dataclass(frozen=True, slots=True)
class Series:
    """The series of one process of a channel: player, hub, or an output's pusher."""

    channel: str
    output: int | None
    role: str
    buckets: tuple[Bucket, ...]


def length(begins: datetime, ends: datetime) -> int:
    """Returns the default bucket length in seconds for the span."""
    whole = (ends - begins).total_seconds()
    return next((size for size in LENGTHS if whole / size <= TARGET_BUCKETS), LENGTHS[-1])


def series(
    begins: datetime,
    ends: datetime,
    *,
    slug: str | None = None,
    output: int | None = None,
    seconds: int | None = None,
    among: Collection[int] | None = None,
) -> list[Series]:
    """Returns the series from `begins` up to `ends`.

    Buckets start at multiples of their length since 1970, UTC. Empty buckets are omitted.
    `among`: only channels with these ids; None: all of them. Raises `TooFineError`.
    """
    size = seconds or length(begins, ends)
    if (ends - begins) / timedelta(seconds=size) > MAX_BUCKETS:
        raise TooFineError(
            f"This makes more than {MAX_BUCKETS} buckets. Request longer buckets or "
            "a shorter span."
        )
    rows = Sample.objects.filter(at__gte=begins, at__lt=ends)
    if slug is not None:
        rows = rows.filter(channel__slug=slug)
    if output is not None:
        rows = rows.filter(output=output)
    if among is not None:
        rows = rows.filter(channel__in=among)
    # Both databases divide integers without a remainder.
    begun = _Epoch(F("at")) / size * size
    grouped = (
        rows.annotate(place=ExpressionWrapper(begun, output_field=BigIntegerField()))
        .values("channel__slug", "output", "role", "place")
        .annotate(
            samples=Count("pk"),
            mean_bitrate=Avg("bitrate"),
            bitrate_least=Min("bitrate"),
            mean_fps=Avg("fps"),
            mean_speed=Avg("speed"),
            speed_least=Min("speed"),
            lag_most=Max("lag_seconds"),
            mean_cpu_percent=Avg("cpu_percent"),
            memory_most=Max("memory_bytes"),
        )
        .order_by("channel__slug", "role", "output", "place")
    )
    by_process: dict[tuple[str, int | None, str], list[Bucket]] = {}
    for row in grouped:
        # A mean can't have the name of its column in the query.
        values: dict[str, Any] = {k.removeprefix("mean_"): v for k, v in row.items()}
        process = (values.pop("channel__slug"), values.pop("output"), values.pop("role"))
        begins = datetime.fromtimestamp(values.pop("place"), UTC)
        by_process.setdefault(process, []).append(Bucket(begins, **values))
    return [Series(*place, tuple(buckets)) for place, buckets in by_process.items()]


def surplus(now: datetime) -> list[int]:
    """Returns the samples older than a day that are not the first of their five minutes."""
    first: dict[tuple[int, int | None, str, int], int] = {}
    result: list[int] = []
    old = Sample.objects.filter(at__lt=now - FULL_DETAIL_AGE).order_by("pk")
    for pk, channel, output, role, at in old.values_list(
        "pk", "channel", "output", "role", "at"
    ).iterator():
        bucket = (channel, output, role, int(at.timestamp()) // THINNED_INTERVAL_S)
        if first.setdefault(bucket, pk) != pk:
            result.append(pk)
    return result
