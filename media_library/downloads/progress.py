"""How far a download is: the passes for picture and sound, and the work after. Pure.

A site often tells no sizes; then each pass weighs by what is usual, and what a pass told before
is never taken back: a bar that goes backwards helps nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

#: Percent of the whole at which the download begins, ends, and the storing begins.
FOUND: Final = 2
FETCHED: Final = 88
PROCESSED: Final = 93
#: A pass of the picture weighs so many times one of the sound where no size is told.
PICTURE: Final = 9


@dataclass(frozen=True, slots=True)
class Pass:
    """One file that is fetched. Bytes; None where the site does not tell."""

    format_id: str
    size: int | None
    picture: bool


@dataclass
class Whole:
    """The whole of one job. `percent` never falls."""

    passes: Sequence[Pass] = ()
    #: By format: from 0 to 1.
    shares: dict[str, float] = field(default_factory=dict)
    percent: int = 0

    def planned(self, passes: Sequence[Pass]) -> None:
        self.passes = passes
        self._raise(FOUND)

    def fetched(self, format_id: str, share: float) -> int:
        """`share` of that pass is here, from 0 to 1."""
        self.shares[format_id] = max(0.0, min(1.0, share))
        weights = self._weights()
        total = sum(weights.values())
        if total:
            done = sum(weight * self.shares.get(name, 0.0) for name, weight in weights.items())
            self._raise(FOUND + int((FETCHED - FOUND) * done / total))
        return self.percent

    def processed(self) -> int:
        self._raise(FETCHED)
        return self.percent

    def stored(self, share: float) -> int:
        self._raise(PROCESSED + int((99 - PROCESSED) * max(0.0, min(1.0, share))))
        return self.percent

    def _weights(self) -> dict[str, float]:
        if all(each.size for each in self.passes):
            return {each.format_id: float(each.size or 0) for each in self.passes}
        return {each.format_id: float(PICTURE if each.picture else 1) for each in self.passes}

    def _raise(self, percent: int) -> None:
        self.percent = max(self.percent, min(99, percent))


def share_of(
    done: int, total: int | None, fragment: int | None = None, fragments: int | None = None
) -> float:
    """From 0 to 1, by fragments where there are some: their sizes are only guessed."""
    if fragments:
        return (fragment or 0) / fragments
    return done / total if total else 0.0
