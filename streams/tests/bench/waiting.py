"""Waiting for something to become true. The library's tests wait too, and know no streams."""

from __future__ import annotations

from streamsite.tests.waiting import steadily, until

__all__ = ["steadily", "until"]
