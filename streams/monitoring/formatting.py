"""Formats measured values for operators. Pure; render.js does the same for live values."""

from __future__ import annotations

from datetime import datetime
from typing import Final

NOTHING: Final = "–"
KILO: Final = 10**3
MEGA: Final = 10**6
GIGA: Final = 10**9


def duration(since: datetime | None, until: datetime | None) -> str:
    """Formats the time between two moments: 4:05, 3:04:05, 2 d 03:04:05."""
    if since is None or until is None:
        return NOTHING
    return span((until - since).total_seconds())


def span(seconds: float | None) -> str:
    """Formats a length in seconds: 4:05, 3:04:05, 2 d 03:04:05."""
    if seconds is None:
        return NOTHING
    minutes, second = divmod(max(0, int(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour:02}:{minute:02}:{second:02}"
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def bitrate(value: int | None) -> str:
    """Formats bit/s as Mbit/s or kbit/s."""
    if value is None:
        return NOTHING
    return f"{value / MEGA:.2f} Mbit/s" if value >= MEGA else f"{value / KILO:.0f} kbit/s"


def label(state: str) -> str:
    """Formats a state's value as a label: on_air becomes On air."""
    return state.replace("_", " ").capitalize()


def size(value: int | None) -> str:
    """Formats bytes as MB or GB."""
    if value is None:
        return NOTHING
    return f"{value / GIGA:.1f} GB" if value >= GIGA else f"{value / MEGA:.0f} MB"
