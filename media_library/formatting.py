"""Formats a file's measured values for operators. Pure; library.js has the same."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from media_library.house_format import HouseFormat

NOTHING: Final = "–"
KILO: Final = 10**3
MEGA: Final = 10**6
GIGA: Final = 10**9
#: Percentage below which no remaining time is estimated.
TOO_EARLY: Final = 3


def length(seconds: float | None) -> str:
    """Seconds as 4:05 or 3:04:05."""
    if seconds is None:
        return NOTHING
    minutes, second = divmod(max(0, round(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def size(count: int | None) -> str:
    """Bytes as kB, MB or GB."""
    if count is None:
        return NOTHING
    if count >= GIGA:
        return f"{count / GIGA:.1f} GB"
    return f"{count / MEGA:.0f} MB" if count >= MEGA else f"{count / KILO:.0f} kB"


def house_format(signature: str) -> str:
    """Formats a house format's signature; other texts stay unchanged."""
    try:
        made = HouseFormat.of(signature)
    except ValueError:
        return signature
    parts = (
        f"{made.width}×{made.height}",
        f"{made.fps} fps",
        f"{made.video_bitrate / MEGA:g} Mbit/s",
        made.logo and "with logo",
    )
    return ", ".join(part for part in parts if part)


def copy_length(frames: int | None, signature: str) -> str:
    """Formats the frames of a copy in that house format as 4:05."""
    try:
        return length(frames and float(HouseFormat.of(signature).seconds(frames)))
    except ValueError:
        return NOTHING


def left(percent: int, begun: datetime | None, now: datetime) -> str:
    """Formats the remaining time at the present speed; empty while it can't be estimated."""
    if begun is None or not TOO_EARLY <= percent < 100:  # noqa: PLR2004 - percent
        return ""
    rest = (now - begun) * (100 - percent) / percent
    if rest < timedelta(minutes=1):
        return "less than a minute left"
    minutes = round(rest.total_seconds() / 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours} h {minute} min left" if hours else f"{minute} min left"


def counted(number: int, one: str, many: str = "") -> str:
    """Formats a number with its noun: 1 item, 12,000 items."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
