"""Conforming: an item becomes a copy in a house format that joins others without a seam.

The command lines are values; `conform` measures the sound, encodes, checks what came out, and
only then lets it take its place. Imports no Django.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from math import ceil
from pathlib import Path
from tempfile import mkstemp
from typing import Final

from media_library import ffmpeg, loudness, verify
from media_library.ffmpeg import Bounds, Source
from media_library.house import CHANNELS, SAMPLE_RATE, House, Logo
from media_library.location import LocalFile
from media_library.loudness import Correction, Loudness
from media_library.probe import Probe

#: Seconds by which containers round the length of a file up; it must not cost a span of grid.
ROUNDING: Final = Fraction(1, 1000)
#: Seconds and share of its length that an item may end early before it counts as cut off.
CUT_SECONDS: Final = Fraction(2)
CUT_SHARE: Final = Fraction(1, 50)
#: Seconds of encoding for a second of film: 40 is a 4K source on a busy small machine.
SLOWEST: Final = 40
#: Seconds without progress after which FFmpeg is stuck.
SILENCE: Final = 120.0
#: Bytes of addresses, of which a 4K source and the encoder use some 3 GB.
MEMORY: Final = 12 << 30
#: Transfer curves of HDR pictures, which have to be brought into the range of others.
HDR: Final = {"smpte2084", "arib-std-b67"}


class Stage(StrEnum):
    """What is being done to a copy; the values are kept in its row."""

    FETCHING = "fetching"
    MEASURING = "measuring"
    ENCODING = "encoding"
    VERIFYING = "verifying"
    STORING = "storing"


#: Hears the stage and how much of it is done in percent, at least every half second.
Progress = Callable[[Stage, int], None]


def _unheard(_stage: Stage, _percent: int) -> None:
    """Nobody wants to know."""


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


class CutOffError(EncodingFailedError):
    """The item ends long before it says it does."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Paths of the programs."""

    ffmpeg: str = "ffmpeg"
    ffprobe: str = "ffprobe"


@dataclass(frozen=True, slots=True)
class Copy:
    """A finished copy: its video frames, and its loudness in LUFS, None for silence."""

    frames: int
    loudness: float | None


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
    logo: Path | None = None,
    progress: Progress = _unheard,
) -> Copy:
    """Write the item's copy to `target`, verified.

    `logo` is the house's picture, on this machine. What `progress` raises stops the work.
    Raises `PrepareError`.
    """
    frames = frames_of(probe, house)
    tell = _Teller(progress)
    with ffmpeg.opened(item) as source, _told():
        correction = _correction(source, probe, house, frames, tools, tell)
        command = conforming(
            tools.ffmpeg,
            source,
            house,
            frames,
            sound=correction if probe.audio_codec else None,
            logo=logo,
            hdr=probe.colour if tone_maps(tools.ffmpeg) else "",
        )
    with written(house, frames, target, tools=tools, tell=tell) as encode:
        draft = LocalFile(encode(command))
        for trials_left in reversed(range(loudness.TRIALS)):
            with ffmpeg.opened(draft) as finished:
                heard = _measured(finished, house, frames, tools, tell)
                better = loudness.better(correction, heard)
                if better is None or not trials_left:
                    break
                correction = better
                with ffmpeg.opened(item) as source:
                    encode(resounding(tools.ffmpeg, finished, source, house, frames, better))
    return Copy(frames, heard.lufs)


def conforming(
    program: str,
    source: Source,
    house: House,
    frames: int,
    *,
    sound: Correction | None,
    logo: Path | None = None,
    hdr: str = "",
) -> tuple[str, ...]:
    """The command line that conforms one item, up to the name of its output.

    `sound` is None where it has none, `hdr` the transfer curve of a picture to be tone-mapped.
    """
    inputs = [(*ffmpeg.DECODE, *source.args)]
    heard = "0:a:0"
    if sound is None:
        heard = "1:a:0"
        inputs.append(silent_input())
    chain = f"[0:v:0]{fitted(house, hdr)}"
    if house.logo is not None and logo is not None:
        chain += f"[fit];[{len(inputs)}:v:0]{_burnt(house, house.logo)}"
        inputs.append(logo_input(logo))
    return (
        *head(program),
        *(option for one in inputs for option in one),
        "-filter_complex",
        f"{chain},{held(house, frames)}[v];[{heard}]{audio(house, frames, sound)}[a]",
        *("-map", "[v]", "-map", "[a]"),
        *encoder(house),
    )


