"""Waiting for something to become true, with a deadline: no test sleeps for luck."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")
#: Seconds between two looks.
LOOK: Final = 0.05


def until(look: Callable[[], T], within: float, what: str) -> T:
    """The first true answer of `look`; an `AssertionError` after `within` seconds."""
    end = time.monotonic() + within
    while True:
        if answer := look():
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {within} s: {what} (last answer: {answer!r})")
        time.sleep(LOOK)


def steadily(look: Callable[[], object], seconds: float, what: str) -> None:
    """See that `look` stays true for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert look(), f"did not hold for {seconds} s: {what}"
        time.sleep(LOOK)
