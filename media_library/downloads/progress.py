"""Progress of a download: the passes for video and audio, and the steps after them. Pure.

Sites often send no sizes; then each pass has its usual weight. The percentage never decreases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

#: Percent of the whole when the download begins, when it ends, and when storing begins.
EXTRACTED: Final = 2
FETCHED: Final = 88
PROCESSED: Final = 93
#: Weight of a video pass relative to an audio pass, if no size is known.
VIDEO_WEIGHT: Final = 9


@dataclass(frozen=True, slots=True)
class Pass:
    """One file to download. Size in bytes; None if unknown."""

    format_id: str
    size: int | None
    picture: bool


@dataclass
class Whole:
    """The progress of one job. `percent` never decreases."""

    passes: Sequence[Pass] = ()
    #: By format: from 0 to 1.
    shares: dict[str, float] = field(default_factory=dict)
    percent: int = 0

    def planned(self, passes: Sequence[Pass]) -> None:
        self.passes = passes
        self._raise(EXTRACTED)

    def fetched(self, format_id: str, share: float) -> int:
        """Records that `share` of that pass, from 0 to 1, is downloaded."""
        self.shares[format_id] = max(0.0, min(1.0, share))
        weights = self._weights()
        total = sum(weights.values())
        if total:
            done = sum(weight * self.shares.get(name, 0.0) for name, weight in weights.items())
            self._raise(EXTRACTED + int((FETCHED - EXTRACTED) * done / total))
        return self.percent

    def processed(self) -> int:
        self._raise(FETCHED)
        return self.percent

    def stored(self, share: float) -> int:
        self._raise(PROCESSED + int((99 - PROCESSED) * max(0.0, min(1.0, share))))
        return self.percent

    def _weights(self) -> dict[str, float]:
        if all(one.size for one in self.passes):
            return {one.format_id: float(one.size or 0) for one in self.passes}
        return {one.format_id: float(VIDEO_WEIGHT if one.picture else 1) for one in self.passes}

    def _raise(self, percent: int) -> None:
        self.percent = max(self.percent, min(99, percent))


def share_of(
    done: int, total: int | None, fragment: int | None = None, fragments: int | None = None
) -> float:
    """Returns the share from 0 to 1, by fragments if there are any: sizes are estimated."""
    if fragments:
        return (fragment or 0) / fragments
    return done / total if total else 0.0
