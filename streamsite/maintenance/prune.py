"""Removes rows whose time is over, in short transactions: writers never wait for long."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db.models import QuerySet

from streams.monitoring import thinning
from streamsite.maintenance import retention

#: Rows removed in one transaction: some 50 ms, also where others refer to them.
BATCH: Final = 500


def counts(now: datetime) -> Counter[str]:
    """Returns the rows that may go, by kind."""
    result: Counter[str] = Counter()
    for name, rows in _due(now):
        result[name] += rows.count()
    result["samples"] += thinning.surplus(
        now, now - timedelta(days=settings.RETENTION_DAYS["samples"])
    )
    return result


def prune(now: datetime, seconds: float) -> Counter[str]:
    """Removes them, for so many seconds at most; returns how many went. The next goes on."""
    until = time.monotonic() + seconds
    result: Counter[str] = Counter()
    for name, rows in _due(now):
        result[name] += sum(_removed(rows, until))
    result["samples"] += thinning.thin(now, until)
    return result


def _due(now: datetime) -> Iterator[tuple[str, QuerySet[Any]]]:
    for kind in retention.KINDS:
        yield kind.name, kind.due(now)
    for lines in retention.surplus_log_lines():
        yield "log-lines", lines.order_by()


def _removed(rows: QuerySet[Any], until: float) -> Iterator[int]:
    """Removes the rows batch by batch, and yields how many of theirs went."""
    while time.monotonic() < until:
        chosen = list(rows.values_list("pk", flat=True)[:BATCH])
        # Asked for once more: one may have come into use since.
        gone = rows.filter(pk__in=chosen).delete()[1].get(rows.model._meta.label, 0)
        yield gone
        if not gone:
            break