def resounding(
    program: str,
    draft: Source,
    source: Source,
    house: House,
    frames: int,
    correction: Correction,
) -> tuple[str, ...]:
    """The command line that gives a draft the item's sound once more, corrected otherwise."""
    return (
        *head(program),
        *draft.args,
        *(*ffmpeg.DECODE, *source.args),
        *("-filter_complex", f"[1:a:0]{audio(house, frames, correction)}[a]"),
        *("-map", "0:v:0", "-map", "[a]", "-c:v", "copy"),
        *sound_encoder(house),
        *container(),
    )


def head(program: str) -> tuple[str, ...]:
    return (
        *(program, "-hide_banner", "-nostdin", "-nostats", "-loglevel", "error", "-y"),
        # stdout carries the progress; a word every half second.
        *("-progress", "pipe:1", "-stats_period", "0.5"),
    )


def silent_input() -> tuple[str, ...]:
    return ("-f", "lavfi", "-i", f"anullsrc=r={SAMPLE_RATE}:cl=stereo")


def logo_input(logo: Path) -> tuple[str, ...]:
    """A PNG and nothing else, whatever is in the file."""
    only = ("-protocol_whitelist", "file", "-format_whitelist", "png_pipe", "-f", "png_pipe")
    return (*only, *ffmpeg.DECODE, "-i", f"file:{logo}")


def picture(house: House, frames: int) -> str:
    """Filters that make any picture the house's, exactly so many frames of it."""
    return f"{fitted(house)},{held(house, frames)}"


def within(width: int, height: int) -> str:
    """Options of `scale` that fit a picture into a box, its shape kept, its sides even."""
    wide = rf"trunc(min({width}\,{height}*dar)/2)*2"
    high = rf"trunc(min({height}\,{width}/dar)/2)*2"
    return f"w={wide}:h={high}:flags=bicubic"


def fitted(house: House, hdr: str = "") -> str:
    """Filters that fit any picture into the house's size and colours."""
    size = within(house.width, house.height)
    if hdr in HDR:
        shrunk = (f"scale={size}", *_tone_map(hdr))
    else:
        shrunk = (f"scale={size}:out_color_matrix=bt709:out_range=tv",)
    return ",".join(
        (
            "yadif=deint=interlaced",
            *shrunk,
            f"pad={house.width}:{house.height}:-1:-1,setsar=1,format=yuv420p",
        )
    )


def _tone_map(curve: str) -> tuple[str, ...]:
    """HDR's range, 1000 cd/m2 and more, into that of everybody's screen."""
    return (
        f"zscale=tin={curve}:pin=2020:min=2020_ncl:t=linear:npl=100,format=gbrpf32le",
        "zscale=p=709,tonemap=tonemap=hable:desat=0,zscale=t=709:m=709:r=tv,format=yuv420p",
    )


@lru_cache
def tone_maps(program: str) -> bool:
    """Whether this FFmpeg was built with zscale, as Debian's is."""
    try:
        said = ffmpeg.run((program, "-hide_banner", "-filters"), bounds=Bounds(seconds=20))
    except ffmpeg.ToolError:
        return False
    return " zscale " in said and " tonemap " in said


def held(house: House, frames: int) -> str:
    """Filters that give a fitted picture the house's rate, and exactly so many frames."""
    return ",".join(
        (
            # One colour description for all items: a change of it is a change of the sequence.
            "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709",
            # From 0, so that a picture that begins late stays in step with its sound.
            f"fps={house.fps}:start_time=0",
            # The last frame is held: the cut at the grid comes from `trim`. Not from -frames:v,
            # which ends the sound together with the picture, before its last packets.
            f"tpad=stop=-1:stop_mode=clone,trim=end_frame={frames},setpts=PTS-STARTPTS",
        )
    )


#: Share of the picture's height between a logo and the edges.
_MARGIN: Final = 0.04


