"""What was measured of channels and outputs over time, in buckets of equal length.

Samples are written every ten seconds; after a day one in five minutes is kept, for a month
(`streams.tasks.thin_samples`).
"""

from __future__ import annotations

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

#: Seconds of a bucket, where nobody asks for a length: the shortest that gives few enough.
LENGTHS: Final = (10, 30, 60, 300, 900, 3600, 6 * 3600, 86400)
#: Buckets that the lengths above aim at, and how many are answered at most.
WANTED: Final = 300
MOST: Final = 3000


class TooFineError(ValueError):
    """More buckets than are answered at once. `str()` of it is a sentence for the caller."""


class _Epoch(Func):
    """Whole seconds since 1970."""

    output_field = BigIntegerField()

    def as_sqlite(self, compiler: Any, connection: BaseDatabaseWrapper, **more: Any) -> Any:
        template = "CAST(strftime('%%%%s', %(expressions)s) AS INTEGER)"
        return self.as_sql(compiler, connection, template=template, **more)

    def as_postgresql(self, compiler: Any, connection: BaseDatabaseWrapper, **more: Any) -> Any:
        template = "CAST(FLOOR(EXTRACT(EPOCH FROM %(expressions)s)) AS bigint)"
        return self.as_sql(compiler, connection, template=template, **more)


@dataclass(frozen=True, slots=True)
class Bucket:
    """Means over the bucket, and what was worst in it. Rates in bit/s, lag in seconds.

    CPU in percent of one core, memory in bytes. None where nothing of it was measured.
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
    """One process of a channel: player, hub, or the pusher of an output."""

    channel: str
    output: int | None
    role: str
    buckets: tuple[Bucket, ...]


def length(begins: datetime, ends: datetime) -> int:
    """Seconds of a bucket that suit the span."""
    whole = (ends - begins).total_seconds()
    return next((size for size in LENGTHS if whole / size <= WANTED), LENGTHS[-1])


def series(
    begins: datetime,
    ends: datetime,
    *,
    slug: str | None = None,
    output: int | None = None,
    seconds: int | None = None,
) -> list[Series]:
    """From `begins` up to `ends`. Buckets lie at multiples of their length since 1970, UTC.

    A bucket in which nothing was measured is left out. Raises `TooFineError`.
    """
    size = seconds or length(begins, ends)
    if (ends - begins) / timedelta(seconds=size) > MOST:
        raise TooFineError(
            f"That makes more than {MOST} buckets: ask for longer ones, or for a shorter span."
        )
    rows = Sample.objects.filter(at__gte=begins, at__lt=ends)
    if slug is not None:
        rows = rows.filter(channel__slug=slug)
    if output is not None:
        rows = rows.filter(output=output)
    # Whole numbers: both databases divide them without a rest.
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
            cpu=Avg("cpu_percent"),
            memory_most=Max("memory_bytes"),
        )
        .order_by("channel__slug", "role", "output", "place")
    )
    found: dict[tuple[str, int | None, str], list[Bucket]] = {}
    for row in grouped:
        place = (row["channel__slug"], row["output"], row["role"])
        found.setdefault(place, []).append(
            Bucket(
                begins=datetime.fromtimestamp(row["place"], UTC),
                samples=row["samples"],
                bitrate=row["mean_bitrate"],
                bitrate_least=row["bitrate_least"],
                fps=row["mean_fps"],
                speed=row["mean_speed"],
                speed_least=row["speed_least"],
                lag_most=row["lag_most"],
                cpu_percent=row["cpu"],
                memory_most=row["memory_most"],
            )
        )
    return [Series(*place, tuple(buckets)) for place, buckets in found.items()]
