"""Small real clips for the tests: FFmpeg makes each once per test session."""

from __future__ import annotations

import subprocess
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer


def make(path: Path, *options: str) -> Path:
    """A clip as FFmpeg writes it with these options."""
    argv = ("ffmpeg", "-v", "error", "-nostdin", "-y", *options, f"file:{path}")
    subprocess.run(argv, check=True, timeout=120)
    return path


def lavfi(picture: str, sound: str = "") -> tuple[str, ...]:
    return (
        *("-f", "lavfi", "-i", picture),
        *(("-f", "lavfi", "-i", sound) if sound else ()),
    )


def hdr(curve: str) -> tuple[str, ...]:
    """Options that make the picture HDR: FFmpeg 7 reads the frames, 5 the encoder's options."""
    said = f"color_trc={curve}:color_primaries=bt2020:colorspace=bt2020nc"
    words = (word for each in said.split(":") for word in f"-{each}".split("="))
    return ("-vf", f"setparams={said}", *words)


#: The matrix of a quarter turn in a track's header (16.16 fixed point), and of none.
_UPRIGHT = b"".join(n.to_bytes(4, "big") for n in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
_QUARTER = b"".join(
    n.to_bytes(4, "big", signed=True) for n in (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
)


def turned(clip: Path, path: Path) -> Path:
    """The MP4 clip as a telephone writes it: its header says that it lies on its side.

    FFmpeg 5 has another option for that than 6 and 7.
    """
    whole = clip.read_bytes()
    # The first is the movie's own, the second the picture's.
    at = whole.index(_UPRIGHT, whole.index(b"tkhd"))
    path.write_bytes(whole[:at] + _QUARTER + whole[at + len(_UPRIGHT) :])
    return path


@dataclass
class Read:
    """What a demuxer and decoder find in a file. Steps in the stream's time base."""

    steps: dict[str, Counter[int]]
    frames: Counter[str]
    sizes: set[tuple[int, int]]
    seconds: dict[str, Fraction]


def read(path: Path) -> Read:
    """Demux and decode a file from end to end; a decode error raises."""
    found = Read({"video": Counter(), "audio": Counter()}, Counter(), set(), {})
    last: dict[str, int] = {}
    with av.open(str(path)) as container:
        assert isinstance(container, InputContainer)
        for packet in container.demux():
            kind = packet.stream.type
            if packet.dts is not None and packet.time_base is not None:
                if kind in last:
                    found.steps[kind][packet.dts - last[kind]] += 1
                last[kind] = packet.dts
                found.seconds[kind] = (packet.dts + (packet.duration or 0)) * packet.time_base
            for frame in packet.decode():
                found.frames[kind] += 1
                if isinstance(frame, av.VideoFrame):
                    found.sizes.add((frame.width, frame.height))
    return found
