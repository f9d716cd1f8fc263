"""Judges how a player ended: whole, as planned, cut, or failed."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from media_library.house_format import HouseFormat
from streams.playout.contract.turn import Turn
from streams.playout.ffmpeg import diagnosis
from streams.playout.ffmpeg.monitored_process import MonitoredProcess


@dataclass(frozen=True, slots=True)
class Cut:
    """How and why a turn ends, and whether its list may go on with the item."""

    ending: str
    cause: str
    resumes: bool = False
    #: What was fed of it and not sent is taken back, all but a rest.
    sharp: bool = False


WHOLE: Final = Cut("whole", "")
BY_PLAN: Final = Cut("cut", "As the programme has it.")


def as_planned(turn: Turn, played: Fraction, house_format: HouseFormat) -> Cut:
    """The ending of a turn that has played for so many seconds and did not fail."""
    return BY_PLAN if turn.was_cut(played, house_format.frame) else WHOLE


def unseen(turn: Turn, played: Fraction, house_format: HouseFormat) -> Cut:
    """The ending of a turn whose player ended after so many seconds while nobody was there."""
    length = turn.length(house_format)
    if length is not None and played < length - 1:
        return Cut("cut", "Its player ended while nobody supervised.", resumes=True)
    return as_planned(turn, played, house_format)


def fault(
    player: MonitoredProcess, turn: Turn, played: Fraction, house_format: HouseFormat
) -> str:
    """Why it ended badly, after so many seconds; empty when it ended well."""
    code, length = player.process.code(), turn.length(house_format)
    # Nobody has the status of an adopted one, and FFmpeg's is 0 after an error of reading.
    if length is None:
        short = diagnosis.broke_off(player.lines) and played < turn.least()
    else:
        short = played < length - 1
    if code not in {0, None} or short:
        return diagnosis.player(turn.item.title, code, list(player.lines), begun=played > 0)
    return "" if played > 0 else f"{turn.item.title} was skipped: there is nothing in it."
