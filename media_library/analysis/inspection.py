"""A whole look at a file: what it is, where its index lies, how loud it is, three pictures.

What is needed to play it comes from the probe, and a failure there is the file's fault. What
is nice to know comes from a few short windows, and may be missing. Imports no Django.
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

#: Seconds of a window, and where the windows begin.
WINDOW: Final = 20.0
PLACES: Final = (0.1, 0.5, 0.9)
#: Seconds up to which all of a film is heard.
HEARD_WHOLE: Final = 60.0
#: Seconds one window may take.
PATIENCE: Final = 60.0
#: Bytes of memory that a decoder of 8192 x 4320 pixels needs, and as much again.
MEMORY: Final = 6 << 30
#: Bytes of a window's files: a picture, and a line for each packet.
FILES: Final = 8 << 20
#: Pixels of each of the three pictures.
WIDTH: Final = 320
HEIGHT: Final = 180
_PICTURE_BYTES: Final = WIDTH * HEIGHT * 3


@dataclass(frozen=True, slots=True)
class Seen:
    """What a whole look found.

    `index` is "front", "end" or empty; loudness is an estimate in LUFS; `strip` a JPEG of
    three pictures side by side, empty where none could be made.
    """

    probe: Probe
    index: str = ""
    loudness: float | None = None
    keyframe_seconds: float | None = None
    strip: bytes = b""


def look(
    location: Location,
    read: Callable[[int, int], bytes],
    size: int,
    *,
    tools: Tools,
    name: str,
) -> Seen:
    """Look into a file of so many bytes, of which `read` gives ranges.

    `name` is for the log. Raises a `ProbeError`, and what `read` raises.
    """
    if size == 0:
        raise NotMediaError("It is empty: upload it again.")
    found = mp4.layout(read, size)
    try:
        probed = probe(location, ffprobe=tools.ffprobe)
    except ProbeError as error:
        # The file's own words tell more of what happened than FFmpeg's.
        if not isinstance(error, NotMediaError) or found is None:
            raise
        _see_it_is_whole(found, size)
        raise
    if found is not None:
        _see_it_is_whole(found, size)
    deep = _Deep(location, probed, tools)
    deep.look(name)
    return Seen(
        probe=replace(probed, keyframe_seconds=deep.keyframe_seconds),
        index=found.index if found is not None else "",
        loudness=loudness.estimate(deep.heard),
        keyframe_seconds=deep.keyframe_seconds,
        strip=deep.strip(),
    )


def _see_it_is_whole(found: mp4.Layout, size: int) -> None:
    if found.should_have > size:
        raise CutOffError(
            f"It is cut off: {size:,} of {found.should_have:,} bytes are there. "
            "Upload it again."
        )
    if not found.index:
        raise CutOffError(
            "It has no index (moov box): its recording was not closed, or it was cut off. "
            "Upload it again, or repair it."
        )


def windows(seconds: float | None) -> tuple[Window, ...]:
    """Where to look: all of a short film, in three parts; else three stretches of it."""
    if seconds is None:
        return (Window(0.0, WINDOW),)
    if seconds <= HEARD_WHOLE:
        # Loudness is told of 0.4 s and more.
        parts = len(PLACES) if seconds >= len(PLACES) else 1
        return tuple(Window(seconds * n / parts, seconds / parts) for n in range(parts))
    last = seconds - WINDOW
    return tuple(Window(min(seconds * place, last), WINDOW) for place in PLACES)


class _Deep:
    """The look through the windows: one FFmpeg for each hears, counts and draws at once."""

    def __init__(self, location: Location, found: Probe, tools: Tools) -> None:
        self._location = location
        self._found = found
        self._tools = tools
        self._pictures: list[bytes] = []
        self.heard: list[Loudness] = []
        self.keyframe_seconds: float | None = None

    def look(self, name: str) -> None:
        """Never raises for the file's sake: what can't be found out is left out."""
        seconds = None if self._found.seconds is None else float(self._found.seconds)
        for window in windows(seconds):
            try:
                self._window(window)
            except runner.ToolTooSlowError as error:
                # The next would take as long.
                logger.warning("%s: looking no deeper: %s", name, error)
                return
            except runner.ToolError as error:
                logger.warning("%s, at %.0f s: %s", name, window.start, error)
        if not self._pictures:
            logger.warning("%s: no thumbnails, for no picture was found in it.", name)

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
                    bounds=Bounds(seconds=PATIENCE, file_bytes=FILES, memory_bytes=MEMORY),
                    descriptors=source.descriptors,
                    on_line=meter,
                )
            finally:
                # Of a damaged stretch there is often something all the same.
                if self._found.audio_codec and meter.at:
                    self.heard.append(meter.loudness)
                self._draw(still)
                self._count(packets)

    def _command(self, source: runner.Source, still: Path, packets: Path) -> tuple[str, ...]:
        heard = f"aformat=channel_layouts=stereo,apad=whole_dur=0.6,{loudness.QUICK_METER}"
        drawn = (
            f"scale={within(WIDTH, HEIGHT)},pad={WIDTH}:{HEIGHT}:-1:-1,setsar=1,format=rgb24"
        )
        sound = ("-map", "0:a:0", "-af", heard, "-f", "null", "-")
        return (
            *(self._tools.ffmpeg, "-hide_banner", "-nostdin", "-nostats", "-v", "error", "-y"),
            # Keyframes alone are decoded, from the one before the window's start.
            *("-skip_frame:v", "nokey", "-noaccurate_seek", *runner.DECODE, *source.args),
            *(sound if self._found.audio_codec else ()),
            *("-map", "0:v:0", "-vf", drawn, "-frames:v", "1", "-f", "rawvideo"),
            f"file:{still}",
            *("-map", "0:v:0", "-c:v", "copy", "-f", "framecrc", f"file:{packets}"),
        )

    def _draw(self, still: Path) -> None:
        if still.exists() and still.stat().st_size == _PICTURE_BYTES:
            self._pictures.append(still.read_bytes())

    def _count(self, packets: Path) -> None:
        longest = longest_way(packets.read_text() if packets.exists() else "")
        if longest is not None:
            self.keyframe_seconds = max(longest, self.keyframe_seconds or 0.0)

    def strip(self) -> bytes:
        """The pictures side by side as one JPEG; what is missing is stood in for by another."""
        if not self._pictures:
            return b""
        three = [self._pictures[min(n, len(self._pictures) - 1)] for n in range(len(PLACES))]
        with TemporaryDirectory(prefix="streamsite-look-") as folder:
            raw, strip = Path(folder) / "raw", Path(folder) / "strip.jpg"
            raw.write_bytes(b"".join(three))
            try:
                runner.run(
                    (
                        *(self._tools.ffmpeg, "-hide_banner", "-nostdin", "-v", "error"),
                        *("-f", "rawvideo", "-pixel_format", "rgb24"),
                        *("-video_size", f"{WIDTH}x{HEIGHT}", "-i", f"file:{raw}"),
                        *("-vf", f"tile={len(PLACES)}x1", "-frames:v", "1", "-q:v", "5"),
                        *("-f", "mjpeg", f"file:{strip}"),
                    ),
                    bounds=Bounds(seconds=PATIENCE, file_bytes=FILES, memory_bytes=MEMORY),
                )
            except runner.ToolError as error:
                logger.warning("No thumbnails: %s", error)
                return b""
            return strip.read_bytes()


def longest_way(packets: str) -> float | None:
    """Seconds between keyframes in a framecrc listing; None without any.

    The way from the last one to the end counts too: it may have been longer.
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
            # The flags are told of packets that are no keyframes.
            if "F=0x" not in line:
                keys.append(pts * tick)
    if not keys:
        return None
    steps = [after - before for before, after in pairwise(sorted(keys))]
    return max([*steps, last - max(keys)])
