"""How a copy is made: FFmpeg's command lines and filters, as values.

Each item of a house is encoded by these and nothing else. Imports no Django.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Final

from media_library.conform.loudness import Correction
from media_library.ffmpeg import runner
from media_library.ffmpeg.runner import Bounds, Source
from media_library.house_format import CHANNELS, SAMPLE_RATE, HouseFormat, Logo

#: Transfer curves of HDR pictures, which have to be brought into the range of others.
HDR: Final = {"smpte2084", "arib-std-b67"}


def conforming(
    program: str,
    source: Source,
    house: HouseFormat,
    frames: int,
    *,
    sound: Correction | None,
    logo: Path | None = None,
    hdr: str = "",
) -> tuple[str, ...]:
    """The command line that conforms one item, up to the name of its output.

    `sound` is None where it has none, `hdr` the transfer curve of a picture to be tone-mapped.
    """
    inputs = [(*runner.DECODE, *source.args)]
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
    house: HouseFormat,
    frames: int,
    correction: Correction,
) -> tuple[str, ...]:
    """The command line that gives a draft the item's sound once more, corrected otherwise."""
    return (
        *head(program),
        *draft.args,
        *(*runner.DECODE, *source.args),
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
    return (*only, *runner.DECODE, "-i", f"file:{logo}")


def picture(house: HouseFormat, frames: int) -> str:
    """Filters that make any picture the house's, exactly so many frames of it."""
    return f"{fitted(house)},{held(house, frames)}"


def within(width: int, height: int) -> str:
    """Options of `scale` that fit a picture into a box, its shape kept, its sides even."""
    wide = rf"trunc(min({width}\,{height}*dar)/2)*2"
    high = rf"trunc(min({height}\,{width}/dar)/2)*2"
    return f"w={wide}:h={high}:flags=bicubic"


def fitted(house: HouseFormat, hdr: str = "") -> str:
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
        said = runner.run((program, "-hide_banner", "-filters"), bounds=Bounds(seconds=20))
    except runner.ToolError:
        return False
    return " zscale " in said and " tonemap " in said


def held(house: HouseFormat, frames: int) -> str:
    """Filters that give a fitted picture the house's rate, and exactly so many frames."""
    return ",".join(
        (
            # One colour description for all items: a change of it is a change of the sequence.
            "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709",
            # From 0, so that a picture that begins late stays in step with its sound. No setpts
            # after it: from FFmpeg 6.1 on that takes each frame's length away, and the file
            # ends before its last frame.
            f"fps={house.fps}:start_time=0",
            # The last frame is held: the cut at the grid comes from `trim`. Not from -frames:v,
            # which ends the sound together with the picture, before its last packets.
            f"tpad=stop=-1:stop_mode=clone,trim=end_frame={frames}",
        )
    )


#: Share of the picture's height between a logo and the edges.
_MARGIN: Final = 0.04


def _burnt(house: HouseFormat, logo: Logo) -> str:
    """Filters that lay the logo over the fitted picture."""
    wide = max(2, house.width * logo.width // 100)
    edge = round(house.height * _MARGIN)
    x = f"{edge}" if logo.corner.endswith("l") else f"W-w-{edge}"
    y = f"{edge}" if logo.corner.startswith("t") else f"H-h-{edge}"
    # Not higher than the picture, however tall it is drawn.
    size = f"w={wide}:h={house.height}:force_original_aspect_ratio=decrease"
    return f"format=rgba,scale={size}[logo];[fit][logo]overlay=x={x}:y={y}"


def audio(house: HouseFormat, frames: int, correction: Correction | None = None) -> str:
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


def encoder(house: HouseFormat) -> tuple[str, ...]:
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


def sound_encoder(house: HouseFormat) -> tuple[str, ...]:
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
