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
    """Makes a clip with FFmpeg and these options."""
    argv = ("ffmpeg", "-v", "error", "-nostdin", "-y", *options, f"file:{path}")
    subprocess.run(argv, check=True, timeout=120)
    return path


def lavfi(picture: str, sound: str = "") -> tuple[str, ...]:
    return (
        *("-f", "lavfi", "-i", picture),
        *(("-f", "lavfi", "-i", sound) if sound else ()),
    )


def hdr(curve: str) -> tuple[str, ...]:
    """Returns options for HDR video: FFmpeg 7 reads the frames, 5 the encoder's options."""
    parameters = f"color_trc={curve}:color_primaries=bt2020:colorspace=bt2020nc"
    words = (word for parameter in parameters.split(":") for word in f"-{parameter}".split("="))
    return ("-vf", f"setparams={parameters}", *words)


#: The matrix of a quarter turn in a track's header (16.16 fixed point), and the identity.
_UPRIGHT = b"".join(n.to_bytes(4, "big") for n in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
_QUARTER = b"".join(
    n.to_bytes(4, "big", signed=True) for n in (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
)


def turned(clip: Path, path: Path) -> Path:
    """Marks the MP4 clip as rotated, like a phone's video: its header has a rotation.

    FFmpeg 5 uses another option for that than 6 and 7.
    """
    whole = clip.read_bytes()
    # The first is the movie's own, the second the video track's.
    at = whole.index(_UPRIGHT, whole.index(b"tkhd"))
    path.write_bytes(whole[:at] + _QUARTER + whole[at + len(_UPRIGHT) :])
    return path


@dataclass
class Read:
    """The result of demuxing and decoding a file. Steps in the stream's time base."""

    steps: dict[str, Counter[int]]
    frames: Counter[str]
    sizes: set[tuple[int, int]]
    seconds: dict[str, Fraction]


def read(path: Path) -> Read:
    """Demuxes and decodes a whole file; a decoding error raises."""
    result = Read({"video": Counter(), "audio": Counter()}, Counter(), set(), {})
    last: dict[str, int] = {}
    with av.open(str(path)) as container:
        assert isinstance(container, InputContainer)
        for packet in container.demux():
            kind = packet.stream.type
            if packet.dts is not None and packet.time_base is not None:
                if kind in last:
                    result.steps[kind][packet.dts - last[kind]] += 1
                last[kind] = packet.dts
                result.seconds[kind] = (packet.dts + (packet.duration or 0)) * packet.time_base
            for frame in packet.decode():
                result.frames[kind] += 1
                if isinstance(frame, av.VideoFrame):
                    result.sizes.add((frame.width, frame.height))
    return result
