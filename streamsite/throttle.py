"""How often somebody may ask: so many times in each minute of the clock.

Counted in the database, by one statement that adds and tells, so that every process of every
node counts alike and none counts twice. A cache can't add without a race.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Final

from django.db import connection

from streamsite.models import Tally

#: Seconds.
WINDOW: Final = 60
#: Minutes after which a count is of no use to anybody.
KEPT: Final = 10
#: Wrong keys in a minute, from one address, after which no key is looked at any more.
WRONG_KEYS: Final = 20
#: Whoever has IPv6 has this much of it.
_OWN_IPV6: Final = 64

_swept: Final = {"minute": 0}
_sweeping: Final = Lock()


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a limit in this minute. `reset`: seconds until the next one."""

    limit: int
    remaining: int
    reset: int
    exceeded: bool = False

    @property
    def headers(self) -> dict[str, str]:
        told = {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
        }
        return told | {"Retry-After": str(self.reset)} if self.exceeded else told


def source(address: str) -> str:
    """Whose address it is, for counting: all of an IPv6 network counts as one."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(known, ipaddress.IPv6Address):
        if known.ipv4_mapped:
            return str(known.ipv4_mapped)
        return str(ipaddress.ip_network((known, _OWN_IPV6), strict=False))
    return str(known)


def count(limits: Mapping[str, int], now: datetime) -> Allowance:
    """Count one request under each of these names; what is left of the tightest limit."""
    minute = _minute(now)
    counted = _add(list(limits), minute)
    _sweep(minute)
    told = [_allowance(limit, counted[name], now) for name, limit in limits.items()]
    return min(told, key=lambda each: (not each.exceeded, each.remaining))


def look(name: str, limit: int, now: datetime) -> Allowance:
    """What is left under that name, and nothing is counted: exceeded when all of it is used."""
    table = connection.ops.quote_name(Tally._meta.db_table)  # noqa: SLF001 - documented
    with connection.cursor() as cursor:
        # Straight to the database, as below: each request asks.
        cursor.execute(
            f"SELECT count FROM {table} WHERE name = %s AND minute = %s",  # noqa: S608
            [name, _minute(now)],
        )
        row = cursor.fetchone()
    return _allowance(limit, row[0] + 1 if row else 1, now)


def _allowance(limit: int, used: int, now: datetime) -> Allowance:
    reset = max(1, math.ceil(WINDOW - now.timestamp() % WINDOW))
    return Allowance(limit, max(0, limit - used), reset, exceeded=used > limit)


def _minute(now: datetime) -> int:
    return int(now.timestamp() // WINDOW)


def _add(names: list[str], minute: int) -> dict[str, int]:
    """Requests of this minute under each name, with this one."""
    table = connection.ops.quote_name(Tally._meta.db_table)  # noqa: SLF001 - documented
    rows = ", ".join(["(%s, %s, 1)"] * len(names))
    # A count of another minute begins anew.
    statement = (
        f"INSERT INTO {table} (name, minute, count) VALUES {rows} "  # noqa: S608 - no values
        "ON CONFLICT (name) DO UPDATE SET minute = excluded.minute, count = CASE "
        f"WHEN {table}.minute = excluded.minute THEN {table}.count + 1 ELSE 1 END "
        "RETURNING name, count"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [each for name in sorted(names) for each in (name, minute)])
        return dict(cursor.fetchall())


def _sweep(minute: int) -> None:
    """Once a minute in each process: counts of addresses that came once would stay for ever."""
    if _swept["minute"] == minute or not _sweeping.acquire(blocking=False):
        return
    try:
        _swept["minute"] = minute
        Tally.objects.filter(minute__lt=minute - KEPT).delete()
    finally:
        _sweeping.release()
