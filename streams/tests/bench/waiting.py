"""Waits for a condition. Also used by the library's tests, so it imports nothing of streams."""

from __future__ import annotations

from streamsite.tests.waiting import steadily, until

__all__ = ["steadily", "until"]
