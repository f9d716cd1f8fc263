"""The slate: "We'll be right back", what plays when nothing else can. Made once per house."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Final

from django.conf import settings

from media_library import prepare, recipe, verify
from media_library.house import House

#: Seconds. Short, so that the item that can be played again need not wait.
LENGTH: Final = Fraction(4)
#: Slates that this process has tested, each with the time of its last change: twenty channels
#: in one house have one slate.
_TESTED: Final[set[tuple[Path, int]]] = set()
#: A picture, not text: no fonts are needed at run time.
PICTURE: Final = Path(__file__).with_name("assets") / "slate.png"


def slate(house: House) -> tuple[Path, int]:
    """The slate's file and its frames; made at the first call, in a second or two.

    Several may call it at once: each makes its own draft, and the last to be done wins.
    Raises `PrepareError`.
    """
    path, frames = _place(house)
    if not path.exists():
        _make(house, frames, path)
    return path, frames


def tested(house: House) -> None:
    """See to it that the slate is what it should be: a broken one is made anew.

    Takes 0.2 s, or a second or two. Raises `PrepareError`, or `ToolError` where ffprobe can't
    be asked.
    """
    path, frames = _place(house)
    if path.exists() and (path, path.stat().st_mtime_ns) in _TESTED:
        return
    if not path.exists() or verify.faults(path, house, frames, ffprobe=settings.FFPROBE_PATH):
        _make(house, frames, path)
    _TESTED.add((path, path.stat().st_mtime_ns))


def _place(house: House) -> tuple[Path, int]:
    return (
        settings.DATA_DIR / "slates" / f"{house.signature}.mp4",
        house.frames_on_grid(LENGTH),
    )


def _make(house: House, frames: int, path: Path) -> None:
    tools = prepare.Tools(settings.FFMPEG_PATH, settings.FFPROBE_PATH)
    prepare.write(command(tools.ffmpeg, house, frames), house, frames, path, tools=tools)


def command(program: str, house: House, frames: int) -> tuple[str, ...]:
    """The command line that makes it, up to the name of its output."""
    sight, sound = recipe.picture(house, frames), recipe.audio(house, frames)
    return (
        *recipe.head(program),
        *("-loop", "1", "-framerate", str(house.fps), "-i", f"file:{PICTURE}"),
        *recipe.silent_input(),
        *("-filter_complex", f"[0:v:0]{sight}[v];[1:a:0]{sound}[a]"),
        *("-map", "[v]", "-map", "[a]"),
        *recipe.encoder(house),
    )
