"""Reads the properties of a file with ffprobe."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

from media_library.ffmpeg import runner
from media_library.ffmpeg.runner import Bounds
from media_library.location import Location, SignedUrl
from streamsite.security import tls

#: Seconds for one ffprobe: a file with its index at the end needs some, over a slow line.
PROBE_TIMEOUT_S: Final = 30.0
#: Bytes read to find the streams, first and if that found no picture size.
PROBE_BYTES: Final = 10_000_000
RETRY_PROBE_BYTES: Final = 100_000_000
#: Bytes of memory for ffprobe. It maps some 400 MB; a hostile index requests far more.
MAX_MEMORY_BYTES: Final = 4 << 30
#: Packets read at a file's beginning. A file trimmed at a keyframe discards all of the first.
FIRST_PACKETS: Final = 16
#: Seconds of audio that may be discarded at the beginning: encoders' priming has 1,024 to 3,072
#: samples (0.14 s at 22,050 Hz).
MAX_PRIMING_S: Final = 0.15
#: Seconds: a longer item is a damaged header or a mistake.
MAX_DURATION_S: Final = 48 * 3600


class ProbeError(Exception):
    """The file can't be used. `str()` is a sentence for the operator."""


class NotMediaError(ProbeError):
    """ffprobe finds no video in it."""


class CutOffError(ProbeError):
    """A part of it is missing."""


class NotReadableError(ProbeError):
    """It can't be read now: missing, refused, too slow, or no ffprobe. May be temporary."""


class OutOfBoundsError(ProbeError):
    """Larger or longer than the library accepts."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Properties in seconds, pixels, frames/s and Hz. `seconds` is None without an index.

    Width and height are those of the displayed picture: a phone's may be rotated. Without
    audio, `audio_codec` is empty and `sample_rate` and `channels` are 0.
    """

    seconds: Fraction | None
    width: int
    height: int
    fps: Fraction | None
    video_codec: str
    pixel_format: str
    audio_codec: str = ""
    sample_rate: int = 0
    channels: int = 0
    #: Frames that a decoder holds back before it shows one: B-frames.
    reorder: int = 0
    #: It has to be rotated for display, by 90 or 180 degrees.
    turned: bool = False
    #: Transfer curve of the picture, by ffprobe's name; empty if not specified.
    colour: str = ""
    #: Parts of its video or audio are not displayed: it was trimmed without re-encoding.
    trimmed: bool = False
    #: Maximum distance between keyframes in seconds; None: unknown. An inspection measures it.
    keyframe_seconds: float | None = None


def probe(
    location: Location, *, ffprobe: str = "ffprobe", timeout_s: float = PROBE_TIMEOUT_S
) -> Probe:
    """Probes a file. `timeout_s` in seconds limits each of at most three runs of ffprobe.

    Raises a `ProbeError`.
    """
    result = _parsed(_streams_and_packets(location, ffprobe, timeout_s, PROBE_BYTES))
    if not result.width:
        result = _parsed(_streams_and_packets(location, ffprobe, timeout_s, RETRY_PROBE_BYTES))
    if not result.width and result.video_codec:
        raise NotMediaError(
            "Its video can't be read: it is damaged, or larger than 8192x4320. Convert it "
            "first."
        )
    if not result.width:
        raise NotMediaError("It contains no video: choose a file with video.")
    if result.seconds is None and isinstance(location, SignedUrl):
        result = replace(result, seconds=_end_of(location, ffprobe, timeout_s))
    if result.width * result.height > runner.MAX_PIXELS:
        raise OutOfBoundsError(
            f"Its picture is {result.width}x{result.height}: the maximum is 8192x4320."
        )
    if result.seconds is not None and result.seconds > MAX_DURATION_S:
        raise OutOfBoundsError(
            f"Its length is given as {float(result.seconds) / 3600:.0f} hours: the maximum is "
            f"{MAX_DURATION_S // 3600}. Cut it, or repair its header."
        )
    return result


def _streams_and_packets(
    location: Location, ffprobe: str, timeout_s: float, read: int
) -> dict[str, Any]:
    with runner.opened(location) as source:
        limits = ("-probesize", str(read), "-analyzeduration", "10M")
        shown = ("-show_format", "-show_streams", "-of", "json")
        first = ("-read_intervals", f"%+#{FIRST_PACKETS}")
        packets = ("-show_entries", "packet=codec_type,pts_time,flags")
        argv = (
            *(ffprobe, "-v", "error", *runner.DECODE, *limits),
            *(*shown, *first, *packets, *source.args),
        )
        output = _run(argv, source, timeout_s)
    answer: dict[str, Any] = json.loads(output or "{}")
    return answer


