"""Rate limits: so many requests in each minute of the clock.

The database counts, by one statement that adds and tells, so that every process of every node
counts alike and none counts twice; a cache can't add without a race. But a write for each
request would be dear: SQLite has one writer at a time, and who waits for it, waits long. So a
process takes requests in portions, and gives them out from memory. No more are given out than
the limit; a process that ends takes the rest of its portion with it, a tenth of what was left.
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

from streamsite.api.models import Tally

#: Seconds.
WINDOW: Final = 60
#: Minutes for which counts are kept.
RETENTION_MINUTES: Final = 10
#: Wrong keys in a minute, from one address, after which all keys from there are refused.
WRONG_KEYS: Final = 20
#: Stands for a text that is no address.
UNKNOWN: Final = "unknown"
#: The prefix of one IPv6 subscriber's network.
_OWN_IPV6: Final = 64

#: A process takes the tenth part of what is left of a limit, and no more requests than that.
#: Near the limit it is one at a time, so that nothing is refused that another process holds.
#: As long as it knows no more, it supposes that a tenth is left.
_PART: Final = 10
_MAX_PORTION: Final = 100

_swept: Final = {"minute": 0}
_sweeping: Final = Lock()
_writing: Final = Lock()


@dataclass(frozen=True, slots=True)
class Allowance:
    """The rest of a limit in this minute. `reset`: seconds until the next one."""

    limit: int
    remaining: int
    reset: int
    exceeded: bool = False

    @property
    def headers(self) -> dict[str, str]:
        headers = {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
        }
        return headers | {"Retry-After": str(self.reset)} if self.exceeded else headers


def source(address: str) -> str:
    """The name under which an address is counted: an IPv6 network counts as one."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return UNKNOWN
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, _OWN_IPV6), strict=False))
    return str(ip)


@dataclass(slots=True)
class _Share:
    """A limit in one minute: requests that this process may give out, and those beyond them."""

    own: int
    beyond: int


class Shares:
    """This process's portions of the minute that runs."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._minute = 0
        self._shares: dict[str, _Share] = {}

    def take(self, name: str, limit: int, minute: int) -> int | None:
        """Requests left after this one; None where none was left for it."""
        with self._lock:
            if minute != self._minute:
                self._minute, self._shares = minute, {}
            share = self._shares.get(name)
            if share is None:
                share = self._shares[name] = _Share(0, max(1, limit // _PART))
            if share.own:
                share.own -= 1
                return share.own + share.beyond
            if not share.beyond:
                return None
            portion = min(_MAX_PORTION, max(1, share.beyond // _PART))
        counted = _add(name, portion, minute)
        got = min(portion, limit - (counted - portion))
        with self._lock:
            share.beyond = max(0, limit - counted)
            if got <= 0:
                return None
            share.own += got - 1
            return share.own + share.beyond

    def forget(self) -> None:
        with self._lock:
            self._shares = {}


_shares: Final = Shares()
#: Begin anew, for a database that is another one: see the tests.
forget: Final = _shares.forget


def count(limits: Mapping[str, int], now: datetime) -> Allowance:
    """Count one request under each of these names; what is left of the tightest limit."""
    minute = minute_of(now)
    allowances = []
    for name in sorted(limits):
        left = _shares.take(name, limits[name], minute)
        reset = _reset(now)
        allowances.append(Allowance(limits[name], left or 0, reset, exceeded=left is None))
    return min(allowances, key=lambda allowance: (not allowance.exceeded, allowance.remaining))


def note(name: str, now: datetime) -> None:
    """Count one under that name at once, for `look` to see."""
    _add(name, 1, minute_of(now))


def peek(name: str, limit: int, now: datetime) -> Allowance:
    """The rest under that name, without counting: exceeded when all of it is used."""
    table = connection.ops.quote_name(Tally._meta.db_table)
    with connection.cursor() as cursor:
        # Straight to the database, as below: each request asks.
        cursor.execute(
            f"SELECT count FROM {table} WHERE name = %s AND minute = %s",  # noqa: S608 - names of ours; values are parameters
            [name, minute_of(now)],
        )
        row = cursor.fetchone()
    return _allowance(limit, row[0] + 1 if row else 1, now)


def _allowance(limit: int, used: int, now: datetime) -> Allowance:
    return Allowance(limit, max(0, limit - used), _reset(now), exceeded=used > limit)


def _reset(now: datetime) -> int:
    return max(1, math.ceil(WINDOW - now.timestamp() % WINDOW))


def minute_of(now: datetime) -> int:
    return int(now.timestamp() // WINDOW)


def _add(name: str, portion: int, minute: int) -> int:
    """Requests of this minute under the name, with these."""
    table = connection.ops.quote_name(Tally._meta.db_table)
    # A count of another minute begins anew.
    statement = (
        f"INSERT INTO {table} (name, minute, count) VALUES (%s, %s, %s) "  # noqa: S608 - names of ours; values are parameters
        "ON CONFLICT (name) DO UPDATE SET minute = excluded.minute, "
        f"count = excluded.count + CASE WHEN {table}.minute = excluded.minute "
        f"THEN {table}.count ELSE 0 END RETURNING count"
    )
    # One thread after the other: at a new minute all write at once, and SQLite lets who finds
    # it busy sleep longer and longer.
    with _writing, connection.cursor() as cursor:
        cursor.execute(statement, [name, minute, portion])
        (counted,) = cursor.fetchone()
    sweep(minute)
    return int(counted)


def sweep(minute: int) -> None:
    """Once a minute in each process: counts of addresses that came once would stay for ever."""
    if _swept["minute"] == minute or not _sweeping.acquire(blocking=False):
        return
    try:
        _swept["minute"] = minute
        Tally.objects.filter(minute__lt=minute - RETENTION_MINUTES).delete()
    finally:
        _sweeping.release()
