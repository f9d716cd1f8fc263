"""Bounds that several parts of a channel keep."""

from __future__ import annotations

from typing import Final

#: Seconds for which the hub may be left without food. After more, FFmpeg takes the step in the
#: timestamps for a fault (-dts_delta_threshold, 10 s), removes it, and rushes ever after.
STARVED_S: Final = 8.0
