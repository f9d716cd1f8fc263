"""Inspects a whole file: properties, position of the index, loudness, three thumbnails.

The probe reads everything needed to play the file; if it fails, the file is at fault. The rest
comes from a few short windows and may be missing. Imports no Django.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from media_library.conform import loudness
from media_library.conform.commands import within
from media_library.conform.conform import Tools
from media_library.conform.loudness import Loudness, Meter
from media_library.ffmpeg import mp4, runner
from media_library.ffmpeg.probe import CutOffError, NotMediaError, Probe, ProbeError, probe
from media_library.ffmpeg.runner import Bounds, Window
from media_library.location import Location

logger = logging.getLogger(__name__)

#: Seconds per window, and positions of the windows.
WINDOW_S: Final = 20.0
WINDOW_POSITIONS: Final = (0.1, 0.5, 0.9)
#: Seconds up to which the loudness of the whole video is measured.
MEASURED_WHOLE_S: Final = 60.0
#: Seconds per window for FFmpeg.
WINDOW_TIMEOUT_S: Final = 60.0
#: Bytes of memory: twice the need of a decoder of 8192 x 4320 pixels.
MAX_MEMORY_BYTES: Final = 6 << 30
#: Bytes of a window's files: a picture, and a line per packet.
MAX_FILE_BYTES: Final = 8 << 20
#: Pixels of each of the three pictures.
WIDTH: Final = 320
HEIGHT: Final = 180
_PICTURE_BYTES: Final = WIDTH * HEIGHT * 3


@dataclass(frozen=True, slots=True)
class Inspection:
    """The result of an inspection.

    `index` is "front", "end" or empty; loudness is an estimate in LUFS; `strip` is a JPEG with
    three pictures side by side, empty if there is none.
    """

    probe: Probe
    index: str = ""
    loudness: float | None = None
    keyframe_seconds: float | None = None
    strip: bytes = b""


def inspect(
    location: Location,
    read: Callable[[int, int], bytes],
    size: int,
    *,
    tools: Tools,
    name: str,
) -> Inspection:
    """Inspects a file of `size` bytes; `read` returns ranges of it.

    `name` is for the log. Raises a `ProbeError`, and errors of `read`.
    """
    if size == 0:
        raise NotMediaError("It is empty: upload it again.")
    layout = mp4.layout(read, size)
    try:
        probed = probe(location, ffprobe=tools.ffprobe)
    except ProbeError as error:
        # The file's own layout explains more than FFmpeg's message.
        if not isinstance(error, NotMediaError) or layout is None:
            raise
        _require_whole(layout, size)
        raise
    if layout is not None:
        _require_whole(layout, size)
    windowed = _WindowInspection(location, probed, tools)
    windowed.run(name)
    return Inspection(
        probe=replace(probed, keyframe_seconds=windowed.keyframe_seconds),
        index=layout.index if layout is not None else "",
        loudness=loudness.estimate(windowed.loudnesses),
        keyframe_seconds=windowed.keyframe_seconds,
        strip=windowed.strip(),
    )


def _require_whole(layout: mp4.Layout, size: int) -> None:
    if layout.should_have > size:
        raise CutOffError(
            f"It is cut off: {size:,} of {layout.should_have:,} bytes are there. "
            "Upload it again."
        )
    if not layout.index:
        raise CutOffError(
            "It has no index (moov box): its recording was not closed, or it was cut off. "
            "Upload it again, or repair it."
        )


def windows(seconds: float | None) -> tuple[Window, ...]:
    """Returns the windows to inspect: all of a short video in three parts, else three of it."""
    if seconds is None:
        return (Window(0.0, WINDOW_S),)
    if seconds <= MEASURED_WHOLE_S:
        # Loudness needs 0.4 s at least.
        parts = len(WINDOW_POSITIONS) if seconds >= len(WINDOW_POSITIONS) else 1
        return tuple(Window(seconds * n / parts, seconds / parts) for n in range(parts))
    last = seconds - WINDOW_S
    return tuple(Window(min(seconds * place, last), WINDOW_S) for place in WINDOW_POSITIONS)


class _WindowInspection:
    """Inspects the windows: one FFmpeg each measures loudness, keyframes and a picture."""

    def __init__(self, location: Location, probed: Probe, tools: Tools) -> None:
        self._location = location
        self._probe = probed
        self._tools = tools
        self._pictures: list[bytes] = []
        self.loudnesses: list[Loudness] = []
        self.keyframe_seconds: float | None = None

    def run(self, name: str) -> None:
        """Never raises because of the file: results that can't be found are left out."""
        seconds = None if self._probe.seconds is None else float(self._probe.seconds)
        for window in windows(seconds):
            try:
                self._window(window)
            except runner.ToolTooSlowError as error:
                # The next one would take as long.
                logger.warning("%s: the remaining windows are skipped: %s", name, error)
                return
            except runner.ToolError as error:
                logger.warning("%s, at %.0f s: %s", name, window.start, error)
        if not self._pictures:
            logger.warning("%s: no thumbnails, because no picture was found in it.", name)

    def _window(self, window: Window) -> None:
        meter = Meter()
        with (
            TemporaryDirectory(prefix="streamsite-look-") as folder,
            runner.opened(self._location, window=window) as source,
        ):
            still, packets = Path(folder) / "still", Path(folder) / "packets"
            try:
                runner.run(
                    self._command(source, still, packets),
                    bounds=Bounds(
                        seconds=WINDOW_TIMEOUT_S,
                        file_bytes=MAX_FILE_BYTES,
                        memory_bytes=MAX_MEMORY_BYTES,
                    ),
                    descriptors=source.descriptors,
                    on_line=meter,
                )
            finally:
                # A damaged window often has a usable result.
                if self._probe.audio_codec and meter.at:
                    self.loudnesses.append(meter.loudness)
                self._read_still(still)
                self._measure_keyframes(packets)

    def _command(self, source: runner.Source, still: Path, packets: Path) -> tuple[str, ...]:
        audio_filters = (
            f"aformat=channel_layouts=stereo,apad=whole_dur=0.6,{loudness.QUICK_METER}"
        )
        video_filters = (
            f"scale={within(WIDTH, HEIGHT)},pad={WIDTH}:{HEIGHT}:-1:-1,setsar=1,format=rgb24"
        )
        audio = ("-map", "0:a:0", "-af", audio_filters, "-f", "null", "-")
        return (
            *(self._tools.ffmpeg, "-hide_banner", "-nostdin", "-nostats", "-v", "error", "-y"),
            # Only keyframes are decoded, from the one before the window's start.
            *("-skip_frame:v", "nokey", "-noaccurate_seek", *runner.DECODE, *source.args),
            *(audio if self._probe.audio_codec else ()),
            *("-map", "0:v:0", "-vf", video_filters, "-frames:v", "1", "-f", "rawvideo"),
            f"file:{still}",
            *("-map", "0:v:0", "-c:v", "copy", "-f", "framecrc", f"file:{packets}"),
        )

    def _read_still(self, still: Path) -> None:
        if still.exists() and still.stat().st_size == _PICTURE_BYTES:
            self._pictures.append(still.read_bytes())

    def _measure_keyframes(self, packets: Path) -> None:
        longest = longest_keyframe_gap(packets.read_text() if packets.exists() else "")
        if longest is not None:
            self.keyframe_seconds = max(longest, self.keyframe_seconds or 0.0)

    def strip(self) -> bytes:
        """Returns the pictures side by side as one JPEG; a missing one is repeated."""
        if not self._pictures:
            return b""
        three = [
            self._pictures[min(n, len(self._pictures) - 1)]
            for n in range(len(WINDOW_POSITIONS))
        ]
        with TemporaryDirectory(prefix="streamsite-look-") as folder:
            raw, strip = Path(folder) / "raw", Path(folder) / "strip.jpg"
            raw.write_bytes(b"".join(three))
            try:
                runner.run(
                    (
                        *(self._tools.ffmpeg, "-hide_banner", "-nostdin", "-v", "error"),
                        *("-f", "rawvideo", "-pixel_format", "rgb24"),
                        *("-video_size", f"{WIDTH}x{HEIGHT}", "-i", f"file:{raw}"),
                        *(
                            "-vf",
                            f"tile={len(WINDOW_POSITIONS)}x1",
                            "-frames:v",
                            "1",
                            "-q:v",
                            "5",
                        ),
                        *("-f", "mjpeg", f"file:{strip}"),
                    ),
                    bounds=Bounds(
                        seconds=WINDOW_TIMEOUT_S,
                        file_bytes=MAX_FILE_BYTES,
                        memory_bytes=MAX_MEMORY_BYTES,
                    ),
                )
            except runner.ToolError as error:
                logger.warning("No thumbnails: %s", error)
                return b""
            return strip.read_bytes()


def longest_keyframe_gap(packets: str) -> float | None:
    """Returns the longest distance between keyframes of a framecrc listing, in seconds.

    The distance from the last keyframe to the end counts too: it may be longer. None without
    keyframes.
    """
    tick, last = 0.0, 0.0
    keys: list[float] = []
    for line in packets.splitlines():
        if line.startswith("#tb 0: "):
            above, _, below = line.removeprefix("#tb 0: ").partition("/")
            tick = int(above) / int(below)
        elif line.startswith("0,"):
            pts, duration = (int(field) for field in line.split(",")[2:4])
            last = max(last, (pts + duration) * tick) if keys else (pts + duration) * tick
            # Flags are printed only for packets that are no keyframes.
            if "F=0x" not in line:
                keys.append(pts * tick)
    if not keys:
        return None
    steps = [after - before for before, after in pairwise(sorted(keys))]
    return max([*steps, last - max(keys)])
