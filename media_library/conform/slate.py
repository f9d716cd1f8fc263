"""Slates: for when nothing else can be played, and for live feeds. Made once per house."""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Final

from django.conf import settings

from media_library.conform import commands, conform, verify
from media_library.house_format import HouseFormat

#: Seconds. Short, so that the item that can be played again need not wait.
LENGTH: Final = Fraction(4)
#: Slates that this process has tested, each with the time of its last change: twenty channels
#: in one house have one slate.
_TESTED: Final[set[tuple[Path, int]]] = set()
#: Pictures, not text: no fonts are needed at run time.
PICTURES: Final = Path(__file__).with_name("assets")


class Slate(StrEnum):
    #: "We'll be right back"
    PAUSE = "slate"
    #: "Going live soon"
    SOON = "soon"
    #: "Technical difficulties"
    TROUBLE = "trouble"


def slate(house: HouseFormat, which: Slate = Slate.PAUSE) -> tuple[Path, int]:
    """A slate's file and its frames; made at the first call, in a second or two.

    Several may call it at once: each makes its own draft, and the last to be done wins.
    Raises `PrepareError`.
    """
    path, frames = _place(house, which)
    if not path.exists():
        _make(house, frames, path, which)
    return path, frames


def made(house: HouseFormat, which: Slate = Slate.PAUSE) -> tuple[Path, int] | None:
    """As `slate`, if it is there."""
    path, frames = _place(house, which)
    return (path, frames) if path.exists() else None


def tested(house: HouseFormat) -> bool:
    """Whether the slate is there, and what it should be: a broken one is removed.

    Takes 0.2 s. Raises `ToolError` where ffprobe can't be asked.
    """
    path, frames = _place(house, Slate.PAUSE)
    try:
        version = path, path.stat().st_mtime_ns
    except FileNotFoundError:
        return False
    if version not in _TESTED:
        if verify.faults(path, house, frames, ffprobe=settings.FFPROBE_PATH, urgent=True):
            path.unlink(missing_ok=True)
            return False
        _TESTED.add(version)
    return True


def _place(house: HouseFormat, which: Slate) -> tuple[Path, int]:
    name = house.signature if which is Slate.PAUSE else f"{house.signature}-{which}"
    return settings.DATA_DIR / "slates" / f"{name}.mp4", house.frames_on_grid(LENGTH)


def _make(house: HouseFormat, frames: int, path: Path, which: Slate) -> None:
    # A channel's start waits for it, and what is encoded meanwhile may take hours.
    tools = conform.Tools(settings.FFMPEG_PATH, settings.FFPROBE_PATH, urgent=True)
    made = command(tools.ffmpeg, house, frames, which)
    conform.write(made, house, frames, path, tools=tools)


def command(
    program: str, house: HouseFormat, frames: int, which: Slate = Slate.PAUSE
) -> tuple[str, ...]:
    """The command line that makes it, up to the name of its output."""
    sight, sound = commands.picture(house, frames), commands.audio(house, frames)
    return (
        *commands.head(program),
        *("-loop", "1", "-framerate", str(house.fps), "-i", f"file:{PICTURES / which}.png"),
        *commands.silent_input(),
        *("-filter_complex", f"[0:v:0]{sight}[v];[1:a:0]{sound}[a]"),
        *("-map", "[v]", "-map", "[a]"),
        *commands.encoder(house),
    )
