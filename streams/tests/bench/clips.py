"""Clips whose every frame identifies itself, prepared once per test session."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from media_library.conform import conform
from media_library.ffmpeg.probe import probe
from media_library.house_format import HouseFormat
from media_library.location import LocalFile

#: Small frames at a real channel's bit rate: the feed's pipe holds three seconds, as on air.
TEST_FORMAT: Final = HouseFormat(160, 90, 30, 2_500_000, 128_000)


@dataclass(frozen=True, slots=True)
class Clip:
    """A prepared file. `number` is the mark in its frames."""

    number: int
    path: Path
    frames: int
    house_format: HouseFormat = TEST_FORMAT

    @property
    def title(self) -> str:
        return f"Clip {self.number}"

    @property
    def seconds(self) -> float:
        return float(self.house_format.seconds(self.frames))


def marked(house_format: HouseFormat, number: int) -> str:
    """A lavfi source in 16 columns: the frame's number in bits above, the clip's below."""
    bits = f"if(Y,{number},N)"
    return (
        # One pixel per bit, enlarged: an expression for each pixel of a frame costs seconds.
        f"color=s=16x2:r={house_format.fps},format=yuv444p,"
        f"geq=lum='if(mod(floor(({bits})/pow(2,X)),2),235,16)':cb=128:cr=128,"
        f"scale={house_format.width}x{house_format.height}:flags=neighbor,setsar=1,format=yuv420p"
    )


def tone(number: int) -> str:
    return f"sine=frequency={220 * number}:sample_rate=48000"


def prepared(
    folder: Path, number: int, seconds: float, house_format: HouseFormat = TEST_FORMAT
) -> Clip:
    """Make a marked clip, conformed as the product does it."""
    return conformed(
        raw(folder / f"raw-{number}.mkv", house_format, number, seconds), number, house_format
    )


def conformed(source: Path, number: int, house_format: HouseFormat = TEST_FORMAT) -> Clip:
    """Conform the source into a file beside it; the source is removed."""
    target = source.with_name(f"clip-{number}.mp4")
    report = probe(LocalFile(source))
    copy = conform.conform(
        LocalFile(source), report, house_format, target, tools=conform.Tools()
    )
    source.unlink()
    return Clip(number, target, copy.frames, house_format)


def raw(
    path: Path, house_format: HouseFormat, number: int, seconds: float, *options: str
) -> Path:
    """Make a marked clip as any other encoder might."""
    # PCM: an encoder with priming would make the video start a frame late.
    usual = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "8", "-c:a", "pcm_s16le")
    run(
        *("-f", "lavfi", "-i", marked(house_format, number), "-f", "lavfi", "-i", tone(number)),
        *("-t", str(float(Fraction(str(seconds)))), *(options or usual), f"file:{path}"),
    )
    return path


def run(*options: str) -> None:
    argv = ("ffmpeg", "-v", "error", "-nostdin", "-y", *options)
    subprocess.run(argv, check=True, timeout=300)
