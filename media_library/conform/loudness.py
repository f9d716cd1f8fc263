"""Loudness by EBU R128: read from FFmpeg's meter, and how a sound is brought to the target.

The correction is a plain gain wherever the peaks allow it; where they don't, a limiter holds
them, and the gain is found by trial, for a limiter takes loudness away. FFmpeg's own loudnorm
was no choice: where it can't be linear it rides the gain, and ends off the target.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from media_library.house_format import SAMPLE_RATE

#: LUFS: as the platforms play it back.
TARGET: Final = -14.0
#: dBTP of the finished copy.
PEAK: Final = -1.0
#: LU by which a finished copy may differ.
TOLERANCE: Final = 1.0
#: LU to which trials bring it.
NEAR: Final = 0.4
#: Trials with the limiter, before the encoding and after it: AAC takes up to 2 LU from noise.
#: Each costs a pass over the sound, some 90 times as fast as it plays.
TRIALS: Final = 4
#: LUFS of the absolute gate: below it there is no sound (ITU-R BS.1770-4).
GATE: Final = -70.0
#: dB that AAC may add to a peak; measured at 64 and 128 kbit/s.
OVERSHOOT: Final = 1.0
#: Hz at which the limiter works: four times oversampled, so that it sees the true peaks.
_FINE: Final = 4 * SAMPLE_RATE

#: Filters that write the loudness so far to stdout every 100 ms, each line at once.
METER: Final = r"ebur128=peak=true:metadata=1,ametadata=mode=print:direct=1:file=pipe\\:1"
#: The same without true peaks: three times as fast.
QUICK_METER: Final = METER.replace("peak=true:", "")

_LINE: Final = re.compile(
    r"(?:frame:\d+ +pts:\S+ +pts_time:(?P<time>[\d.]+)"
    r"|lavfi\.r128\.I=(?P<lufs>-?[\d.]+)"
    r"|lavfi\.r128\.true_peak=(?P<peak>[\d.]+))"
)


@dataclass(frozen=True, slots=True)
class Loudness:
    """Integrated, in LUFS, None for silence; the highest true peak in dBTP."""

    lufs: float | None
    peak: float


@dataclass(frozen=True, slots=True)
class Correction:
    """Gain in dB, and whether a limiter has to hold the peaks."""

    gain: float = 0.0
    limited: bool = False

    @property
    def filters(self) -> tuple[str, ...]:
        if not self.gain and not self.limited:
            return ()
        louder = f"volume={self.gain:.2f}dB"
        if not self.limited:
            return (louder,)
        ceiling = 10 ** ((PEAK - OVERSHOOT) / 20)
        hold = f"alimiter=limit={ceiling:.4f}:level=0:attack=5:release=50:latency=1"
        return (louder, f"aresample={_FINE}", hold, f"aresample={SAMPLE_RATE}")


class Meter:
    """Hears FFmpeg's lines; afterwards knows the loudness."""

    def __init__(self) -> None:
        #: Seconds of sound heard.
        self.at = 0.0
        self._lufs = -math.inf
        self._peak = 0.0

    def __call__(self, line: str) -> None:
        if (found := _LINE.fullmatch(line)) is None:
            return
        if found["time"]:
            self.at = float(found["time"])
        elif found["lufs"]:
            self._lufs = float(found["lufs"])
        else:
            self._peak = float(found["peak"])

    @property
    def loudness(self) -> Loudness:
        heard = self._lufs > GATE
        peak = 20 * math.log10(self._peak) if self._peak > 0 else -math.inf
        return Loudness(self._lufs if heard else None, peak)


def first(measured: Loudness) -> Correction:
    """What to do to a sound of that loudness; nothing to silence."""
    if measured.lufs is None:
        return Correction()
    gain = TARGET - measured.lufs
    return Correction(gain, limited=measured.peak + gain > PEAK - OVERSHOOT)


def better(tried: Correction, measured: Loudness) -> Correction | None:
    """The next trial after one that came out so; None where it is near enough."""
    if measured.lufs is None or abs(TARGET - measured.lufs) <= NEAR:
        return None
    more = TARGET - measured.lufs
    return Correction(tried.gain + more, tried.limited or measured.peak + more > PEAK)


def estimate(parts: Sequence[Loudness]) -> float | None:
    """The loudness of a whole, from parts: the mean of their energy, silent ones left out."""
    energies = [10 ** (part.lufs / 10) for part in parts if part.lufs is not None]
    return 10 * math.log10(sum(energies) / len(energies)) if energies else None
