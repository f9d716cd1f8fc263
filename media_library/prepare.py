"""Conforming: an item becomes a copy in a house format that joins others without a seam.

The command lines are values; `conform` runs one, checks what came out, and only then lets it
take its place. Imports no Django.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path
from tempfile import mkstemp
from typing import Final

from media_library import ffmpeg
from media_library.ffmpeg import Bounds, Source
from media_library.house import AAC_FRAME, CHANNELS, SAMPLE_RATE, House
from media_library.location import LocalFile
from media_library.probe import Probe

#: EBU R128 as the platforms play it back: -14 LUFS, 1 dB under full scale, range 11 LU.
LOUDNESS: Final = "loudnorm=I=-14:TP=-1:LRA=11"
#: Seconds by which containers round the length of a file up; it must not cost a span of grid.
ROUNDING: Final = Fraction(1, 1000)
#: Seconds of encoding for a second of film: 40 is a 4K source on a busy small machine.
SLOWEST: Final = 40
#: Seconds without progress after which FFmpeg is stuck.
SILENCE: Final = 120.0


class PrepareError(Exception):
    """The copy was not made. `str()` of it is a sentence for the operator."""

    #: True where trying again can't help.
    permanent = True


class EncodingFailedError(PrepareError):
    """FFmpeg could not read the item or write the copy."""


class TriedInVainError(PrepareError):
    """Something passing: no room on the disk, FFmpeg missing or too slow."""

    permanent = False


class NotAsOrderedError(PrepareError):
    """What FFmpeg wrote is not what was ordered; it was thrown away."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Paths of the programs."""

    ffmpeg: str = "ffmpeg"
    ffprobe: str = "ffprobe"


def frames_of(probe: Probe, house: House) -> int:
    """Frames the copy is to have. Raises `EncodingFailedError` for an unknown length."""
    if probe.seconds is None:
        raise EncodingFailedError("It does not say how long it is: convert it to MP4 first.")
    return house.frames_on_grid(max(Fraction(0), probe.seconds - ROUNDING))


def conform(
    item: LocalFile,
    probe: Probe,
    house: House,
    target: Path,
    *,
    tools: Tools,
    progress: Callable[[int], None] = lambda _percent: None,
) -> int:
    """Write the item's copy to `target`, verified, and return its frames.

    `progress` hears the percentage done; what it raises stops the work. Raises `PrepareError`.
    """
    frames = frames_of(probe, house)
    with ffmpeg.opened(item) as source:
        write(
            conforming(tools.ffmpeg, source, house, frames, has_audio=bool(probe.audio_codec)),
            house,
            frames,
            target,
            tools=tools,
            descriptors=source.descriptors,
            progress=progress,
        )
    return frames


def conforming(
    program: str, source: Source, house: House, frames: int, *, has_audio: bool
) -> tuple[str, ...]:
    """The command line that conforms one item in one pass, up to the name of its output."""
    heard = "0:a:0" if has_audio else "1:a:0"
    sight, sound = picture(house, frames), audio(house, frames, loud=has_audio)
    silence = () if has_audio else silent_input()
    return (
        *head(program),
        *source.args,
        *silence,
        *("-filter_complex", f"[0:v:0]{sight}[v];[{heard}]{sound}[a]"),
        *("-map", "[v]", "-map", "[a]"),
        *encoder(house),
    )


def head(program: str) -> tuple[str, ...]:
    return (
        *(program, "-hide_banner", "-nostdin", "-nostats", "-loglevel", "error", "-y"),
        # stdout carries the progress; a word at least every second.
        *("-progress", "pipe:1", "-stats_period", "1"),
    )


def silent_input() -> tuple[str, ...]:
    return ("-f", "lavfi", "-i", f"anullsrc=r={SAMPLE_RATE}:cl=stereo")


def picture(house: House, frames: int) -> str:
    """Filters that make any picture the house's, exactly so many frames of it."""
    wide = rf"trunc(min({house.width}\,{house.height}*dar)/2)*2"
    high = rf"trunc(min({house.height}\,{house.width}/dar)/2)*2"
    return ",".join(
        (
            "yadif=deint=interlaced",
            f"scale=w={wide}:h={high}:flags=bicubic:out_color_matrix=bt709:out_range=tv",
            f"pad={house.width}:{house.height}:-1:-1,setsar=1,format=yuv420p",
            # One colour description for all items: a change of it is a change of the sequence.
            "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709",
            # From 0, so that a picture that begins late stays in step with its sound.
            f"fps={house.fps}:start_time=0",
            # The last frame is held: the cut at the grid comes from `trim`. Not from -frames:v,
            # which ends the sound together with the picture, before its last packets.
            f"tpad=stop=-1:stop_mode=clone,trim=end_frame={frames},setpts=PTS-STARTPTS",
        )
    )


def audio(house: House, frames: int, *, loud: bool) -> str:
    """Filters that make any sound the house's, exactly as long as so many frames."""
    filters = [f"aresample={SAMPLE_RATE}:async=1:first_pts=0"]
    if loud:
        # It works at 192 kHz inside and says so at its end.
        filters += [LOUDNESS, f"aresample={SAMPLE_RATE}"]
    filters += [
        f"aformat=sample_fmts=fltp:sample_rates={SAMPLE_RATE}:channel_layouts=stereo",
        f"apad,atrim=end_sample={house.samples(frames)},asetpts=PTS-STARTPTS",
    ]
    return ",".join(filters)


