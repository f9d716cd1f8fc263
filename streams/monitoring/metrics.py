"""Time series of channels and outputs, aggregated in buckets of equal length.

Samples are written every ten seconds and thinned later (`streams.monitoring.thinning`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    BigIntegerField,
    ExpressionWrapper,
    F,
    FloatField,
    Func,
    Max,
    Min,
    Q,
    QuerySet,
    Sum,
    Value,
)

from streams.models import Channel, Sample, ThinnedSample
from streams.monitoring import thinning

#: Default bucket lengths in seconds: the shortest that gives at most `TARGET_BUCKETS`.
LENGTHS: Final = (10, 30, 60, 300, 900, 3600, 6 * 3600, 86400)
#: The target number of buckets for the default length, and the maximum per answer.
TARGET_BUCKETS: Final = 300
MAX_BUCKETS: Final = 3000
#: Seconds between two samples of a process.
SAMPLE_S: Final = 10
#: Columns whose mean is given.
_MEANS: Final = ("bitrate", "fps", "speed", "cpu_percent", "resent_percent")
#: Worst values: the aggregate, the column of a sample, and that of a thinned one.
_WORST: Final[dict[str, tuple[type[Min | Max], str, str]]] = {
    "bitrate_least": (Min, "bitrate", "bitrate_least"),
    "speed_least": (Min, "speed", "speed_least"),
    "lag_most": (Max, "lag_seconds", "lag_most"),
    "cpu_most": (Max, "cpu_percent", "cpu_most"),
    "resent_most": (Max, "resent_percent", "resent_most"),
    "memory_most": (Max, "memory_bytes", "memory_most"),
}
#: A channel's slug, an output, and a role.
Process = tuple[str, int | None, str]


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
    cpu_most: float | None
    resent_percent: float | None
    resent_most: float | None


@dataclass(frozen=True, slots=True)
class _Sums:
    """What a bucket is computed from: values times weights, weights, and the worst values."""

    samples: int
    totals: dict[str, tuple[float, int]]
    worst: dict[str, Any]

    def joined(self, other: _Sums) -> _Sums:
        """Returns both together."""
        pairs = {name: (self.worst[name], other.worst[name]) for name in self.worst}
        return _Sums(
            self.samples + other.samples,
            {
                name: (total + other.totals[name][0], weight + other.totals[name][1])
                for name, (total, weight) in self.totals.items()
            },
            {
                name: (min if _WORST[name][0] is Min else max)(
                    (value for value in pair if value is not None), default=None
                )
                for name, pair in pairs.items()
            },
        )

    def bucket(self, place: int) -> Bucket:
        means: dict[str, Any] = {
            name: total / weight if weight else None
            for name, (total, weight) in self.totals.items()
        }
        return Bucket(
            datetime.fromtimestamp(place, UTC), samples=self.samples, **means, **self.worst
        )


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
    size = seconds or max(
        length(begins, ends), resolution(begins, ends, slug=slug, output=output, among=among)
    )
    if (ends - begins) / timedelta(seconds=size) > MAX_BUCKETS:
        raise TooFineError(
            f"This makes more than {MAX_BUCKETS} buckets. Request longer buckets or "
            "a shorter span."
        )
    by_process: dict[Process, dict[int, _Sums]] = {}
    for model in (Sample, ThinnedSample):
        rows = _within(model, begins, ends, slug, output, among)
        for process, place, sums in _grouped(model, rows, size):
            buckets = by_process.setdefault(process, {})
            buckets[place] = buckets[place].joined(sums) if place in buckets else sums
    return [
        Series(*process, tuple(buckets[place].bucket(place) for place in sorted(buckets)))
        for process, buckets in sorted(
            by_process.items(), key=lambda pair: (pair[0][0], pair[0][2], pair[0][1] or 0)
        )
    ]


def resolution(
    begins: datetime,
    ends: datetime,
    *,
    slug: str | None = None,
    output: int | None = None,
    among: Collection[int] | None = None,
) -> int:
    """Returns the seconds between the thinnest samples of the span: 10, 60 or 900."""
    rows = _within(ThinnedSample, begins, ends, slug, output, among)
    return rows.order_by().aggregate(most=Max("seconds"))["most"] or SAMPLE_S


def _within(
    model: type[Sample | ThinnedSample],
    begins: datetime,
    ends: datetime,
    slug: str | None,
    output: int | None,
    among: Collection[int] | None,
) -> QuerySet[Any]:
    # By channel in any case: that is what their index begins with.
    channels = Channel.objects.all()
    if slug is not None:
        channels = channels.filter(slug=slug)
    if output is not None:
        channels = channels.filter(outputs=output)
    if among is not None:
        channels = channels.filter(pk__in=among)
    rows: QuerySet[Any] = QuerySet(model).filter(
        channel__in=list(channels.values_list("pk", flat=True)), at__gte=begins, at__lt=ends
    )
    if model is ThinnedSample:
        rows = rows.filter(seconds__in=[step.seconds for step in thinning.STEPS])
    return rows if output is None else rows.filter(output=output)


def _grouped(
    model: type[Sample | ThinnedSample], rows: QuerySet[Any], size: int
) -> Iterator[tuple[Process, int, _Sums]]:
    thin = model is ThinnedSample
    weight = F("samples") if thin else Value(1)
    # Both databases divide integers without a remainder.
    begun = _Epoch(F("at")) / size * size
    totals = {
        f"{name}_{what}": Sum(term, filter=Q(**{f"{name}__isnull": False}))
        for name in _MEANS
        for what, term in (
            ("sum", ExpressionWrapper(F(name) * weight, output_field=FloatField())),
            ("weight", weight),
        )
    }
    grouped = (
        rows.annotate(place=ExpressionWrapper(begun, output_field=BigIntegerField()))
        .values("channel__slug", "output", "role", "place")
        .annotate(
            taken=Sum(weight),
            **totals,
            **{
                f"worst_{name}": kind(thinned if thin else raw)
                for name, (kind, raw, thinned) in _WORST.items()
            },
        )
        .order_by()
    )
    for row in grouped:
        yield (
            (row["channel__slug"], row["output"], row["role"]),
            row["place"],
            _Sums(
                row["taken"],
                {
                    name: (row[f"{name}_sum"] or 0.0, row[f"{name}_weight"] or 0)
                    for name in _MEANS
                },
                {name: row[f"worst_{name}"] for name in _WORST},
            ),
        )
