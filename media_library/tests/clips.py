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
