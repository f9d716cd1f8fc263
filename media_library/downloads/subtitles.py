"""Subtitles: reads VTT and SRT, removes repeated lines, writes three formats. Pure.

Automatic captions roll: each cue repeats the last line above the new one, and between two such
cues is one of 10 ms with only the old line. A player makes that scroll; a reader and a
translator get every line three times (yt-dlp issue 1734).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

_TIMES: Final = re.compile(
    r"(?:(\d+):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})\s*-->\s*(?:(\d+):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
)
_TAG: Final = re.compile(r"<[^>]*>|\{\\[^}]*\}")
#: Milliseconds: a shorter cue only continues the scrolling.
_FLASH: Final = 50


@dataclass(frozen=True, slots=True)
class Cue:
    """Times in milliseconds from the start."""

    start: int
    end: int
    lines: tuple[str, ...]


def parse(text: str) -> list[Cue]:
    """Returns the cues of a VTT or SRT, without markup; other lines are ignored."""
    lines = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    times = [
        (at, match) for at, line in enumerate(lines) if (match := _TIMES.match(line.strip()))
    ]
    ends = [*(at for at, _ in times), len(lines)]
    cues = []
    for (at, match), last in zip(times, ends[1:], strict=True):
        shown = lines[at + 1 : last]
        # An empty line ends a cue; in automatic captions a line with a space is part of it.
        if "" in shown:
            shown = shown[: shown.index("")]
        elif last < len(lines) and shown and shown[-1].strip().isdecimal():
            # The number of the next cue.
            shown = shown[:-1]
        kept = tuple(plain for line in shown if (plain := _plain(line)))
        start, end = _milliseconds(match.groups()[:4]), _milliseconds(match.groups()[4:])
        if end > start:
            cues.append(Cue(start, end, kept))
    return sorted(cues, key=lambda cue: cue.start)


def _plain(line: str) -> str:
    return " ".join(html.unescape(_TAG.sub("", line)).split())


def _milliseconds(parts: Sequence[str | None]) -> int:
    hours, minutes, seconds, fraction = parts
    whole = (int(hours or 0) * 60 + int(minutes or 0)) * 60 + int(seconds or 0)
    return whole * 1000 + int((fraction or "0").ljust(3, "0"))


def unrolled(cues: Sequence[Cue]) -> list[Cue]:
    """Returns each line once, at its first time; cues without new lines extend the last one."""
    kept: list[Cue] = []
    shown: tuple[str, ...] = ()
    for cue in cues:
        rolling = bool(kept) and cue.start <= kept[-1].end + _FLASH
        new = cue.lines
        if rolling:
            # This cue begins with the lines at the end of the last one.
            for count in range(min(len(shown), len(cue.lines)), 0, -1):
                if shown[-count:] == cue.lines[:count]:
                    new = cue.lines[count:]
                    break
        if new:
            if kept and kept[-1].end > cue.start:
                kept[-1] = replace(kept[-1], end=max(kept[-1].start + 1, cue.start))
            kept.append(replace(cue, lines=new))
        elif rolling and cue.end - cue.start > _FLASH:
            kept[-1] = replace(kept[-1], end=max(kept[-1].end, cue.end))
        if cue.lines:
            shown = cue.lines
    return kept


def srt(cues: Sequence[Cue]) -> str:
    blocks = (
        f"{number}\n{_time(cue.start, ',')} --> {_time(cue.end, ',')}\n" + "\n".join(cue.lines)
        for number, cue in enumerate(cues, 1)
    )
    return "\n\n".join(blocks) + "\n"


def vtt(cues: Sequence[Cue]) -> str:
    blocks = (
        f"{_time(cue.start, '.')} --> {_time(cue.end, '.')}\n"
        + "\n".join(html.escape(line, quote=False) for line in cue.lines)
        for cue in cues
    )
    return "\n\n".join(["WEBVTT", *blocks]) + "\n"


def txt(cues: Sequence[Cue]) -> str:
    """Returns the text alone: a new paragraph after three seconds without speech."""
    return "\n".join(_paragraphs(cues)) + "\n"


def _paragraphs(cues: Sequence[Cue]) -> Iterator[str]:
    end, words = 0, ""
    for cue in cues:
        if words and cue.start - end > 3000:  # noqa: PLR2004 - three seconds
            yield words
            words = ""
        words = " ".join(filter(None, (words, *cue.lines)))
        end = cue.end
    if words:
        yield words


def _time(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{rest:03}"