def _burnt(house: House, logo: Logo) -> str:
    """Filters that lay the logo over the fitted picture."""
    wide = max(2, house.width * logo.width // 100)
    edge = round(house.height * _MARGIN)
    x = f"{edge}" if logo.corner.endswith("l") else f"W-w-{edge}"
    y = f"{edge}" if logo.corner.startswith("t") else f"H-h-{edge}"
    # Not higher than the picture, however tall it is drawn.
    size = f"w={wide}:h={house.height}:force_original_aspect_ratio=decrease"
    return f"format=rgba,scale={size}[logo];[fit][logo]overlay=x={x}:y={y}"


def audio(house: House, frames: int, correction: Correction | None = None) -> str:
    """Filters that make any sound the house's, exactly as long as so many frames."""
    return ",".join(
        (
            f"aresample={SAMPLE_RATE}:async=1:first_pts=0",
            # Stereo first: the loudness is that of the mix.
            "aformat=channel_layouts=stereo",
            *(correction.filters if correction else ()),
            f"aformat=sample_fmts=fltp:sample_rates={SAMPLE_RATE}:channel_layouts=stereo",
            f"apad,atrim=end_sample={house.samples(frames)},asetpts=PTS-STARTPTS",
        )
    )


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
        *sound_encoder(house),
        *container(),
    )


def sound_encoder(house: House) -> tuple[str, ...]:
    return (
        *("-c:a", "aac", "-profile:a", "aac_low", "-b:a", f"{house.audio_bitrate // 1000}k"),
        *("-ar", str(SAMPLE_RATE), "-ac", str(CHANNELS)),
    )


def container() -> tuple[str, ...]:
    return (
        *("-map_metadata", "-1", "-map_chapters", "-1"),
        # Times in samples, which every frame of the grid is a whole number of; in thousandths,
        # the default, the last packet looks shorter than it is.
        *("-movflags", "+faststart", "-movie_timescale", str(SAMPLE_RATE), "-f", "mp4"),
    )


# ---- the work --------------------------------------------------------------------------------


class _Teller:
    """Tells the progress: each new percentage, and the last one again while nothing is new."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._at = (Stage.MEASURING, 0)

    def __call__(self, stage: Stage, share: float) -> None:
        self._at = (stage, min(99, max(0, int(share * 100))))
        self._progress(*self._at)

    def watch(self) -> None:
        self._progress(*self._at)


def _correction(
    source: Source, probe: Probe, house: House, frames: int, tools: Tools, tell: _Teller
) -> Correction:
    """What brings the item's sound to the target, tried out where a limiter is in it.

    Reads the item to its end on the way. Raises `CutOffError`, `ToolError`.
    """
    sound = bool(probe.audio_codec)
    measured, end = _read_through(source, house, frames, tools, tell, sound=sound)
    told = probe.seconds or Fraction(0)
    if end < told - max(CUT_SECONDS, told * CUT_SHARE):
        raise CutOffError(
            f"It ends after {float(end):.0f} s, but says it lasts {float(told):.0f}: it was "
            "cut off on its way. Upload it again."
        )
    correction = loudness.first(measured)
    trials = 0
    while correction.limited and trials < loudness.TRIALS:
        trials += 1
        tried = _measured(source, house, frames, tools, tell, correction)
        if (next_one := loudness.better(correction, tried)) is None:
            break
        correction = next_one
    return correction


def _read_through(
    source: Source, house: House, frames: int, tools: Tools, tell: _Teller, *, sound: bool
) -> tuple[Loudness, Fraction]:
    """The item's loudness, and where its last packet ends, in seconds."""
    meter, end = loudness.Meter(), Fraction(0)
    whole = float(house.seconds(frames))

    def line(said: str) -> None:
        nonlocal end
        meter(said)
        name, _, value = said.partition("=")
        if name == "out_time_us" and value.isdigit():
            end = max(end, Fraction(int(value), 1_000_000))
            tell(Stage.MEASURING, float(end) / whole)

    # Not filled up to the grid here, for it is to be seen where the sound ends; but loudness is
    # told of 0.4 s and more only.
    usual = f"aresample={SAMPLE_RATE}:async=1:first_pts=0,aformat=channel_layouts=stereo"
    filters = f"{usual},apad=whole_dur=0.6,{loudness.METER}"
    heard = ("-map", "0:a:0", "-af", filters, "-f", "null", "-") if sound else ()
    seen = ("-map", "0:v:0", "-c:v", "copy", "-f", "null", "-")
    command = (*head(tools.ffmpeg), *ffmpeg.DECODE, *source.args, *heard, *seen)
    _run(command, source, house, frames, line, tell)
    return meter.loudness, end


