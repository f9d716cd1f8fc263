"""FFmpeg's command lines and filters for prepared copies, as values.

All items in a house format are encoded by these commands. Imports no Django.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Final

from media_library.conform.loudness import Correction
from media_library.ffmpeg import runner
from media_library.ffmpeg.runner import Bounds, Source
from media_library.house_format import CHANNELS, SAMPLE_RATE, HouseFormat, Logo

#: Transfer curves of HDR video, which has to be tone-mapped to SDR.
HDR: Final = {"smpte2084", "arib-std-b67"}


def conforming(
    program: str,
    source: Source,
    house_format: HouseFormat,
    frames: int,
    *,
    correction: Correction | None,
    logo: Path | None = None,
    hdr: str = "",
) -> tuple[str, ...]:
    """Returns the command line that conforms one item, up to the name of its output.

    `correction` is None if the item has no audio; `hdr` is the transfer curve of an HDR video.
    """
    inputs = [(*runner.DECODE, *source.args)]
    audio_input = "0:a:0"
    if correction is None:
        audio_input = "1:a:0"
        inputs.append(silent_input())
    chain = f"[0:v:0]{fitted(house_format, hdr)}"
    if house_format.logo is not None and logo is not None:
        chain += f"[fit];[{len(inputs)}:v:0]{_burnt(house_format, house_format.logo)}"
        inputs.append(logo_input(logo))
    return (
        *head(program),
        *(option for part in inputs for option in part),
        "-filter_complex",
        (
            f"{chain},{held(house_format, frames)}[v];"
            f"[{audio_input}]{audio(house_format, frames, correction)}[a]"
        ),
        *("-map", "[v]", "-map", "[a]"),
        *encoder(house_format),
    )


def replacing_audio(
    program: str,
    draft: Source,
    source: Source,
    house_format: HouseFormat,
    frames: int,
    correction: Correction,
) -> tuple[str, ...]:
    """Returns the command line that replaces a draft's audio by the item's, corrected anew."""
    return (
        *head(program),
        *draft.args,
        *(*runner.DECODE, *source.args),
        *("-filter_complex", f"[1:a:0]{audio(house_format, frames, correction)}[a]"),
        *("-map", "0:v:0", "-map", "[a]", "-c:v", "copy"),
        *audio_encoder(house_format),
        *container(),
    )


def head(program: str) -> tuple[str, ...]:
    return (
        *(program, "-hide_banner", "-nostdin", "-nostats", "-loglevel", "error", "-y"),
        # stdout carries the progress, every half second.
        *("-progress", "pipe:1", "-stats_period", "0.5"),
    )


def silent_input() -> tuple[str, ...]:
    return ("-f", "lavfi", "-i", f"anullsrc=r={SAMPLE_RATE}:cl=stereo")


def logo_input(logo: Path) -> tuple[str, ...]:
    """Returns input options that accept only PNG, whatever the file is."""
    only = ("-protocol_whitelist", "file", "-format_whitelist", "png_pipe", "-f", "png_pipe")
    return (*only, *runner.DECODE, "-i", f"file:{logo}")


def video(house_format: HouseFormat, frames: int) -> str:
    """Returns filters that bring any video into the house format, exactly `frames` long."""
    return f"{fitted(house_format)},{held(house_format, frames)}"


def within(width: int, height: int) -> str:
    """Returns options of `scale` that fit a picture into a box; keeps its shape, even sides."""
    wide = rf"trunc(min({width}\,{height}*dar)/2)*2"
    high = rf"trunc(min({height}\,{width}/dar)/2)*2"
    return f"w={wide}:h={high}:flags=bicubic"


def fitted(house_format: HouseFormat, hdr: str = "") -> str:
    """Returns filters that fit any video into the house format's size and colours."""
    size = within(house_format.width, house_format.height)
    if hdr in HDR:
        shrunk = (f"scale={size}", *_tone_map(hdr))
    else:
        shrunk = (f"scale={size}:out_color_matrix=bt709:out_range=tv",)
    return ",".join(
        (
            "yadif=deint=interlaced",
            *shrunk,
            f"pad={house_format.width}:{house_format.height}:-1:-1,setsar=1,format=yuv420p",
        )
    )


def _tone_map(curve: str) -> tuple[str, ...]:
    """Returns filters that map HDR, 1000 cd/m2 and more, to SDR."""
    return (
        f"zscale=tin={curve}:pin=2020:min=2020_ncl:t=linear:npl=100,format=gbrpf32le",
        "zscale=p=709,tonemap=tonemap=hable:desat=0,zscale=t=709:m=709:r=tv,format=yuv420p",
    )


