"""Decodes a little of segments, in a process of its own that lasts: its start costs the most.

    python -P air_decoder.py

Reads a request from each line, writes an answer in a line, and ends when its input does.

A request is {"inspect": [path, ...]}, {"pictures": path, "step": seconds} or {"still": path,
"width": pixels}. The answer to the first has for each path, or null where it can't be decoded:
its first picture as base64 (brightness, 32 x 18 pixels), and the levels of its half seconds of
audio in dBFS (RMS). The answer to the second has a picture of that kind for each step. The
answer to the third is a JPEG as base64, or null.

It imports nothing of streamsite, and Django least of all: it has to stay small.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from fractions import Fraction
from math import log10
from typing import Any, Final

import av
from av.error import FFmpegError

#: Pixels of a reduced picture.
WIDTH: Final = 32
HEIGHT: Final = 18
#: Level of pure zeros, in dBFS.
NOTHING_DB: Final = -120.0
#: Every so many samples are enough to hear whether there is any sound. A prime: a tone of a
#: whole part of the sampling rate would always be met at the same place.
STRIDE: Final = 7
#: Parts of a second whose level is measured, and the least of one that is judged.
PART_S: Final = 0.5
LEAST_S: Final = 0.25
#: Without it, opening a segment reads all of it, to find out what the hub wrote anyway.
OPTIONS: Final = {"analyzeduration": "100000", "probesize": "200000", "fpsprobesize": "0"}


def inspect(path: str) -> tuple[str, list[float]] | None:
    """Return picture and levels of a segment; None if it can't be decoded."""
    try:
        with av.open(path, format="mpegts", options=OPTIONS) as segment:
            video = next(iter(segment.streams.video), None)
            audio = next(iter(segment.streams.audio), None)
            luma, powers = b"", _Powers()
            for frame in _decoded(segment, video, audio):
                if isinstance(frame, av.AudioFrame):
                    powers.add(frame)
                elif not luma:
                    luma = _reduced(frame)
            return base64.b64encode(luma).decode(), powers.levels()
    except (FFmpegError, OSError, ValueError):
        # It was deleted meanwhile, or is damaged.
        return None


def pictures(path: str, step: float) -> list[str]:
    """Return a reduced picture for each `step` seconds of a segment; empty: it is damaged."""
    reduced: list[str] = []
    try:
        with av.open(path, format="mpegts", options=OPTIONS) as segment:
            stream = segment.streams.video[0]
            stream.codec_context.thread_count = 1
            began = None
            for frame in segment.decode(stream):
                began = frame.time if began is None else began
                if frame.time - began >= len(reduced) * step - 0.001:
                    reduced.append(base64.b64encode(_reduced(frame)).decode())
    except (FFmpegError, OSError, ValueError, IndexError):
        return []
    return reduced


def _reduced(frame: av.VideoFrame) -> bytes:
    small = frame.reformat(WIDTH, HEIGHT, "gray", interpolation="AREA")
    rows, size = bytes(small.planes[0]), small.planes[0].line_size
    return b"".join(rows[y * size : y * size + WIDTH] for y in range(HEIGHT))


def still(path: str, width: int) -> str | None:
    """Return the first picture of a segment as a JPEG."""
    try:
        with av.open(path, format="mpegts", options=OPTIONS) as segment:
            video = next(iter(segment.streams.video), None)
            frame = next(_decoded(segment, video, None), None)
    except (FFmpegError, OSError, ValueError):
        return None
    if not isinstance(frame, av.VideoFrame):
        return None
    height = max(2, round(frame.height * width / frame.width / 2) * 2)
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    small = frame.reformat(width, height, "yuvj420p")
    small.pts, small.time_base = 0, Fraction(1, 25)
    packets = [*encoder.encode(small), *encoder.encode(None)]
    return base64.b64encode(b"".join(bytes(packet) for packet in packets)).decode()


def _decoded(segment: Any, video: Any, audio: Any) -> Iterator[Any]:
    """Yield the first picture and all of the audio."""
    streams = [stream for stream in (video, audio) if stream is not None]
    if video is not None:
        # More threads cost memory, and nobody waits.
        video.codec_context.thread_count = 1
        video.codec_context.skip_frame = "NONKEY"
    pictured = False
    for packet in segment.demux(streams):
        if packet.stream is audio:
            yield from packet.decode()
        elif not pictured and (packet.is_keyframe or packet.size == 0):
            frames = packet.decode()
            if not frames and packet.size:
                # A decoder holds a picture back until it knows that none precedes it.
                frames = video.codec_context.decode(None)
            pictured = bool(frames)
            yield from frames[:1]


class _Powers:
    """The mean power of each half second."""

    def __init__(self) -> None:
        self._parts: list[tuple[float, int]] = []
        self._sum, self._count, self._seconds = 0.0, 0, 0.0

    def add(self, frame: av.AudioFrame) -> None:
        for plane in frame.planes:
            samples = memoryview(plane).cast("f")[: frame.samples : STRIDE].tolist()
            self._sum += sum(sample * sample for sample in samples)
            self._count += len(samples)
        self._seconds += frame.samples / frame.sample_rate
        if self._seconds >= PART_S:
            self._end()

    def _end(self) -> None:
        self._parts.append((self._sum, self._count))
        self._sum, self._count, self._seconds = 0.0, 0, self._seconds - PART_S

    def levels(self) -> list[float]:
        if self._seconds >= LEAST_S:
            self._end()
        means = [total / count for total, count in self._parts if count]
        return [round(max(NOTHING_DB, 10 * log10(m)), 1) if m else NOTHING_DB for m in means]


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        answer: object
        if "inspect" in request:
            answer = [inspect(path) for path in request["inspect"]]
        elif "pictures" in request:
            answer = pictures(request["pictures"], request["step"])
        else:
            answer = still(request["still"], request["width"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
