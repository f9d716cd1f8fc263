"""Loudness by EBU R128: reads FFmpeg's meter, and computes the correction to the target.

The correction is a plain gain if the peaks allow it; otherwise a limiter holds them, and the
gain is found by trial, because a limiter reduces loudness. FFmpeg's own loudnorm is no
alternative: if it can't be linear, it changes the gain over time and misses the target.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from media_library.house_format import SAMPLE_RATE

#: LUFS: the playback level of the platforms.
TARGET_LUFS: Final = -14.0
#: dBTP of the finished copy.
MAX_PEAK_DBTP: Final = -1.0
#: LU by which a finished copy may differ.
TOLERANCE_LU: Final = 1.0
#: LU that end the trials.
TRIAL_TOLERANCE_LU: Final = 0.4
#: Trials with the limiter, before encoding and after it: AAC reduces noise by up to 2 LU. Each
#: trial reads the audio once, some 90 times as fast as it plays.
MAX_TRIALS: Final = 4
#: LUFS of the absolute gate: below it the audio counts as silence (ITU-R BS.1770-4).
GATE_LUFS: Final = -70.0
#: dB that AAC may add to a peak; measured at 64 and 128 kbit/s.
AAC_OVERSHOOT_DB: Final = 1.0
#: Hz of the limiter: oversampled four times to detect true peaks.
_OVERSAMPLED_HZ: Final = 4 * SAMPLE_RATE

#: Filters that write the current loudness to stdout every 100 ms, flushed per line.
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
    """Integrated loudness in LUFS, None for silence; the highest true peak in dBTP."""

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
        ceiling = 10 ** ((MAX_PEAK_DBTP - AAC_OVERSHOOT_DB) / 20)
        hold = f"alimiter=limit={ceiling:.4f}:level=0:attack=5:release=50:latency=1"
        return (louder, f"aresample={_OVERSAMPLED_HZ}", hold, f"aresample={SAMPLE_RATE}")


class Meter:
    """Parses FFmpeg's lines; has the loudness afterwards."""

    def __init__(self) -> None:
        #: Seconds of audio measured.
        self.at = 0.0
        self._lufs = -math.inf
        self._peak = 0.0

    def __call__(self, line: str) -> None:
        if (match := _LINE.fullmatch(line)) is None:
            return
        if match["time"]:
            self.at = float(match["time"])
        elif match["lufs"]:
            self._lufs = float(match["lufs"])
        else:
            self._peak = float(match["peak"])

    @property
    def loudness(self) -> Loudness:
        audible = self._lufs > GATE_LUFS
        peak = 20 * math.log10(self._peak) if self._peak > 0 else -math.inf
        return Loudness(self._lufs if audible else None, peak)


def first(measured: Loudness) -> Correction:
    """Returns the first correction for that loudness; none for silence."""
    if measured.lufs is None:
        return Correction()
    gain = TARGET_LUFS - measured.lufs
    return Correction(gain, limited=measured.peak + gain > MAX_PEAK_DBTP - AAC_OVERSHOOT_DB)


def better(tried: Correction, measured: Loudness) -> Correction | None:
    """Returns the next trial after that result; None if it is near enough."""
    if measured.lufs is None or abs(TARGET_LUFS - measured.lufs) <= TRIAL_TOLERANCE_LU:
        return None
    more = TARGET_LUFS - measured.lufs
    return Correction(tried.gain + more, tried.limited or measured.peak + more > MAX_PEAK_DBTP)


def estimate(parts: Sequence[Loudness]) -> float | None:
    """Returns the loudness of a whole from parts: the mean energy, without silent parts."""
    energies = [10 ** (part.lufs / 10) for part in parts if part.lufs is not None]
    return 10 * math.log10(sum(energies) / len(energies)) if energies else None
