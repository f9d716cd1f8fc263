"""The strips and curves of the control room and its wall."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from django.core.cache import cache
from django.utils import timezone

from streams.monitoring import charts
from streams.monitoring.uptime import page

#: Seconds for which they are kept: every open page asks each half minute.
STRIPS_TTL_S: Final = 10


def drawn(own: Collection[int] | None) -> dict[str, Any]:
    """Returns the strips by channel's slug and the sparklines by output's id.

    `own`: only channels with these ids; None: all of them.
    """
    if own is not None:
        return _made(own)
    result = cache.get("room-strips")
    if result is None:
        result = _made(None)
        cache.set("room-strips", result, STRIPS_TTL_S)
    kept: dict[str, Any] = result
    return kept


def _made(own: Collection[int] | None) -> dict[str, Any]:
    now = timezone.now()
    return {
        "strips": page.strips(now, own),
        "sparklines": charts.sparklines(now, own),
        "spark_box": f"0 0 {charts.SPARK_WIDTH} {charts.SPARK_HEIGHT}",
    }
