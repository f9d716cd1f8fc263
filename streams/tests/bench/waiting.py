"""Waiting for something to become true: the library's tests wait as well, and know no streams."""

from __future__ import annotations

from streamsite.tests.waiting import steadily, until

__all__ = ["steadily", "until"]
