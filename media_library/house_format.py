"""The house format: the format of all prepared items of a channel. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from media_library.ffmpeg.probe import Probe

#: Samples of one AAC-LC frame (ISO/IEC 14496-3).
AAC_FRAME: Final = 1024
#: Hz. The only audio rate of house formats: YouTube and Twitch both accept it, and it has a
#: grid.
SAMPLE_RATE: Final = 48_000
#: Stereo.
CHANNELS: Final = 2
#: Seconds between keyframes: recommended by YouTube, and required by Twitch.
GOP_SECONDS: Final = 2
#: Maximum seconds between keyframes of a file that is sent unchanged. The live window grows by
#: whole groups of pictures, and a destination receives it some 5 s later: with longer groups
#: there would be nothing to send in between. Videos of the large platforms have up to 5.4 s.
MAX_KEYFRAMES_S: Final = 5.5
#: Frame rates whose video frames and AAC frames soon end at the same time.
RATES: Final = (24, 25, 30, 50, 60)

_LOGO: Final = r"-([0-9a-f]{16})(tl|tr|bl|br)(\d{1,2})"
_SIGNATURE: Final = re.compile(rf"(\d+)x(\d+)p(\d+)-(\d+)k-(\d+)k(?:{_LOGO})?")


@dataclass(frozen=True, slots=True)
class Logo:
    """A picture burnt into every item.

    `digest` is its name in the storage (16 hexadecimal digits), `corner` is tl, tr, bl or br,
    `width` is in percent of the picture's width.
    """

    digest: str
    corner: str = "tr"
    width: int = 12

    @property
    def key(self) -> str:
        return f"logos/{self.digest}.png"


@dataclass(frozen=True, slots=True)
class HouseFormat:
    """Width and height in pixels, fps in frames/s, bit rates in bit/s."""

    width: int = 1280
    height: int = 720
    fps: int = 30
    video_bitrate: int = 3_000_000
    audio_bitrate: int = 128_000
    logo: Logo | None = None

    @property
    def signature(self) -> str:
        """Names the format in keys and files: items of one signature join seamlessly.

        At most 64 characters: it is a column.
        """
        return (
            f"{self.width}x{self.height}p{self.fps}"
            f"-{self.video_bitrate // 1000}k-{self.audio_bitrate // 1000}k"
            + (f"-{self.logo.digest}{self.logo.corner}{self.logo.width}" if self.logo else "")
        )

    @classmethod
    def of(cls, signature: str) -> HouseFormat:
        """Returns the house format of that signature. Raises `ValueError` if it is invalid."""
        if (match := _SIGNATURE.fullmatch(signature)) is None:
            raise ValueError(f"{signature!r} is not a house format's signature.")
        *numbers, digest, corner, share = match.groups()
        width, height, fps, video, audio = map(int, numbers)
        logo = Logo(digest, corner, int(share)) if digest else None
        return cls(width, height, fps, video * 1000, audio * 1000, logo)

    @property
    def bare(self) -> HouseFormat:
        """The format without its logo. Items of one bare format join seamlessly too."""
        return replace(self, logo=None)

    @property
    def gop(self) -> int:
        """Frames from one keyframe to the next."""
        return GOP_SECONDS * self.fps

    @property
    def frame(self) -> Fraction:
        """Seconds per frame."""
        return Fraction(1, self.fps)

    @property
    def grid(self) -> int:
        """Video frames in the shortest span that is also a whole number of AAC frames.

        16 at 30 fps (25 AAC frames), 8 at 25, 32 at 60, 16 at 50, 64 at 24.
        """
        aac_frames_per_frame = Fraction(SAMPLE_RATE, AAC_FRAME * self.fps)
        return aac_frames_per_frame.denominator

    def frames_on_grid(self, seconds: Fraction) -> int:
        """Returns the frames of an item, padded to the grid; one interval at least."""
        return max(1, ceil(seconds * self.fps / self.grid)) * self.grid

    def samples(self, frames: int) -> int:
        """Returns the audio samples of that many video frames of the grid."""
        return frames * SAMPLE_RATE // self.fps

    def seconds(self, frames: int) -> Fraction:
        return Fraction(frames, self.fps)

    @property
    def bytes_per_second(self) -> int:
        """Bytes/s of the channel in a pipe: both streams, and 8 % for MPEG-TS."""
        return (self.video_bitrate + self.audio_bitrate) * 108 // 800


def _lacks_for_joining(probe: Probe) -> list[str]:
    """Returns the problems with its timestamps and keyframes."""
    faults = []
    if probe.keyframe_seconds is None:
        faults.append("the distance of its keyframes is unknown")
    elif probe.keyframe_seconds > MAX_KEYFRAMES_S:
        apart = f"{probe.keyframe_seconds:.1f} s apart"
        faults.append(f"its keyframes are {apart}, more than {MAX_KEYFRAMES_S:g} s")
    if probe.trimmed:
        faults.append("its first frames must not be displayed")
    return faults


def lacks(probe: Probe) -> tuple[str, ...]:
    """Returns why a file can't be sent unchanged; empty if it can.

    A different size or frame rate is allowed: decoders accept the change.
    """
    faults = []
    if probe.video_codec != "h264":
        faults.append(f"its video is {probe.video_codec or 'missing'}, not H.264")
    elif probe.pixel_format not in {"yuv420p", "yuvj420p"}:
        faults.append(f"its video is {probe.pixel_format}, not 8 bit 4:2:0")
    if probe.turned:
        faults.append("its picture is rotated")
    faults += _lacks_for_joining(probe)
    if not probe.audio_codec:
        faults.append("it has no audio")
        return tuple(faults)
    if probe.audio_codec != "aac":
        faults.append(f"its audio is {probe.audio_codec}, not AAC")
    if probe.sample_rate != SAMPLE_RATE:
        faults.append(f"its audio has {probe.sample_rate} Hz, not {SAMPLE_RATE}")
    if probe.channels != CHANNELS:
        faults.append(f"its audio has {probe.channels} channels, not {CHANNELS}")
    return tuple(faults)
