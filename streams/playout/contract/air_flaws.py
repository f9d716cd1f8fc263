"""Judges what viewers see and hear from looks at the air. Pure.

One look in ten seconds shows whether anything changed. Where it did, looks at every segment
between show when: pictures are compared at keyframes, which are two seconds apart, so a flaw
begins and ends within a second of it. Pictures of the segment in between say more (`exact`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import log10
from typing import Final

from streams.playout.contract.picture import Flaw, Inspection

#: Seconds for which a flaw has to last. Films fade to black for some seconds, and hold a title
#: or a photograph for a minute; classical music has long quiet passages.
PATIENCE_S: Final[Mapping[Flaw, float]] = {
    Flaw.BLACK: 15.0,
    Flaw.FROZEN: 120.0,
    Flaw.SILENT: 20.0,
    Flaw.QUIET: 300.0,
    Flaw.LOUD: 120.0,
}
#: Sentences for the operator.
SENTENCES: Final[Mapping[Flaw, str]] = {
    Flaw.BLACK: "The picture is black.",
    Flaw.FROZEN: "The picture stands still.",
    Flaw.SILENT: "There is no sound.",
    Flaw.QUIET: "The sound is hardly audible.",
    Flaw.LOUD: "The sound is far too loud.",
}
#: Brightness of black in video is 16 of 255; noise and compression add a few. The brightest
#: spot of a night scene, a star or a window, is far above.
BLACK_MEAN: Final = 20
BLACK_BRIGHTEST: Final = 32
#: Differences of brightness between two decodings of one still: mean, and of any pixel.
STILL_MEAN: Final = 0.25
STILL_LARGEST: Final = 3
#: The same where a still begins: an encoder needs some pictures to draw it well.
DRAWN_MEAN: Final = 1.0
DRAWN_LARGEST: Final = 6
#: dBFS (RMS). Digital silence after AAC is below -90, a quiet room -60; programmes that are
#: normalised to -14 LUFS have -20 on average, and whispers -45.
SILENT_DB: Final = -65.0
QUIET_DB: Final = -50.0
LOUD_DB: Final = -6.0


@dataclass(frozen=True, slots=True)
class Watched:
    """What the looks so far have shown."""

    #: Moments of the last two looks, and the picture of the last one.
    last: Inspection | None = None
    before: float | None = None
    #: Since when each present flaw has been there.
    since: Mapping[Flaw, float] = field(default_factory=dict)
    #: Begin and end of the last stretch of those that are gone.
    over: Mapping[Flaw, tuple[float, float]] = field(default_factory=dict)

    def lasts(self, flaw: Flaw, counted_from: float = float("-inf")) -> bool:
        """Whether it is there, and has been for too long, as far as the looks have shown.

        `counted_from`: earlier does not count (monotonic).
        """
        since = self.since.get(flaw)
        return (
            since is not None
            and self.last is not None
            and self.last.at - max(since, counted_from) >= PATIENCE_S[flaw]
        )


def advance(state: Watched, inspections: Sequence[Inspection]) -> Watched:
    """Take further looks into account, in the order of their moments."""
    for inspection in inspections:
        state = _after(state, inspection)
    return state


#: Flaws whose begin and end are worth a closer inspection: the others last for minutes.
_EXACT: Final = {Flaw.BLACK, Flaw.FROZEN, Flaw.SILENT}


def changed(state: Watched, inspection: Inspection) -> bool:
    """Whether a flaw begins or ends between the last look and this one."""
    differing = _after(state, inspection).since.keys() ^ state.since.keys()
    return state.last is not None and bool(differing & _EXACT)


def _after(state: Watched, inspection: Inspection) -> Watched:
    last = state.last
    since = {
        flaw: state.since.get(flaw, begun)
        for flaw, begun in (_sound(inspection) | _picture(state, inspection)).items()
    }
    gone = {
        flaw: (state.since[flaw], _end(state, inspection, flaw))
        for flaw in state.since.keys() - since.keys()
    }
    before = None if last is None else last.at
    return replace(
        state, last=inspection, before=before, since=since, over={**state.over, **gone}
    )


def _end(state: Watched, inspection: Inspection, flaw: Flaw) -> float:
    """When a flaw ended that this look does not show any more."""
    audible = [number for number, level in enumerate(inspection.levels) if level > SILENT_DB]
    if flaw is Flaw.SILENT and audible:
        return inspection.at + audible[0] / 2
    return inspection.at if state.last is None else (state.last.at + inspection.at) / 2


#: Flaws of the picture whose begin and end more pictures can date.
DATED: Final = (Flaw.BLACK, Flaw.FROZEN)


def exact(
    flaw: Flaw, pictures: Sequence[tuple[float, bytes]], reference: bytes, *, begins: bool
) -> float | None:
    """Return when the flaw begins or ends within a segment; None: not there.

    Args:
        flaw: One of `DATED`.
        pictures: Moments and pictures of the segment, in their order.
        reference: The picture that stands still.
        begins: Whether it begins; otherwise it ends.
    """
    marks = [
        is_black(luma)
        if flaw is Flaw.BLACK
        else is_same(luma, reference, mean=DRAWN_MEAN, largest=DRAWN_LARGEST)
        for _, luma in pictures
    ]
    # The last change in the wanted direction.
    for number in range(len(marks) - 1, 0, -1):
        if marks[number] is begins and marks[number - 1] is not begins:
            return (pictures[number - 1][0] + pictures[number][0]) / 2
    return None


def _picture(state: Watched, inspection: Inspection) -> dict[Flaw, float]:
    """The flaws of the picture, and since when if they are new."""
    flaws: dict[Flaw, float] = {}
    last = state.last
    if not inspection.luma:
        return flaws
    if is_black(inspection.luma):
        flaws[Flaw.BLACK] = inspection.at if last is None else (last.at + inspection.at) / 2
    elif last is not None and is_same(last.luma, inspection.luma):
        flaws[Flaw.FROZEN] = last.at if state.before is None else (state.before + last.at) / 2
    return flaws


def _sound(inspection: Inspection) -> dict[Flaw, float]:
    """The flaws of the sound, and since when if they are new."""
    levels = inspection.levels
    if not levels:
        return {}
    loud = [number for number, level in enumerate(levels) if level > SILENT_DB]
    silent_from = loud[-1] + 1 if loud else 0
    if silent_from < len(levels):
        # It has become silent within this segment.
        return {Flaw.SILENT: inspection.at + silent_from / 2}
    mean = 10 * log10(sum(10 ** (level / 10) for level in levels) / len(levels))
    if mean < QUIET_DB:
        return {Flaw.QUIET: inspection.at}
    return {Flaw.LOUD: inspection.at} if mean > LOUD_DB else {}


def is_black(luma: bytes) -> bool:
    return max(luma) <= BLACK_BRIGHTEST and sum(luma) / len(luma) <= BLACK_MEAN


def is_same(
    one: bytes, two: bytes, *, mean: float = STILL_MEAN, largest: int = STILL_LARGEST
) -> bool:
    if len(one) != len(two) or not one:
        return False
    differences = [abs(a - b) for a, b in zip(one, two, strict=True)]
    return max(differences) <= largest and sum(differences) / len(one) <= mean
