"""Whether a copy is exactly what a seam needs: every packet of it is looked at."""

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

#: What every copy has in common, by ffprobe's names.
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
    house: HouseFormat,
    frames: int,
    *,
    ffprobe: str,
    watch: Callable[[], None] | None = None,
    urgent: bool = False,
) -> list[str]:
    """What is wrong with a copy; empty when it is as ordered. Raises `ToolError`.

    The picture begins at 0 with a keyframe, has one each GOP, and so many frames; the sound has
    one AAC packet for each 1024 samples of that length, and one more in front, the encoder's
    priming, which the player drops. No packet of either is early, late or missing. That is also
    the frame rate: what ffprobe itself makes of it differs between its versions. It is `urgent`
    where a channel waits for it.
    """
    asked = (ffprobe, "-v", "error", "-protocol_whitelist", "file", "-format_whitelist", "mov")
    bounds = Bounds(seconds=120 + float(house.seconds(frames)))
    ask = partial(runner.run, bounds=bounds, watch=watch, urgent=urgent)
    said = ask((*asked, "-of", "json", "-show_streams", f"file:{path}"))
    streams: list[dict[str, Any]] = json.loads(said or "{}").get("streams", [])
    if [stream.get("codec_type") for stream in streams] != ["video", "audio"]:
        return ["it has not one picture and one sound"]
    video, audio = streams
    size = {"width": house.width, "height": house.height}
    found = _differences(video, _VIDEO | size, "picture")
    found += _differences(audio, _AUDIO, "sound")
    walks = (
        _Walk("picture", video, house.frame, frames, first=Fraction(0), gop=house.gop),
        _Walk(
            "sound",
            audio,
            Fraction(AAC_FRAME, SAMPLE_RATE),
            house.samples(frames) // AAC_FRAME + 1,
            first=Fraction(-AAC_FRAME, SAMPLE_RATE),
            gop=1,
        ),
    )

    def packet(line: str) -> None:
        # Of a packet with side data there is an empty line more.
        if not line:
            return
        number, pts, duration, flags = line.split(",")[:4]
        walks[int(number)].packet(pts, duration, flags)

    # As lines, one by one: hours of packets would fill the memory.
    shown = ("-show_entries", "packet=stream_index,pts,duration,flags", "-of", "csv=p=0")
    ask((*asked, *shown, f"file:{path}"), on_line=packet)
    return found + [fault for walk in walks for fault in walk.faults()]


def _differences(stream: dict[str, Any], wanted: dict[str, Any], what: str) -> list[str]:
    return [
        f"the {what}'s {name} is {stream.get(name, 'not told')}, not {value}"
        for name, value in wanted.items()
        if stream.get(name) != value
    ]


class _Walk:
    """Goes along the packets of one stream; remembers the first that is not as it should be."""

    def __init__(
        self,
        what: str,
        stream: dict[str, Any],
        step: Fraction,
        wanted: int,
        *,
        first: Fraction,
        gop: int,
    ) -> None:
        self._what = what
        self._tick = Fraction(stream["time_base"])
        self._step = step
        self._wanted = wanted
        self._first = first
        self._gop = gop
        self._packets = 0
        self._odd = ""

    def packet(self, pts: str, duration: str, flags: str) -> None:
        # Not summed up: whatever the time base rounds does not grow.
        due = self._first + self._packets * self._step
        if not self._odd:
            if pts == "N/A" or round(due / self._tick) != int(pts):
                self._odd = f"comes at {pts}, not {round(due / self._tick)}"
            elif duration == "N/A" or round(self._step / self._tick) != int(duration):
                self._odd = f"lasts {duration}, not {round(self._step / self._tick)}"
            elif ("K" in flags) != (self._packets % self._gop == 0):
                self._odd = "is a keyframe or is none where it should not"
            elif "D" in flags and int(pts) >= 0:
                # The priming comes before 0, and is meant to be.
                self._odd = "lies outside of the file's edit list"
            if self._odd:
                self._odd = f"packet {self._packets} of the {self._what} {self._odd}"
        self._packets += 1

    def faults(self) -> list[str]:
        counted = (
            []
            if self._packets == self._wanted
            else [f"the {self._what} has {self._packets} packets, not {self._wanted}"]
        )
        return counted + [self._odd] * bool(self._odd)
