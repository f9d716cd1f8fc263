"""The house format: the one shape in which every prepared item of a channel is kept. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, gcd
from typing import Final

#: Samples of one AAC-LC frame (ISO/IEC 14496-3).
AAC_FRAME: Final = 1024
#: Hz. The only audio rate of the house: what YouTube and Twitch both take, and it has a grid.
SAMPLE_RATE: Final = 48_000
#: Seconds between keyframes: what YouTube recommends and Twitch requires.
GOP_SECONDS: Final = 2
#: Frame rates at which whole video frames and whole AAC frames soon end together.
RATES: Final = (24, 25, 30, 50, 60)


@dataclass(frozen=True, slots=True)
class House:
    """Width and height in pixels, fps in frames/s, bit rates in bit/s."""

    width: int = 1280
    height: int = 720
    fps: int = 30
    video_bitrate: int = 3_000_000
    audio_bitrate: int = 128_000

    @property
    def signature(self) -> str:
        """Names the format in keys and file names: items of one signature join without a seam."""
        return (
            f"{self.width}x{self.height}p{self.fps}"
            f"-{self.video_bitrate // 1000}k-{self.audio_bitrate // 1000}k"
        )

    @property
    def gop(self) -> int:
        """Frames from one keyframe to the next."""
        return GOP_SECONDS * self.fps

    @property
    def frame(self) -> Fraction:
        """Seconds of one frame."""
        return Fraction(1, self.fps)

    @property
    def grid(self) -> int:
        """Video frames in the shortest span that is also a whole number of AAC frames.

        16 at 30 fps (25 AAC frames), 8 at 25, 32 at 60, 16 at 50, 64 at 24.
        """
        aac_frames_per_frame = Fraction(SAMPLE_RATE, AAC_FRAME * self.fps)
        return aac_frames_per_frame.denominator

    def frames_on_grid(self, seconds: Fraction) -> int:
        """Frames of an item of that length, padded up to the grid; one span at least."""
        return max(1, ceil(seconds * self.fps / self.grid)) * self.grid

    def seconds(self, frames: int) -> Fraction:
        return Fraction(frames, self.fps)

    @property
    def bytes_per_second(self) -> int:
        """What the channel needs on its way through a pipe: both streams, 8 % for MPEG-TS."""
        return (self.video_bitrate + self.audio_bitrate) * 108 // 800


def aspect(width: int, height: int) -> tuple[int, int]:
    common = gcd(width, height)
    return width // common, height // common
