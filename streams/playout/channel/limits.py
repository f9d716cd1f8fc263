"""Limits that several parts of a channel share."""

from __future__ import annotations

from typing import Final

#: Seconds for which the hub may receive nothing. After a longer pause FFmpeg treats the step in
#: the timestamps as an error (-dts_delta_threshold, 10 s), removes it, and then sends faster
#: than real time.
STARVED_S: Final = 8.0
