"""Waiting for something to become true, with a deadline: no test sleeps for luck."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")
#: By how much a machine may be late on which six tests run side by side, and at most: seconds.
NOISE: Final = 6.0
MOST_NOISE_S: Final = 60.0
#: Seconds between two polls.
POLL_INTERVAL_S: Final = 0.05


class Patience:
    """Turns a promised number of seconds into a test's bound."""

    #: Whether nothing else runs on this machine, so that a promise is the bound (`--measure`).
    exact: bool = False

    @classmethod
    def bound(cls, promised: float) -> float:
        return promised if cls.exact else min(promised * NOISE, promised + MOST_NOISE_S)


def until(check: Callable[[], T], within: float, what: str) -> T:
    """The first true answer of `look`; an `AssertionError` after `within` seconds.

    That is exact where figures are taken (`--measure`); elsewhere a busy machine gets more.
    """
    bound = Patience.bound(within)
    end = time.monotonic() + bound
    while True:
        if answer := check():
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {bound} s: {what} (last answer: {answer!r})")
        time.sleep(POLL_INTERVAL_S)


def steadily(check: Callable[[], object], seconds: float, what: str) -> None:
    """See that `look` stays true for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert check(), f"did not hold for {seconds} s: {what}"
        time.sleep(POLL_INTERVAL_S)
