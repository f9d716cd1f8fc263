"""Publishes changes: one poller in each web worker, and its subscribers.

A topic returns snapshots of objects named by a key: a channel's slug, a job's id. The poller
asks the database once a quarter of a second whether anybody has written; only then, and every
five seconds since some of it ages by itself, the topics that somebody listens to are asked
again, once for all who listen. Rows that do not change cost nothing, however many there are,
and without a subscriber nothing is asked at all. No other server is needed.

A subscriber gets the newest message: a slow reader misses those in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import structlog
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError, close_old_connections, connection
from django.utils import timezone

from streamsite.api.auth import Caller
from streamsite.api.permissions import Rule

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds between two checks for writes.
POLL_INTERVAL_S: Final = 0.25
#: Seconds between two queries of the topics while others write without end.
MIN_REFRESH_S: Final = 0.5
#: Seconds after which they are queried without a write: a worker that falls silent writes
#: nothing.
MAX_AGE_S: Final = 5.0
#: Seconds between two tries while the database is away.
DATABASE_RETRY_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Topic:
    """`/ws/<name>/<key>`, and its events at `/api/v1/<place>/<key>/events`.

    `rule` says who may listen. The routes call the key `parameter`. `exists` says whether the
    caller has such an object. `snapshots` returns the present state per key, as JSON has it; a
    missing key names nothing (any more). Both run in a thread, the latter with all keys that
    have listeners. `data` describes the message, for the documentation.
    """

    name: str
    place: str
    parameter: str
    rule: Rule
    data: str
    exists: Callable[[Caller, str], bool]
    snapshots: Callable[[Collection[str], datetime], Mapping[str, Mapping[str, Any]]]

    @property
    def socket(self) -> str:
        """The WebSocket's route, as the table of permissions has it."""
        return f"/ws/{self.name}/{{{self.parameter}}}"

    @property
    def events(self) -> str:
        """The event stream's."""
        return f"/api/v1/{self.place}/{{{self.parameter}}}/events"


@dataclass(eq=False, slots=True)
class Subscription:
    """One listener. `GONE` is the last message there is."""

    news: asyncio.Event = field(default_factory=asyncio.Event)
    message: str | None = None
    over: bool = False

    def publish(self, message: str, *, over: bool = False) -> None:
        self.message, self.over = message, over
        self.news.set()

    async def next(self, patience: float) -> str | None:
        """The newest message that was not read yet; None after so many seconds without one."""
        try:
            async with asyncio.timeout(patience):
                await self.news.wait()
        except TimeoutError:
            return None
        self.news.clear()
        return self.message


Place = tuple[str, str]


def message(kind: str, place: Place, data: object = None) -> str:
    """kind: snapshot (the first), update, gone."""
    fields = {"type": kind, "topic": place[0], "key": place[1], "at": timezone.now()}
    if data is not None:
        fields["data"] = data
    return json.dumps(fields, cls=DjangoJSONEncoder, separators=(",", ":"))


class Hub:
    """The subscribers of one event loop. The poller runs while there are any."""

    def __init__(self, topics: Collection[Topic]) -> None:
        self.topics = {topic.name: topic for topic in topics}
        self._listeners: dict[Place, set[Subscription]] = {}
        #: The last snapshot of each place, as text and as data.
        self._last: dict[Place, tuple[str, object]] = {}
        self._poller: asyncio.Task[None] | None = None
        self._new = asyncio.Event()
        #: One thread has one connection, and asks one thing at a time.
        self._thread = ThreadPoolExecutor(1, "poller")

    @property
    def open(self) -> int:
        return sum(map(len, self._listeners.values()))

    @contextlib.asynccontextmanager
    async def subscribed(self, topic: str, key: str) -> AsyncIterator[Subscription]:
        """Listen. The first message is what is now."""
        place, mine = (topic, key), Subscription()
        self._listeners.setdefault(place, set()).add(mine)
        if place in self._last:
            mine.publish(message("snapshot", place, self._last[place][1]))
        else:
            self._new.set()
        if self._poller is None:
            # Without the context of the request that happened to come first.
            self._poller = asyncio.create_task(self._poll(), context=contextvars.Context())
        try:
            yield mine
        finally:
            self._listeners[place].discard(mine)
            if not self._listeners[place]:
                del self._listeners[place]
                self._last.pop(place, None)
            if not self._listeners:
                # It may rest for its tick: it is told that nobody listens.
                self._new.set()

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        seen, refreshed_at, away = "", float("-inf"), False
        while self._listeners:
            self._new.clear()
            pause = POLL_INTERVAL_S
            try:
                stamp = await loop.run_in_executor(self._thread, _stamp)
                since = time.monotonic() - refreshed_at
                wrote = stamp != seen and since >= MIN_REFRESH_S
                if wrote or since >= MAX_AGE_S or self._listeners.keys() - self._last.keys():
                    seen, refreshed_at = stamp, time.monotonic()
                    await self._poll_topics(loop)
                away = False
            except DatabaseError as error:
                pause = DATABASE_RETRY_S
                if not away:
                    log.warning("live.no_database", error=type(error).__name__)
                away = True
            except Exception:
                # One topic's trouble must not end what others listen to.
                pause = DATABASE_RETRY_S
                if not away:
                    log.exception("live.failed")
                away = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._new.wait()
        # From here on another poller may begin.
        self._poller = None
        await loop.run_in_executor(self._thread, _hang_up)

    async def _poll_topics(self, loop: asyncio.AbstractEventLoop) -> None:
        """Queries the topics once, and publishes what is new."""
        keys: dict[str, set[str]] = {}
        for topic, key in self._listeners:
            keys.setdefault(topic, set()).add(key)
        for topic, names in keys.items():
            snapshots = await loop.run_in_executor(
                self._thread, _snapshots, self.topics[topic], frozenset(names)
            )
            for key in names:
                # Those that came or went meanwhile are looked at the next time.
                if (topic, key) in self._listeners:
                    self._publish((topic, key), snapshots.get(key))

    def _publish(self, place: Place, snapshot: tuple[str, object] | None) -> None:
        last = self._last.get(place)
        if snapshot is None:
            for one in self._listeners[place]:
                one.publish(message("gone", place), over=True)
            self._last.pop(place, None)
        elif last is None or last[0] != snapshot[0]:
            self._last[place] = snapshot
            text = message("update" if last else "snapshot", place, snapshot[1])
            for one in self._listeners[place]:
                # One that has taken nothing yet gets its first message.
                first = one.message is None and last is not None
                one.publish(message("snapshot", place, snapshot[1]) if first else text)


def _stamp() -> str:
    """Another whenever something was written to the database."""
    close_old_connections()
    query = (
        "PRAGMA data_version"
        if connection.vendor == "sqlite"
        # The position of the next record of the write-ahead log: it moves with every write.
        else "SELECT pg_current_wal_insert_lsn()"
    )
    with connection.cursor() as cursor:
        cursor.execute(query)
        return str(cursor.fetchone()[0])


def _hang_up() -> None:
    """Close the connection of this very thread."""
    connection.close()


def _snapshots(topic: Topic, keys: Collection[str]) -> dict[str, tuple[str, object]]:
    """The snapshot of each key, as text (to compare) and as data."""
    snapshots = topic.snapshots(keys, timezone.now())
    return {
        key: (json.dumps(data, cls=DjangoJSONEncoder, sort_keys=True), data)
        for key, data in snapshots.items()
    }
