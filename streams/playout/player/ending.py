"""Judges how a player ended: whole, as planned, cut, or failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from media_library.house_format import HouseFormat
from streams.playout.contract.turn import Turn
from streams.playout.ffmpeg import diagnosis


@dataclass(frozen=True, slots=True)
class Cut:
    """How and why a turn ends, and whether its list may continue with the item."""

    ending: str
    cause: str
    resumes: bool = False
    #: Data that was fed but not sent is taken back, except for a remainder.
    sharp: bool = False
    #: A filler follows.
    filler: bool = False


WHOLE: Final = Cut("whole", "")
BY_PLAN: Final = Cut("cut", "As scheduled.")


def as_planned(turn: Turn, played: Fraction, house_format: HouseFormat) -> Cut:
    """The ending of a turn that played for `played` seconds and did not fail."""
    return BY_PLAN if turn.was_cut(played, house_format.frame) else WHOLE


def unseen(turn: Turn, played: Fraction, house_format: HouseFormat) -> Cut:
    """The ending of a turn whose player ended after so many seconds without a supervisor."""
    length = turn.length(house_format)
    if length is not None and played < length - 1:
        return Cut("cut", "Its player ended while no supervisor was running.", resumes=True)
    return as_planned(turn, played, house_format)


def fault(
    code: int | None,
    lines: Sequence[str],
    turn: Turn,
    played: Fraction,
    house_format: HouseFormat,
) -> str:
    """Why a player failed after so many seconds; empty if it ended well.

    `code`: its exit status; None: unknown, because it was adopted. `lines`: its last output.
    """
    length = turn.length(house_format)
    # FFmpeg exits with 0 after read errors.
    if length is None:
        short = diagnosis.broke_off(lines) and played < turn.min_seconds()
    else:
        short = played < length - 1
    if code not in {0, None} or short:
        return diagnosis.player(turn.item.title, code, list(lines), begun=played > 0)
    return "" if played > 0 else f"{turn.item.title} was skipped: the file is empty."