def encoder(house: House) -> tuple[str, ...]:
    """The house format. Every item of a house is encoded by this and nothing else.

    The bit rate is constant, with filler where the picture needs less: a still picture would
    otherwise put minutes of programme into the feed's pipe, and a cut would come minutes late.
    """
    kbit = house.video_bitrate // 1000
    return (
        *("-c:v", "libx264", "-preset", "veryfast", "-profile:v", "high"),
        *("-b:v", f"{kbit}k", "-minrate", f"{kbit}k", "-maxrate", f"{kbit}k"),
        # One second of buffer: what the platforms ask for.
        *("-bufsize", f"{kbit}k", "-x264-params", "nal-hrd=cbr:force-cfr=1"),
        *("-g", str(house.gop), "-keyint_min", str(house.gop), "-sc_threshold", "0"),
        # No B-frames: with them a cut leaves a hole of their depth in the sound.
        *("-flags", "+cgop", "-bf", "0", "-pix_fmt", "yuv420p"),
        *("-c:a", "aac", "-profile:a", "aac_low", "-b:a", f"{house.audio_bitrate // 1000}k"),
        *("-ar", str(SAMPLE_RATE), "-ac", str(CHANNELS)),
        *("-map_metadata", "-1", "-map_chapters", "-1"),
        # Times in samples, which every frame of the grid is a whole number of; in thousandths,
        # the default, the last packet looks shorter than it is.
        *("-movflags", "+faststart", "-movie_timescale", str(SAMPLE_RATE), "-f", "mp4"),
    )


def write(
    command: tuple[str, ...],
    house: House,
    frames: int,
    target: Path,
    *,
    tools: Tools,
    descriptors: tuple[int, ...] = (),
    progress: Callable[[int], None] = lambda _percent: None,
) -> None:
    """Encode into a draft, verify it, and put it in its place. Raises `PrepareError`."""
    seconds = house.seconds(frames)
    bounds = Bounds(
        seconds=max(600.0, float(seconds) * SLOWEST),
        silent_seconds=SILENCE,
        # Twice the rate, and 64 MB for the shortest: more means that FFmpeg ran wild.
        file_bytes=(64 << 20) + 2 * ceil(seconds * house.bytes_per_second),
    )
    heard = _Percent(seconds, progress)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = mkstemp(dir=target.parent, prefix=".", suffix=".mp4")
    os.close(handle)
    draft = Path(name)
    try:
        ffmpeg.run(
            (*command, f"file:{draft}"), bounds=bounds, descriptors=descriptors, on_line=heard
        )
        verify(draft, house, frames, tools=tools)
        draft.chmod(0o644)
        draft.replace(target)
    except ffmpeg.ToolFailedError as error:
        if "No space left" in str(error):
            raise TriedInVainError("The disk is full: make room, it is tried again.") from None
        raise EncodingFailedError(f"FFmpeg could not convert it: {error}") from None
    except ffmpeg.ToolError as error:
        raise TriedInVainError(str(error)) from None
    except OSError as error:
        raise TriedInVainError(f"The copy can't be written: {error.strerror}.") from None
    finally:
        draft.unlink(missing_ok=True)


class _Percent:
    """Reads FFmpeg's progress lines and tells each new percentage once."""

    def __init__(self, seconds: Fraction, tell: Callable[[int], None]) -> None:
        self._whole = float(seconds) * 1_000_000
        self._tell = tell

    def __call__(self, line: str) -> None:
        name, _, value = line.partition("=")
        # N/A until the first packet is written.
        if name == "out_time_us" and value.lstrip("-").isdigit():
            self._tell(min(99, max(0, int(int(value) * 100 / self._whole))))


def verify(path: Path, house: House, frames: int, *, tools: Tools) -> None:
    """See that a copy is exactly what a seam needs. Raises `NotAsOrderedError`, `ToolError`.

    The picture begins at 0 with a keyframe and has so many frames; the sound has one AAC packet
    for each 1024 samples of that length, and one more in front, the encoder's priming, which
    the player drops.
    """
    found = _counted(path, tools.ffprobe, float(house.seconds(frames)))
    wanted = {
        "video": (frames, 0, f"{house.width}x{house.height}"),
        "audio": (house.samples(frames) // AAC_FRAME + 1, -AAC_FRAME, str(SAMPLE_RATE)),
    }
    if found != wanted:
        raise NotAsOrderedError(
            f"The copy came out wrong (wanted {wanted}, got {found}): this FFmpeg can't make "
            "prepared copies. Debian's 5.1 and later can."
        )


def _counted(path: Path, ffprobe: str, seconds: float) -> dict[str, tuple[int, int, str]]:
    """For each stream: packets, first timestamp in samples, and size or sample rate."""
    asked = (ffprobe, "-v", "error", "-of", "json", "-i", f"file:{path}")
    shown = "stream=codec_type,nb_read_packets,time_base,width,height,sample_rate"
    every = (*asked, "-count_packets", "-show_entries", shown)
    # The stream's own start leaves the priming out; its first packet does not.
    first = (*asked, "-read_intervals", "%+#20", "-show_entries", "packet=codec_type,pts")
    bounds = Bounds(seconds=60 + seconds)
    streams = json.loads(ffmpeg.run(every, bounds=bounds))["streams"]
    packets = json.loads(ffmpeg.run(first, bounds=bounds))["packets"]
    found = {}
    for stream in streams:
        kind = stream["codec_type"]
        begin = min((int(p["pts"]) for p in packets if p["codec_type"] == kind), default=0)
        size = stream.get("sample_rate") or f"{stream['width']}x{stream['height']}"
        samples = begin * Fraction(stream["time_base"]) * SAMPLE_RATE
        found[kind] = (int(stream["nb_read_packets"]), round(samples), size)
    return found
