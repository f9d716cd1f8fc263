"""Charts of measured values as SVG points, drawn by the server. Gaps stay gaps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from streams.models import Channel, Sample
from streams.monitoring import formatting, metrics
from streams.monitoring.metrics import Series

#: Units of a chart's drawing area.
WIDTH: Final = 600
HEIGHT: Final = 120
#: Units of an output's sparkline, and its span.
SPARK_WIDTH: Final = 90
SPARK_HEIGHT: Final = 20
SPARK_SPAN: Final = timedelta(minutes=15)
#: Samples further apart are not connected.
MAX_GAP: Final = timedelta(seconds=35)

#: The spans to choose from.
SPANS: Final = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
}
DEFAULT_SPAN: Final = "24h"


@dataclass(frozen=True, slots=True)
class Line:
    """`runs`: points of polylines, one for each stretch without a gap."""

    label: str
    number: int
    runs: tuple[str, ...]
    worst: str


@dataclass(frozen=True, slots=True)
class Chart:
    title: str
    top: str
    lines: tuple[Line, ...]
    box: str = f"0 0 {WIDTH} {HEIGHT}"


@dataclass(frozen=True, slots=True)
class Quantity:
    """Its values are the fields of a bucket; `low`: whether a low value is the worse one."""

    title: str
    field: str
    worst: str
    written: Callable[[Any], str]
    low: bool = False


QUANTITIES: Final = (
    Quantity("Bitrate", "bitrate", "bitrate_least", formatting.bitrate, low=True),
    Quantity("Speed", "speed", "speed_least", lambda value: f"{value:.2f}×", low=True),
    Quantity("Lag", "lag_most", "lag_most", lambda value: f"{value:.1f} s"),
    Quantity("Sent again", "resent_percent", "resent_most", lambda value: f"{value:.2f} %"),
    Quantity("CPU", "cpu_percent", "cpu_most", lambda value: f"{value:.1f} %"),
)


def charts(channel: Channel, now: datetime, span: str) -> list[Chart]:
    """Returns the charts of a channel's processes over one of `SPANS`."""
    begins = now - SPANS[span]
    names = dict(channel.outputs.values_list("pk", "name"))
    measured = metrics.series(begins, now, slug=channel.slug)
    labelled = [(_label(one, names), one) for one in measured]
    size = max(metrics.length(begins, now), metrics.resolution(begins, now, slug=channel.slug))
    return [
        _chart(labelled, (begins, now), timedelta(seconds=size), what) for what in QUANTITIES
    ]


def _label(one: Series, names: dict[int, str]) -> str:
    return names.get(one.output or 0, one.role) if one.output else one.role.capitalize()


def _chart(
    labelled: Sequence[tuple[str, Series]],
    span: tuple[datetime, datetime],
    size: timedelta,
    what: Quantity,
) -> Chart:
    def values(one: Series, name: str) -> list[tuple[datetime, float]]:
        pairs = ((bucket.begins, getattr(bucket, name)) for bucket in one.buckets)
        return [(at, value) for at, value in pairs if value is not None]

    curves = [(label, one, values(one, what.field)) for label, one in labelled]
    curves = [curve for curve in curves if curve[2]]
    top = max((value for *_, curve in curves for _, value in curve), default=0.0)
    lines = []
    for number, (label, one, curve) in enumerate(curves, start=1):
        extremes = [value for _, value in values(one, what.worst)]
        lines.append(
            Line(
                label,
                number,
                points(curve, span, top, (WIDTH, HEIGHT), size * 1.5),
                what.written(min(extremes) if what.low else max(extremes)),
            )
        )
    return Chart(what.title, what.written(top) if lines else "", tuple(lines))


def points(
    curve: Iterable[tuple[datetime, float]],
    span: tuple[datetime, datetime],
    top: float,
    area: tuple[int, int],
    gap: timedelta,
) -> tuple[str, ...]:
    """Returns polylines of the values, scaled from zero to `top`, in their order.

    Values further apart than `gap` are not connected. A single one is a short line.
    """
    if not top:
        return ()
    width, height = area
    runs: list[list[str]] = []
    last: datetime | None = None
    for at, value in curve:
        x = (at - span[0]) / (span[1] - span[0]) * width
        y = height - 1 - min(1.0, value / top) * (height - 2)
        if last is None or at - last > gap:
            runs.append([])
        runs[-1].append(f"{x:.1f},{y:.1f}")
        last = at
    return tuple(" ".join(run if len(run) > 1 else run * 2) for run in runs)


def sparklines(now: datetime, among: Collection[int] | None) -> dict[int, tuple[str, ...]]:
    """Returns the bit rate of the last minutes of each output, by its id. One query."""
    rows = Sample.objects.filter(at__gt=now - SPARK_SPAN).exclude(output=None)
    rows = rows.exclude(bitrate=None)
    own = Channel.objects.values_list("pk", flat=True) if among is None else among
    by_output: dict[int, list[tuple[datetime, float]]] = {}
    for output, at, bitrate in (
        rows.filter(channel__in=list(own)).order_by("at").values_list("output", "at", "bitrate")
    ):
        by_output.setdefault(output, []).append((at, float(bitrate or 0)))
    span = (now - SPARK_SPAN, now)
    area = (SPARK_WIDTH, SPARK_HEIGHT)
    return {
        output: points(curve, span, max(value for _, value in curve), area, MAX_GAP)
        for output, curve in by_output.items()
    }
