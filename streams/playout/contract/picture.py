"""What viewers see and hear: looks at the air, and the flaws that they show."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the air. `at`: when its sending began (monotonic seconds)."""

    path: Path
    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Inspection:
    """One segment as decoded."""

    at: float
    #: Brightness of its first picture, reduced to 32 x 18 pixels; empty: there is none.
    luma: bytes
    #: Level of each half second of its audio in dBFS (RMS); empty: there is none.
    levels: tuple[float, ...]


class Flaw(StrEnum):
    """What may be wrong with the air."""

    BLACK = "black"
    FROZEN = "frozen"
    SILENT = "silent"
    QUIET = "quiet"
    LOUD = "loud"


class Remedy(StrEnum):
    """What is done about a flaw."""

    IGNORE = "ignore"
    REPORT = "report"
    #: The next item; a filler, and then the next item; a new session of the output.
    SKIP = "skip"
    FILLER = "filler"
    RENEW = "renew"


#: Flaws of the picture, and of the sound.
PICTURE: Final = frozenset({Flaw.BLACK, Flaw.FROZEN})
SOUND: Final = frozenset({Flaw.SILENT, Flaw.QUIET, Flaw.LOUD})
