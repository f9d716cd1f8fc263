"""Measures how long a value stays unchanged, by this machine's own clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

K = TypeVar("K")


class Observed(Generic[K]):
    """Values by key, and since when (seconds, monotonic) each is unchanged."""

    def __init__(self) -> None:
        self._seen: dict[K, tuple[object, float]] = {}

    def see(self, key: K, value: object, now: float, *, age: float = 0.0) -> float:
        """Record a value and return for how long it is unchanged.

        `age`: the initial age of a key that is seen for the first time.
        """
        previous = self._seen.get(key)
        if previous is None or previous[0] != value:
            self._seen[key] = (value, now - (age if previous is None else 0.0))
        return now - self._seen[key][1]

    def ages(self, now: float) -> dict[K, float]:
        return {key: now - since for key, (_, since) in self._seen.items()}

    def keep(self, keys: Iterable[K]) -> None:
        """Forget the other keys."""
        self._seen = {key: self._seen[key] for key in keys if key in self._seen}

    def clear(self) -> None:
        self._seen.clear()
