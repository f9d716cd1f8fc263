"""Slates for channels without a playable item, and for live feeds; one per house format."""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Final

from django.conf import settings

from media_library.conform import commands, conform, verify
from media_library.house_format import HouseFormat

#: Seconds. Short, so that a playable item does not have to wait.
DURATION_S: Final = Fraction(4)
#: Slates that this process has tested, each with its modification time: twenty channels in one
#: house format share one slate.
_TESTED: Final[set[tuple[Path, int]]] = set()
#: Pictures instead of text: no fonts are needed at run time.
PICTURES: Final = Path(__file__).with_name("assets")


class Slate(StrEnum):
    #: "We'll be right back"
    PAUSE = "slate"
    #: "Going live soon"
    SOON = "soon"
    #: "Technical difficulties"
    TROUBLE = "trouble"


def slate(house_format: HouseFormat, which: Slate = Slate.PAUSE) -> tuple[Path, int]:
    """Returns a slate's file and its frames; the first call makes it in a second or two.

    Concurrent calls are safe: each makes its own draft, and the last one wins. Raises
    `PrepareError`.
    """
    path, frames = _path_and_frames(house_format, which)
    if not path.exists():
        _make(house_format, frames, path, which)
    return path, frames


def made(house_format: HouseFormat, which: Slate = Slate.PAUSE) -> tuple[Path, int] | None:
    """Returns the same as `slate`, if the file exists."""
    path, frames = _path_and_frames(house_format, which)
    return (path, frames) if path.exists() else None


def tested(house_format: HouseFormat) -> bool:
    """Returns whether the slate exists and is valid; a broken one is removed.

    Takes 0.2 s. Raises `ToolError` if ffprobe can't be run.
    """
    path, frames = _path_and_frames(house_format, Slate.PAUSE)
    try:
        version = path, path.stat().st_mtime_ns
    except FileNotFoundError:
        return False
    if version not in _TESTED:
        if verify.faults(
            path, house_format, frames, ffprobe=settings.FFPROBE_PATH, urgent=True
        ):
            path.unlink(missing_ok=True)
            return False
        _TESTED.add(version)
    return True


def _path_and_frames(house_format: HouseFormat, which: Slate) -> tuple[Path, int]:
    name = (
        house_format.signature if which is Slate.PAUSE else f"{house_format.signature}-{which}"
    )
    return settings.DATA_DIR / "slates" / f"{name}.mp4", house_format.frames_on_grid(DURATION_S)


def _make(house_format: HouseFormat, frames: int, path: Path, which: Slate) -> None:
    # A channel's start waits for it, and other encodings may take hours.
    tools = conform.Tools(settings.FFMPEG_PATH, settings.FFPROBE_PATH, urgent=True)
    made = command(tools.ffmpeg, house_format, frames, which)
    conform.write(made, house_format, frames, path, tools=tools)


def command(
    program: str, house_format: HouseFormat, frames: int, which: Slate = Slate.PAUSE
) -> tuple[str, ...]:
    """Returns the command line that makes it, up to the name of its output."""
    video_filters, audio_filters = (
        commands.video(house_format, frames),
        commands.audio(house_format, frames),
    )
    return (
        *commands.head(program),
        # One frame: the filters repeat it, and scale it once.
        *("-framerate", str(house_format.fps), "-i", f"file:{PICTURES / which}.png"),
        *commands.silent_input(),
        *("-filter_complex", f"[0:v:0]{video_filters}[v];[1:a:0]{audio_filters}[a]"),
        *("-map", "[v]", "-map", "[a]"),
        *commands.encoder(house_format),
    )
