"""Audits recordings: the errors that a viewer's decoder would have found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import av.logging
from av.container import InputContainer

from media_library.house_format import AAC_FRAME, SAMPLE_RATE, HouseFormat

#: FLV counts in whole milliseconds: both ends of a step are rounded by at most half of one.
FLV_ROUNDING: Final = Fraction(1, 1000)
#: MPEG-TS counts in 1/90000 s.
TS_ROUNDING: Final = Fraction(1, 90_000)


@dataclass(frozen=True, slots=True)
class Step:
    """Seconds between two neighbours that are not a frame apart, and their position."""

    at: float
    seconds: float


@dataclass(slots=True)
class Track:
    packets: int = 0
    anomalies: list[Step] = field(default_factory=list)
    #: Seconds: the longest step, and the end of the last packet.
    longest: float = 0.0
    end: float = 0.0


@dataclass(slots=True)
class Audit:
    video: Track
    audio: Track
    frames: int
    #: Complaints of the decoders.
    errors: list[str]
    sizes: list[tuple[int, int]]

    @property
    def difference(self) -> float:
        """Seconds between the ends of video and audio."""
        return abs(self.video.end - self.audio.end)

    def assert_unbroken(self) -> None:
        """Assert that video and audio have no odd step and no decoding error."""
        assert self.frames > 0, "nothing was sent"
        assert self.video.anomalies == []
        assert self.audio.anomalies == []
        assert self.errors == []


def audit(path: Path, house_format: HouseFormat, *, rounding: Fraction = FLV_ROUNDING) -> Audit:
    """Demux and decode a recording from end to end.

    A step is an anomaly if it differs from the format's frame by more than the container's
    rounding.
    """
    nominal = {"video": house_format.frame, "audio": Fraction(AAC_FRAME, SAMPLE_RATE)}
    tracks = {"video": Track(), "audio": Track()}
    last: dict[str, Fraction] = {}
    result = Audit(tracks["video"], tracks["audio"], 0, [], [])
    with _complaints(result.errors), _opened(path) as container:
        for stream in container.streams:
            stream.codec_context.thread_count = 1
        for packet in container.demux():
            kind = packet.stream.type
            if packet.dts is not None and packet.time_base is not None:
                _step(
                    tracks[kind], last, kind, packet.dts * packet.time_base, nominal, rounding
                )
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                result.errors.append(str(error))
                continue
            for frame in frames:
                if isinstance(frame, av.VideoFrame):
                    result.frames += 1
                    if result.sizes[-1:] != [(frame.width, frame.height)]:
                        result.sizes.append((frame.width, frame.height))
    return result


def _step(
    track: Track,
    last: dict[str, Fraction],
    kind: str,
    dts: Fraction,
    nominal: dict[str, Fraction],
    rounding: Fraction,
) -> None:
    if kind in last:
        step = dts - last[kind]
        track.longest = max(track.longest, float(step))
        if abs(step - nominal[kind]) > rounding:
            track.anomalies.append(Step(float(dts), float(step)))
    last[kind] = dts
    track.packets += 1
    track.end = float(dts + nominal[kind])


@contextmanager
def _complaints(into: list[str]) -> Iterator[None]:
    """Collect the errors that FFmpeg's decoders and demuxers log."""
    before = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture(local=False) as lines:
            yield
    finally:
        av.logging.set_level(before)
    into += [
        f"{name}: {text.strip()}" for level, name, text in lines if level <= av.logging.ERROR
    ]


def _opened(path: Path) -> InputContainer:
    container = av.open(str(path))
    assert isinstance(container, InputContainer)
    return container


@dataclass(frozen=True, slots=True)
class Marked:
    """A frame of a marked clip (see `clips`): its clip, its number, and when it was shown."""

    clip: int
    frame: int
    at: float


def marks(path: Path) -> Iterator[Marked]:
    """Read the marks from the frames of a recording."""
    with _opened(path) as container:
        for frame in container.decode(video=0):
            plane = frame.reformat(format="gray").planes[0]
            picture, line = bytes(plane), plane.line_size
            column = frame.width // 16
            number, clip = (
                sum(
                    1 << place
                    for place in range(16)
                    if picture[row * line + place * column + column // 2] > 128
                )
                for row in (frame.height // 4, frame.height * 3 // 4)
            )
            yield Marked(clip, number, float(frame.time or 0))