@lru_cache
def tone_maps(program: str) -> bool:
    """Returns whether this FFmpeg has zscale, as Debian's does."""
    try:
        output = runner.run((program, "-hide_banner", "-filters"), bounds=Bounds(seconds=20))
    except runner.ToolError:
        return False
    return " zscale " in output and " tonemap " in output


def held(house_format: HouseFormat, frames: int) -> str:
    """Returns filters that give a fitted video the house format's rate and exactly `frames`."""
    return ",".join(
        (
            # One colour description for all items: a change would start a new sequence.
            "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709",
            # From 0, so that a video that begins late stays in sync with its audio. No setpts
            # after it: since FFmpeg 6.1 that removes each frame's duration, and the file ends
            # before its last frame.
            f"fps={house_format.fps}:start_time=0",
            # The last frame is repeated: `trim` cuts at the grid. -frames:v is not used,
            # because it ends the audio together with the video, before its last packets.
            f"tpad=stop=-1:stop_mode=clone,trim=end_frame={frames}",
        )
    )


#: Share of the picture's height between a logo and the edges.
_MARGIN: Final = 0.04


def _burnt(house_format: HouseFormat, logo: Logo) -> str:
    """Returns filters that overlay the logo on the fitted video."""
    wide = max(2, house_format.width * logo.width // 100)
    edge = round(house_format.height * _MARGIN)
    x = f"{edge}" if logo.corner.endswith("l") else f"W-w-{edge}"
    y = f"{edge}" if logo.corner.startswith("t") else f"H-h-{edge}"
    # Never higher than the picture, whatever the logo's shape.
    size = f"w={wide}:h={house_format.height}:force_original_aspect_ratio=decrease"
    return f"format=rgba,scale={size}[logo];[fit][logo]overlay=x={x}:y={y}"


def audio(house_format: HouseFormat, frames: int, correction: Correction | None = None) -> str:
    """Returns filters that bring any audio into the house format, as long as `frames`."""
    return ",".join(
        (
            f"aresample={SAMPLE_RATE}:async=1:first_pts=0",
            # Stereo first: the loudness is that of the mix.
            "aformat=channel_layouts=stereo",
            *(correction.filters if correction else ()),
            f"aformat=sample_fmts=fltp:sample_rates={SAMPLE_RATE}:channel_layouts=stereo",
            f"apad,atrim=end_sample={house_format.samples(frames)},asetpts=PTS-STARTPTS",
        )
    )


def encoder(house_format: HouseFormat) -> tuple[str, ...]:
    """Returns the encoder options that all items of a house format share.

    The bit rate is constant, with filler if the video needs less: otherwise a still picture
    would put minutes of programme into the feed's pipe, and a cut would come minutes late.
    """
    kbit = house_format.video_bitrate // 1000
    return (
        *("-c:v", "libx264", "-preset", "veryfast", "-profile:v", "high"),
        *("-b:v", f"{kbit}k", "-minrate", f"{kbit}k", "-maxrate", f"{kbit}k"),
        # One second of buffer, as the platforms recommend.
        *("-bufsize", f"{kbit}k", "-x264-params", "nal-hrd=cbr:force-cfr=1"),
        *(
            "-g",
            str(house_format.gop),
            "-keyint_min",
            str(house_format.gop),
            "-sc_threshold",
            "0",
        ),
        # No B-frames: with them, a cut leaves a gap of their depth in the audio.
        *("-flags", "+cgop", "-bf", "0", "-pix_fmt", "yuv420p"),
        *audio_encoder(house_format),
        *container(),
    )


def audio_encoder(house_format: HouseFormat) -> tuple[str, ...]:
    return (
        *(
            "-c:a",
            "aac",
            "-profile:a",
            "aac_low",
            "-b:a",
            f"{house_format.audio_bitrate // 1000}k",
        ),
        *("-ar", str(SAMPLE_RATE), "-ac", str(CHANNELS)),
    )


def container() -> tuple[str, ...]:
    return (
        *("-map_metadata", "-1", "-map_chapters", "-1"),
        # Timestamps in samples, of which every frame of the grid has a whole number; with
        # milliseconds, the default, the last packet looks shorter than it is.
        *("-movflags", "+faststart", "-movie_timescale", str(SAMPLE_RATE), "-f", "mp4"),
    )
