"""Measures a channel from outside: its HLS segments and its sessions."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from streams.playout.ffmpeg import process
from streams.playout.ffmpeg.process import Record

_SEGMENT: Final = re.compile(r"#EXTINF:([0-9.]+),[^\n]*\n([^#\n]+)\n")


@dataclass(frozen=True, slots=True)
class Segment:
    name: str
    seconds: float
    #: When the hub listed it, in seconds since the epoch.
    at: float


class Segments:
    """The segments that the hub has listed since the first `poll`."""

    def __init__(self, hls: Path) -> None:
        self._playlist = hls / "live.m3u8"
        self._names: set[str] = set()
        self.seen: list[Segment] = []

    def poll(self) -> list[Segment]:
        """Read the playlist. Returns the segments so far."""
        try:
            at = self._playlist.stat().st_mtime
            listed = _SEGMENT.findall(self._playlist.read_text())
        except OSError:
            return self.seen
        polled = bool(self._names)
        for seconds, name in listed:
            if name not in self._names:
                self._names.add(name)
                if polled:
                    self.seen.append(Segment(name, float(seconds), at))
        return self.seen

    def after(self, at: float) -> list[Segment]:
        return [segment for segment in self.seen if segment.at > at]


def air_lost(segments: list[Segment]) -> float | None:
    """Return the seconds of wall clock that the segments after the first do not cover."""
    if len(segments) < 2:  # noqa: PLR2004 - the first one only marks the start
        return None
    elapsed = segments[-1].at - segments[0].at
    return max(0.0, elapsed - sum(segment.seconds for segment in segments[1:]))


@dataclass(frozen=True, slots=True)
class Session:
    """A pusher and the TCP ports of its connections. FFmpeg never reconnects by itself."""

    pid: int
    born: int
    ports: frozenset[int]


def living(folder: Path) -> dict[str, Record]:
    """Return the records of the channel's living processes. It deletes none: it is a guest."""
    existing = {}
    for record in process.read_records(folder):
        if process.born(record.pid) == record.born:
            existing[record.name] = record
    return existing


def sessions(folder: Path) -> dict[str, Session]:
    """Return the sessions of the channel's outputs, by the name of the pusher."""
    return {
        name: Session(record.pid, record.born, _ports(record.pid))
        for name, record in living(folder).items()
        if record.role == process.PUSHER
    }


def _ports(pid: int) -> frozenset[int]:
    try:
        connections = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return frozenset()
    return frozenset(
        one.laddr.port for one in connections if one.status == psutil.CONN_ESTABLISHED
    )


def bytes_read(pid: int) -> int | None:
    """Return the bytes that the process has read, counted by the kernel."""
    try:
        return int(psutil.Process(pid).io_counters().read_chars)
    except psutil.Error:
        return None


def now() -> float:
    return time.time()
