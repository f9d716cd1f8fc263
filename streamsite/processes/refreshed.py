"""Caches slow results that many request: made in the background, one at a time, with their age.

A page thread waits for one for a bounded time, and only a few page threads do: the others get
the last result, or none. So a storage or a disk that hangs holds up no other page.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from threading import BoundedSemaphore, Lock
from typing import Generic, TypeVar

import structlog
from django.db import connections

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Result(Generic[T]):
    value: T
    #: Seconds since it was made.
    age_s: float


class Refreshed(Generic[K, T]):
    """Results of `make`, by key.

    Args:
        make: Makes one. It runs in a background thread; what it raises is logged.
        name: Name of the threads.
        kept_s: Seconds for which a result is shown while no newer one comes.
        max_waiting: Callers of this process that may wait at a time.
        threads: Results that are made at a time, at most one per key.
    """

    def __init__(
        self,
        make: Callable[[K], T],
        name: str,
        *,
        kept_s: float,
        max_waiting: int = 2,
        threads: int = 1,
    ) -> None:
        self._make, self._kept_s = make, kept_s
        self._pool = ThreadPoolExecutor(threads, name)
        self._waiting = BoundedSemaphore(max_waiting)
        self._lock = Lock()
        self._results: dict[K, tuple[T, float]] = {}
        self._flights: dict[K, Future[None]] = {}

    def get(self, key: K, *, fresh_s: float, wait_s: float) -> Result[T] | None:
        """The result, at most `fresh_s` old if it can be had within `wait_s` seconds.

        Otherwise the last one, at most `kept_s` old. None: there is none so far.
        """
        # Both under one lock: a result that came in between would be made a second time.
        with self._lock:
            cached = self._cached(key)
            if cached is not None and cached.age_s < fresh_s:
                return cached
            flight = self._flight(key)
        if self._waiting.acquire(blocking=False):
            try:
                wait_for([flight], timeout=wait_s)
            finally:
                self._waiting.release()
        with self._lock:
            return self._cached(key)

    def forget(self) -> None:
        """Drop all results."""
        with self._lock:
            self._results.clear()

    def _cached(self, key: K) -> Result[T] | None:
        entry = self._results.get(key)
        if entry is None:
            return None
        age = time.monotonic() - entry[1]
        if age > self._kept_s:
            del self._results[key]
            return None
        return Result(entry[0], age)

    def _flight(self, key: K) -> Future[None]:
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = self._pool.submit(self._run, key)
        return flight

    def _run(self, key: K) -> None:
        try:
            made = self._make(key)
            with self._lock:
                self._results[key] = made, time.monotonic()
        except Exception:
            # Nobody may be waiting, so nobody else would report it.
            log.exception("refresh.failed", key=str(key))
        finally:
            with self._lock:
                del self._flights[key]
            connections.close_all()
