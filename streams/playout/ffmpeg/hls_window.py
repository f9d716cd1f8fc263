"""Reads the rolling HLS window for the supervisor."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from streams.playout.contract.picture import Segment

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Segments behind the newest one at which a pusher starts. FFmpeg's HLS reader polls one
#: segment length after its last poll, and up to 0.1 s late each time: with less than two
#: segments ahead of it, its pauses grow to nearly the length of one. FFmpeg's default of three
#: only adds delay.
SEGMENTS_BEHIND: Final = 2
_SEGMENT: Final = re.compile(r"#EXTINF:([0-9.]+),[^\n]*\n([^#\n]+)\n")


def seconds_behind(playlist: Path, wall: float, segments: int) -> float:
    """Seconds of air from the start of the last `segments` to what the hub sends now.

    A reader that starts there is this far behind the hub. 0 without a playlist.
    """
    try:
        age = wall - playlist.stat().st_mtime
        entries = _SEGMENT.findall(playlist.read_text())
    except OSError:
        return 0.0
    return max(0.0, age) + sum(float(seconds) for seconds, _ in entries[-segments:])


#: Seconds since the last segment, after which the window shows nothing of the present.
MAX_AGE_S: Final = 60.0


def listed(folder: Path, clock: Callable[[], float] = time.monotonic) -> list[Segment]:
    """Return the window's segments, the oldest first. Their moments follow from the last.

    Empty if there are none, or if the machine's clock was set since the last was written.
    """
    playlist = folder / "live.m3u8"
    try:
        age = time.time() - playlist.stat().st_mtime
        at = clock() - age
        entries = _SEGMENT.findall(playlist.read_text())
    except OSError:
        return []
    if not -1 <= age <= MAX_AGE_S:
        return []
    segments: list[Segment] = []
    for seconds, name in reversed(entries):
        at -= float(seconds)
        segments.append(Segment(folder / Path(name).name, at, float(seconds)))
    return segments[::-1]


def ensure_folder(folder: Path, group: int | None) -> Path:
    """Create the folder if it is missing, and let `group` read it besides its owner.

    FFmpeg writes world-readable files, so entering the folder is enough to read them. The group
    passes through the channel's folder and reads nothing else in it. Raises `OSError`.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    if group is not None and folder.stat().st_gid != group:
        try:
            os.chown(folder, -1, group)
            folder.parent.chmod(0o711)
        except PermissionError:
            # Only the preview is missing: the channel still plays.
            log.warning("hls.group", folder=str(folder), group=group, reason="no member of it")
    return folder


class Window:
    """The playlist. `poll` reads it only when it has changed: once per segment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.playlist = folder / "live.m3u8"
        #: There is a segment to show.
        self.ready = False
        #: There are enough segments for a pusher to start at its usual distance: one that
        #: starts at the very first segment would be too close to the newest for its whole
        #: session.
        self.deep = False
        #: Name of the newest segment.
        self.newest = ""
        self._seen = 0
        self._bitrate: int | None = None

    def exists(self) -> bool:
        return self.playlist.exists()

    def age(self) -> float:
        """Seconds since the newest segment; 0 when there is none."""
        try:
            return max(0.0, time.time() - self.playlist.stat().st_mtime)
        except OSError:
            return 0.0

    def poll(self) -> bool:
        """Read the playlist if it changed. True: there is a new segment."""
        before = self.newest
        self._read()
        return self.newest != before

    def _read(self) -> None:
        try:
            changed = self.playlist.stat().st_mtime_ns
            if changed == self._seen:
                return
            segments = _SEGMENT.findall(self.playlist.read_text())
        except OSError:
            self.ready = self.deep = False
            return
        self._seen = changed
        self.ready = bool(segments)
        self.deep = len(segments) >= SEGMENTS_BEHIND
        self.newest = segments[-1][1] if segments else ""
        self._bitrate = self._measure(segments[-3:])

    def bitrate(self) -> int | None:
        """bit/s of the newest segments; None if there is none."""
        return self._bitrate if self.ready else None

    def clear(self) -> None:
        for path in self.folder.iterdir():
            path.unlink(missing_ok=True)
        self.ready = self.deep = False

    def _measure(self, segments: list[tuple[str, str]]) -> int | None:
        try:
            size = sum((self.folder / Path(name).name).stat().st_size for _, name in segments)
        except OSError:
            # Deleted meanwhile: the next poll sees newer segments.
            return self._bitrate
        length = sum(float(seconds) for seconds, _ in segments)
        return round(size * 8 / length) if length else None
