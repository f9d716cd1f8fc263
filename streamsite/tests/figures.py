"""The length, the bounds and the figures of a measured test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from streamsite.tests.waiting import Patience


@dataclass(frozen=True, slots=True)
class Figures:
    """`exact`: nothing else runs on this machine, and the test runs at full length."""

    exact: bool
    record: Callable[[str, object], None]

    def within(self, promised: float) -> float:
        """The bound for a promised number of seconds, as `until` has it."""
        return Patience.bound(promised)
