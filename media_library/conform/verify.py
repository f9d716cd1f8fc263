"""Verifies that a copy can be joined seamlessly: every packet is checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Final

from media_library.ffmpeg import runner
from media_library.ffmpeg.runner import Bounds
from media_library.house_format import AAC_FRAME, CHANNELS, SAMPLE_RATE, HouseFormat

#: Properties of every copy, by ffprobe's names.
_VIDEO: Final = {
    "codec_name": "h264",
    "profile": "High",
    "pix_fmt": "yuv420p",
    "color_range": "tv",
    "color_space": "bt709",
    "color_transfer": "bt709",
    "color_primaries": "bt709",
    "has_b_frames": 0,
}
_AUDIO: Final = {
    "codec_name": "aac",
    "profile": "LC",
    "sample_rate": str(SAMPLE_RATE),
    "channels": CHANNELS,
    "channel_layout": "stereo",
}


def faults(
    path: Path,
    house_format: HouseFormat,
    frames: int,
    *,
    ffprobe: str,
    watch: Callable[[], None] | None = None,
    urgent: bool = False,
) -> list[str]:
    """Returns what is wrong with a copy; empty if it is as requested. Raises `ToolError`.

    The video begins at 0 with a keyframe, has one per GOP, and exactly `frames` frames; the
    audio has one AAC packet per 1024 samples of that length, and one more in front, the
    encoder's priming, which the player drops. No packet of either is early, late or missing.
    That also determines the frame rate, which ffprobe computes differently between versions.
    `urgent` if a channel waits for it.
    """
    base_argv = (
        ffprobe,
        "-v",
        "error",
        "-protocol_whitelist",
        "file",
        "-format_whitelist",
        "mov",
    )
    bounds = Bounds(seconds=120 + float(house_format.seconds(frames)))
    run = partial(runner.run, bounds=bounds, watch=watch, urgent=urgent)
    output = run((*base_argv, "-of", "json", "-show_streams", f"file:{path}"))
    streams: list[dict[str, Any]] = json.loads(output or "{}").get("streams", [])
    if [stream.get("codec_type") for stream in streams] != ["video", "audio"]:
        return ["it does not have exactly one video and one audio stream"]
    video, audio = streams
    size = {"width": house_format.width, "height": house_format.height}
    problems = _differences(video, _VIDEO | size, "video")
    problems += _differences(audio, _AUDIO, "audio")
    walks = (
        _Walk(
            "video", video, house_format.frame, frames, first=Fraction(0), gop=house_format.gop
        ),
        _Walk(
            "audio",
            audio,
            Fraction(AAC_FRAME, SAMPLE_RATE),
            house_format.samples(frames) // AAC_FRAME + 1,
            first=Fraction(-AAC_FRAME, SAMPLE_RATE),
            gop=1,
        ),
    )

    def packet(line: str) -> None:
        # A packet with side data adds an empty line.
        if not line:
            return
        number, pts, duration, flags = line.split(",")[:4]
        walks[int(number)].packet(pts, duration, flags)

    # Line by line: hours of packets would fill the memory.
    shown = ("-show_entries", "packet=stream_index,pts,duration,flags", "-of", "csv=p=0")
    run((*base_argv, *shown, f"file:{path}"), on_line=packet)
    return problems + [fault for walk in walks for fault in walk.faults()]


def _differences(stream: dict[str, Any], expected: dict[str, Any], what: str) -> list[str]:
    return [
        f"the {what}'s {name} is {stream.get(name, 'not specified')}, not {value}"
        for name, value in expected.items()
        if stream.get(name) != value
    ]


class _Walk:
    """Walks along the packets of one stream and remembers the first wrong one."""

    def __init__(
        self,
        what: str,
        stream: dict[str, Any],
        step: Fraction,
        expected: int,
        *,
        first: Fraction,
        gop: int,
    ) -> None:
        self._what = what
        self._tick = Fraction(stream["time_base"])
        self._step = step
        self._expected = expected
        self._first = first
        self._gop = gop
        self._packets = 0
        self._odd = ""

    def packet(self, pts: str, duration: str, flags: str) -> None:
        # Multiplied instead of summed up, so that rounding of the time base does not
        # accumulate.
        due = self._first + self._packets * self._step
        if not self._odd:
            if pts == "N/A" or round(due / self._tick) != int(pts):
                self._odd = f"comes at {pts}, not {round(due / self._tick)}"
            elif duration == "N/A" or round(self._step / self._tick) != int(duration):
                self._odd = f"lasts {duration}, not {round(self._step / self._tick)}"
            elif ("K" in flags) != (self._packets % self._gop == 0):
                self._odd = "has a wrong keyframe flag"
            elif "D" in flags and int(pts) >= 0:
                # The priming comes before 0 by design.
                self._odd = "lies outside of the file's edit list"
            if self._odd:
                self._odd = f"packet {self._packets} of the {self._what} {self._odd}"
        self._packets += 1

    def faults(self) -> list[str]:
        counted = (
            []
            if self._packets == self._expected
            else [f"the {self._what} has {self._packets} packets, not {self._expected}"]
        )
        return counted + [self._odd] * bool(self._odd)
