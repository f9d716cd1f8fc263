"""What a file is: read by ffprobe into values."""

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

#: Seconds one look may take: a file with its index at the end, over a slow line, needs some.
PATIENCE: Final = 30.0
#: Bytes read to find the streams, first and when that found no picture size.
READ_FIRST: Final = 10_000_000
READ_AGAIN: Final = 100_000_000
#: Bytes of memory ffprobe may ask for. It maps some 400 MB; a hostile index asks for far more.
MEMORY: Final = 4 << 30
#: Packets read at a file's beginning. Trimmed at a keyframe, all of the first are left out.
FIRST_PACKETS: Final = 16
#: Seconds of audio that may be left out at the beginning: encoders' priming has 1,024 to 3,072
#: samples (0.14 s at 22,050 Hz).
MAX_PRIMING_S: Final = 0.15
#: Seconds: a longer item is a damaged header or a mistake. Channels repeat; files end.
LONGEST: Final = 48 * 3600


class ProbeError(Exception):
    """The file can't be used. `str()` of it is a sentence for the operator."""


class NotMediaError(ProbeError):
    """ffprobe finds no film in it."""


class CutOffError(ProbeError):
    """A part of it is missing."""


class NotReadableError(ProbeError):
    """It can't be read now: gone, refused, too slow, or ffprobe is missing. May pass."""


class OutOfBoundsError(ProbeError):
    """Larger or longer than the library takes."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Seconds, pixels, frames/s, Hz. `seconds` is None where no index tells the length.

    Width and height are those of the picture as shown: a phone's may lie on its side.
    `audio_codec` is empty, `sample_rate` and `channels` are 0, where there is no sound.
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
    #: Frames a decoder holds back before it shows one: B-frames.
    reorder: int = 0
    #: It is to be turned before it is shown, by a quarter or a half.
    turned: bool = False
    #: Transfer curve of the picture, as ffprobe names it; empty where it is not told.
    colour: str = ""
    #: It holds video or audio that is not to be shown: it was trimmed without encoding it anew.
    trimmed: bool = False
    #: The longest way between keyframes, in seconds; None: not known. An inspection finds it.
    keyframe_seconds: float | None = None


def probe(location: Location, *, ffprobe: str = "ffprobe", patience: float = PATIENCE) -> Probe:
    """Look into a file. `patience` in seconds bounds each of three looks at most.

    Raises a `ProbeError`.
    """
    found = _parsed(_look(location, ffprobe, patience, READ_FIRST))
    if not found.width:
        found = _parsed(_look(location, ffprobe, patience, READ_AGAIN))
    if not found.width and found.video_codec:
        raise NotMediaError(
            "Its picture can't be read: it is damaged, or larger than 8192x4320. Convert it "
            "first."
        )
    if not found.width:
        raise NotMediaError("No picture was found in it: choose a file with video.")
    if found.seconds is None and isinstance(location, SignedUrl):
        found = replace(found, seconds=_end_of(location, ffprobe, patience))
    if found.width * found.height > runner.LARGEST:
        raise OutOfBoundsError(
            f"Its picture is {found.width}x{found.height}: the most is 8192x4320."
        )
    if found.seconds is not None and found.seconds > LONGEST:
        raise OutOfBoundsError(
            f"It says it lasts {float(found.seconds) / 3600:.0f} hours: the most is "
            f"{LONGEST // 3600}. Cut it, or repair its header."
        )
    return found


def _look(location: Location, ffprobe: str, patience: float, read: int) -> dict[str, Any]:
    with runner.opened(location) as source:
        limits = ("-probesize", str(read), "-analyzeduration", "10M")
        shown = ("-show_format", "-show_streams", "-of", "json")
        first = ("-read_intervals", f"%+#{FIRST_PACKETS}")
        packets = ("-show_entries", "packet=codec_type,pts_time,flags")
        argv = (
            *(ffprobe, "-v", "error", *runner.DECODE, *limits),
            *(*shown, *first, *packets, *source.args),
        )
        said = _run(argv, source, patience)
    answer: dict[str, Any] = json.loads(said or "{}")
    return answer


def _end_of(location: SignedUrl, ffprobe: str, patience: float) -> Fraction | None:
    """The length of a file behind a URL, from its last packets.

    ffconcat does not tell the length of its files. Said to last for ever, it can be sought in
    beyond the end, which lands on the last keyframe. None where the file can't be sought in.
    """
    with runner.opened(location, f"duration {2 * LONGEST}\n") as source:
        end = ("-read_intervals", f"{2 * LONGEST - 1}%")
        shown = ("-show_entries", "packet=pts_time,duration_time", "-of", "json")
        argv = (ffprobe, "-v", "error", *end, *shown, *source.args)
        try:
            said = _run(argv, source, patience)
        except NotMediaError:
            return None
    ends = [
        Fraction(packet["pts_time"]) + Fraction(packet.get("duration_time", 0))
        for packet in json.loads(said or "{}").get("packets", [])
        if "pts_time" in packet
    ]
    return max(ends, default=None)


def _run(argv: tuple[str, ...], source: runner.Source, patience: float) -> str:
    bounds = Bounds(seconds=patience, memory_bytes=MEMORY)
    try:
        return runner.run(argv, bounds=bounds, descriptors=source.descriptors)
    except runner.ToolFailedError as error:
        raise _fault(str(error)) from None
    except runner.ToolError as error:
        raise NotReadableError(str(error)) from None


#: Words of FFmpeg's errors that speak of the way to the file, not of the file.
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


#: Containers, by FFmpeg's names, that hold no film but the addresses of some.
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
            f"It is no film this library knows, but {what}. Convert it to MP4 first."
        )
    if any(mark in words for mark in tls.REFUSALS):
        return NotReadableError(
            "It can't be read: the certificate of the storage can't be verified. Add its "
            "authority to this machine's certificates."
        )
    if any(word in words for word in _WAY):
        # The words name the place; a place on a descriptor says nothing, a path may help.
        return NotReadableError(f"It can't be read: {_bare(words)}.")
    return NotMediaError(
        f"It is no film this library knows: {_bare(words)}. Convert it to MP4 first."
    )


def _bare(words: str) -> str:
    """The reason alone: what stands before the last colon is an address or a path."""
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
    """Whether the first packets are left out (by an edit list), or lie before the beginning."""
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
    """Degrees by which the display matrix turns the picture."""
    turns = [int(side.get("rotation", 0)) for side in video.get("side_data_list", [])]
    return next((turn for turn in turns if turn % 360), 0)


def _positive(text: str | None) -> Fraction | None:
    """A number above 0; what is not known stands as 0/0 or N/A."""
    try:
        value = Fraction(text or "0")
    except (ValueError, ZeroDivisionError):
        return None
    return value if value > 0 else None