def _measured(
    source: Source,
    house: House,
    frames: int,
    tools: Tools,
    tell: _Teller,
    correction: Correction | None = None,
) -> Loudness:
    """The loudness of a sound as the house would have it, corrected so. Raises `ToolError`."""
    meter = loudness.Meter()
    whole = float(house.seconds(frames))
    stage = Stage.MEASURING if correction else Stage.VERIFYING

    def line(said: str) -> None:
        meter(said)
        tell(stage, meter.at / whole)

    filters = f"{audio(house, frames, correction)},{loudness.METER}"
    heard = ("-map", "0:a:0", "-af", filters, "-f", "null", "-")
    command = (*head(tools.ffmpeg), *source.args, *heard)
    _run(command, source, house, frames, line, tell)
    return meter.loudness


def _run(
    command: tuple[str, ...],
    source: Source,
    house: House,
    frames: int,
    line: Callable[[str], None],
    tell: _Teller,
) -> None:
    bounds = Bounds(
        seconds=max(600.0, float(house.seconds(frames))),
        silent_seconds=SILENCE,
        memory_bytes=MEMORY,
    )
    ffmpeg.run(
        command, bounds=bounds, descriptors=source.descriptors, on_line=line, watch=tell.watch
    )


def write(
    command: tuple[str, ...], house: House, frames: int, target: Path, *, tools: Tools
) -> None:
    """Encode into a draft, verify it, and put it in its place. Raises `PrepareError`."""
    with written(house, frames, target, tools=tools, tell=_Teller(_unheard)) as encode:
        encode(command)


@contextmanager
def written(
    house: House, frames: int, target: Path, *, tools: Tools, tell: _Teller
) -> Iterator[Callable[[tuple[str, ...]], Path]]:
    """Hands out what encodes into a draft and verifies it.

    Where the block ends well, the draft takes its place. Raises `PrepareError`.
    """
    seconds = house.seconds(frames)
    bounds = Bounds(
        seconds=max(600.0, float(seconds) * SLOWEST),
        silent_seconds=SILENCE,
        # Twice the rate, and 64 MB for the shortest: more means that FFmpeg ran wild.
        file_bytes=(64 << 20) + 2 * ceil(seconds * house.bytes_per_second),
        memory_bytes=MEMORY,
    )

    stage = Stage.ENCODING

    def line(said: str) -> None:
        name, _, value = said.partition("=")
        # N/A until the first packet is written.
        if name == "out_time_us" and value.isdigit():
            tell(stage, int(value) / 1_000_000 / float(seconds))

    def encode(command: tuple[str, ...]) -> Path:
        nonlocal stage
        ffmpeg.run((*command, f"file:{fresh}"), bounds=bounds, on_line=line, watch=tell.watch)
        # What is encoded after this is the sound once more, and takes seconds.
        stage = Stage.VERIFYING
        tell(stage, 0)
        found = verify.faults(fresh, house, frames, ffprobe=tools.ffprobe, watch=tell.watch)
        fresh.replace(draft)
        if found:
            raise NotAsOrderedError(
                f"The copy came out wrong ({'; '.join(found[:3])}): this FFmpeg can't make "
                "prepared copies. Debian's 5.1 and later can."
            )
        return draft

    with _told():
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = mkstemp(dir=target.parent, prefix=".", suffix=".mp4")
        os.close(handle)
        draft = Path(name)
        # What is encoded may read the draft before it.
        fresh = draft.with_suffix(".fresh.mp4")
        try:
            yield encode
            draft.chmod(0o644)
            draft.replace(target)
        finally:
            fresh.unlink(missing_ok=True)
            draft.unlink(missing_ok=True)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what FFmpeg and the system say into this module's errors."""
    try:
        yield
    except ffmpeg.ToolFailedError as error:
        if "No space left" in str(error):
            raise TriedInVainError("The disk is full: make room, it is tried again.") from None
        raise EncodingFailedError(f"FFmpeg could not convert it: {error}") from None
    except ffmpeg.ToolError as error:
        raise TriedInVainError(str(error)) from None
    except OSError as error:
        raise TriedInVainError(f"The copy can't be written: {error.strerror}.") from None
