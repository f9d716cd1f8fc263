"""Clips whose every picture says which it is, prepared once per test session."""

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

#: Small pictures at a real channel's bit rate: what waits in the feed's pipe is three seconds,
#: as on air.
HOUSE: Final = HouseFormat(160, 90, 30, 2_500_000, 128_000)


@dataclass(frozen=True, slots=True)
class Clip:
    """A prepared file. `number` is the mark in its pictures."""

    number: int
    path: Path
    frames: int
    house: HouseFormat = HOUSE

    @property
    def title(self) -> str:
        return f"Clip {self.number}"

    @property
    def seconds(self) -> float:
        return float(self.house.seconds(self.frames))


def marked(house: HouseFormat, number: int) -> str:
    """A lavfi picture in 16 columns: above, the frame's number in bits, below, the clip's."""
    column = house.width // 16
    bit = f"floor(X/{column})"
    bits = f"if(lt(Y,{house.height // 2}),N,{number})"
    return (
        f"color=s={house.width}x{house.height}:r={house.fps},format=yuv420p,"
        f"geq=lum='if(mod(floor(({bits})/pow(2,{bit})),2),235,16)':cb=128:cr=128"
    )


def tone(number: int) -> str:
    return f"sine=frequency={220 * number}:sample_rate=48000"


def prepared(folder: Path, number: int, seconds: float, house: HouseFormat = HOUSE) -> Clip:
    """A marked clip, conformed the way the product does it."""
    return conformed(raw(folder / f"raw-{number}.mkv", house, number, seconds), number, house)


def conformed(source: Path, number: int, house: HouseFormat = HOUSE) -> Clip:
    """Beside the source, which is removed."""
    target = source.with_name(f"clip-{number}.mp4")
    found = probe(LocalFile(source))
    copy = conform.conform(LocalFile(source), found, house, target, tools=conform.Tools())
    source.unlink()
    return Clip(number, target, copy.frames, house)


def raw(path: Path, house: HouseFormat, number: int, seconds: float, *options: str) -> Path:
    """A marked clip as anybody's encoder might make it."""
    # PCM: an encoder with priming would make the picture begin a frame late.
    usual = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "8", "-c:a", "pcm_s16le")
    run(
        *("-f", "lavfi", "-i", marked(house, number), "-f", "lavfi", "-i", tone(number)),
        *("-t", str(float(Fraction(str(seconds)))), *(options or usual), f"file:{path}"),
    )
    return path


def run(*options: str) -> None:
    argv = ("ffmpeg", "-v", "error", "-nostdin", "-y", *options)
    subprocess.run(argv, check=True, timeout=300)
