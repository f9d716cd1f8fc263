"""Parses the reports that FFmpeg sends to its progress socket. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """One report. Times are microseconds of output since the process's start."""

    out_time_us: int | None = None
    total_size: int | None = None
    #: Video frames written.
    frame: int | None = None
    fps: float | None = None
    speed: float | None = None
    end: bool = False


def parse(datagram: bytes) -> Progress:
    """Parse one report; a field that is missing or N/A becomes None."""
    fields: dict[str, str] = {}
    for line in datagram.decode("ascii", "replace").splitlines():
        name, separator, value = line.partition("=")
        if separator:
            fields[name.strip()] = value.strip()
    return Progress(
        out_time_us=_whole(fields.get("out_time_us")),
        total_size=_whole(fields.get("total_size")),
        frame=_whole(fields.get("frame")),
        fps=_decimal(fields.get("fps")),
        speed=_decimal(fields.get("speed", "").removesuffix("x")),
        end=fields.get("progress") == "end",
    )


def _whole(text: str | None) -> int | None:
    try:
        return int(text or "")
    except ValueError:
        return None


def _decimal(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