def _end_of(location: SignedUrl, ffprobe: str, timeout_s: float) -> Fraction | None:
    """Returns the length of a file behind a URL, from its last packets.

    ffconcat does not report the length of its files. With an endless duration, a seek beyond
    the end lands on the last keyframe. None if the file can't be sought.
    """
    with runner.opened(location, f"duration {2 * MAX_DURATION_S}\n") as source:
        end = ("-read_intervals", f"{2 * MAX_DURATION_S - 1}%")
        shown = ("-show_entries", "packet=pts_time,duration_time", "-of", "json")
        argv = (ffprobe, "-v", "error", *end, *shown, *source.args)
        try:
            output = _run(argv, source, timeout_s)
        except NotMediaError:
            return None
    ends = [
        Fraction(packet["pts_time"]) + Fraction(packet.get("duration_time", 0))
        for packet in json.loads(output or "{}").get("packets", [])
        if "pts_time" in packet
    ]
    return max(ends, default=None)


def _run(argv: tuple[str, ...], source: runner.Source, timeout_s: float) -> str:
    bounds = Bounds(seconds=timeout_s, memory_bytes=MAX_MEMORY_BYTES)
    try:
        return runner.run(argv, bounds=bounds, descriptors=source.descriptors)
    except runner.ToolFailedError as error:
        raise _fault(str(error)) from None
    except runner.ToolError as error:
        raise NotReadableError(str(error)) from None


#: Texts of FFmpeg's errors about the access to the file, not about the file.
_WAY: Final = (
    "No such file",
    "Permission denied",
    "Server returned",
    "HTTP error",
    "Connection",
    "Input/output error",
    "timed out",
    "Failed to resolve",
)


#: Containers, by FFmpeg's names, that hold only addresses of other files.
_LISTS: Final = {
    "hls": "an HLS playlist",
    "concat": "a list of files for FFmpeg",
    "dash": "a DASH manifest",
}
_REFUSED: Final = re.compile(rf"\[([\w,]+) @ [^]]*\] {runner.NOT_LISTED}")


def _fault(words: str) -> ProbeError:
    refused = _REFUSED.search(words)
    if refused or runner.NOT_NAMED in words:
        name = refused[1] if refused else "hls"
        what = f"{_LISTS[name]}, which only names other files" if name in _LISTS else name
        return NotMediaError(
            f"The library does not support it: it is {what}. Convert it to MP4 first."
        )
    if any(mark in words for mark in tls.REFUSALS):
        return NotReadableError(
            "It can't be read: the certificate of the storage can't be verified. Add its "
            "authority to this machine's certificates."
        )
    if any(word in words for word in _WAY):
        # The text names the location: a descriptor says nothing, a path may help.
        return NotReadableError(f"It can't be read: {_bare(words)}.")
    return NotMediaError(
        f"The library does not support it: {_bare(words)}. Convert it to MP4 first."
    )


def _bare(words: str) -> str:
    """Returns the reason alone: the text before the last colon is an address or a path."""
    return words.rpartition(": ")[2].rstrip(".") or words


def _parsed(answer: dict[str, Any]) -> Probe:
    streams = answer.get("streams", [])
    # A cover picture is a video stream too.
    video: dict[str, Any] = next(
        (
            stream
            for stream in streams
            if stream.get("codec_type") == "video"
            and not stream.get("disposition", {}).get("attached_pic")
        ),
        {},
    )
    audio: dict[str, Any] = next(
        (stream for stream in streams if stream.get("codec_type") == "audio"), {}
    )
    turn = _turn(video)
    width, height = int(video.get("width", 0)), int(video.get("height", 0))
    if turn % 180:
        width, height = height, width
    return Probe(
        seconds=_positive(answer.get("format", {}).get("duration")),
        width=width,
        height=height,
        fps=_positive(video.get("avg_frame_rate")) or _positive(video.get("r_frame_rate")),
        video_codec=video.get("codec_name", ""),
        pixel_format=video.get("pix_fmt", ""),
        audio_codec=audio.get("codec_name", ""),
        sample_rate=int(audio.get("sample_rate", 0)),
        channels=int(audio.get("channels", 0)),
        reorder=int(video.get("has_b_frames", 0)),
        turned=bool(turn),
        colour=video.get("color_transfer", "").replace("unknown", ""),
        trimmed=_trimmed(answer.get("packets", [])),
    )


def _trimmed(packets: Iterable[dict[str, Any]]) -> bool:
    """Returns whether the first packets are discarded (edit list) or precede the beginning."""
    for packet in packets:
        begins = _number(packet.get("pts_time"))
        if packet.get("codec_type") == "video":
            if "D" in packet.get("flags", "") or (begins is not None and begins < 0):
                return True
        elif begins is not None and begins < -MAX_PRIMING_S:
            return True
    return False


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _turn(video: dict[str, Any]) -> int:
    """Returns the degrees by which the display matrix rotates the picture."""
    turns = [int(side.get("rotation", 0)) for side in video.get("side_data_list", [])]
    return next((turn for turn in turns if turn % 360), 0)


def _positive(text: str | None) -> Fraction | None:
    """Returns a number above 0; None for unknown values, such as 0/0 or N/A."""
    try:
        value = Fraction(text or "0")
    except (ValueError, ZeroDivisionError):
        return None
    return value if value > 0 else None
