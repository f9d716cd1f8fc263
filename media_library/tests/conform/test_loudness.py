"""Loudness: the correction to the target, tested with the real FFmpeg on many sounds."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from media_library.conform import conform, loudness
from media_library.conform.loudness import (
    MAX_PEAK_DBTP,
    TARGET_LUFS,
    TOLERANCE_LU,
    Correction,
    Loudness,
    Meter,
)
from media_library.ffmpeg.probe import probe
from media_library.house_format import HouseFormat
from media_library.location import LocalFile
from media_library.tests.clips import lavfi, make

# ---- pure ------------------------------------------------------------------------------------


def test_a_plain_gain_if_the_peaks_allow_it_and_otherwise_a_limiter() -> None:
    assert loudness.first(Loudness(-24, -15)) == Correction(10, limited=False)
    assert loudness.first(Loudness(-24, -5)) == Correction(10, limited=True)
    assert loudness.first(Loudness(-8, 0)) == Correction(-6, limited=False)
    assert Correction(10).filters == ("volume=10.00dB",)
    assert len(Correction(10, limited=True).filters) == 4


def test_silence_stays_silence() -> None:
    assert loudness.first(Loudness(None, -90)) == Correction()
    assert Correction().filters == ()


def test_a_result_off_the_target_is_tried_again() -> None:
    tried = Correction(10, limited=True)
    assert loudness.better(tried, Loudness(-14.2, -2)) is None
    assert loudness.better(tried, Loudness(-16, -2)) == Correction(12, limited=True)
    # More gain may require the limiter.
    assert loudness.better(Correction(10), Loudness(-16, -2)) == Correction(12, limited=True)
    assert loudness.better(Correction(10), Loudness(-16, -9)) == Correction(12, limited=False)


def test_the_meter_accepts_complete_lines_only() -> None:
    meter = Meter()
    assert meter.loudness == Loudness(None, -math.inf)
    for line in (
        "frame:7 pts:33600 pts_time:0.7",
        "lavfi.r128.I=-23.500",
        "lavfi.r128.true_peak=0.500",
        "lavfi.r128.I=-2out_time_us=5",
        "lavfi.r128.LRA=20.000",
    ):
        meter(line)
    assert meter.at == 0.7
    assert meter.loudness.lufs == -23.5
    assert meter.loudness.peak == pytest.approx(-6.02, abs=0.01)


# ---- with FFmpeg -----------------------------------------------------------------------------

SOUNDS = {
    "quiet": "anoisesrc=color=pink:amplitude=0.01:d=12:seed=1",
    "loud and clipped": "aevalsrc='clip(3*sin(880*PI*t)+2*sin(194*PI*t),-1,1)':d=12",
    "dynamic noise": "anoisesrc=d=20:seed=3,volume='if(lt(mod(t,6),.15),1,.02)':eval=frame",
    "speech with shots": "aevalsrc='(0.01+0.9*gt(mod(t,10),9.5))*sin(600*PI*t)':d=20",
    "clicks": "aevalsrc='if(lt(mod(t,1),0.001),0.9,0.002*sin(1000*PI*t))':d=12",
    "mono": "sine=f=440:r=44100:d=8",
    "5.1": "aevalsrc=0.1*sin(880*t)|0.1*sin(990*t)|0.4*sin(2200*t)|0.5*sin(50*t)"
    "|0.1*sin(3000*t)|0.1*sin(3300*t):c=5.1:d=8",
    "3 s": "anoisesrc=color=pink:amplitude=0.05:d=3:seed=2",
    "3 s with peaks": "aevalsrc='(0.05+0.9*lt(mod(t,1),0.02))*sin(1400*PI*t)':d=3",
    "0.3 s": "sine=f=600:d=0.3",
    "late": "sine=f=500:d=4,adelay=3000:all=1",
}


def conformed(tmp_path: Path, sound: str) -> tuple[conform.Copy, Loudness]:
    """Returns the copy of a video with that audio; and its loudness, measured independently."""
    path = make(
        tmp_path / "film.mkv",
        *lavfi("color=s=96x64:r=30", sound),
        *("-shortest", "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "pcm_s16le"),
    )
    target, house_format = tmp_path / "copy.mp4", HouseFormat(96, 64, 30, 100_000, 128_000)
    probed = probe(LocalFile(path))
    made = conform.conform(LocalFile(path), probed, house_format, target, tools=conform.Tools())
    summary = subprocess.run(
        ("ffmpeg", "-nostdin", "-i", target, "-af", "ebur128=peak=true", "-f", "null", "-"),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stderr.partition("Summary:")[2]
    values = dict(line.split(":") for line in summary.splitlines() if line.count(":") == 1)
    figures = {
        name.strip(): value.split()[0] for name, value in values.items() if value.strip()
    }
    return made, Loudness(float(figures["I"]), float(figures["Peak"]))


@pytest.mark.slow
@pytest.mark.parametrize("sound", SOUNDS)
def test_every_sound_is_brought_to_the_target(
    sound: str, tmp_path: Path, ffmpeg: str, record_property: Callable[[str, object], None]
) -> None:
    made, measured = conformed(tmp_path, SOUNDS[sound])
    record_property("lufs", measured.lufs)
    record_property("dbtp", measured.peak)
    assert made.loudness is not None
    assert measured.lufs == pytest.approx(made.loudness, abs=0.2)
    assert made.loudness == pytest.approx(TARGET_LUFS, abs=TOLERANCE_LU)
    assert measured.peak <= MAX_PEAK_DBTP


@pytest.mark.slow
def test_a_silent_video_is_not_amplified(tmp_path: Path, ffmpeg: str) -> None:
    made, measured = conformed(tmp_path, "anoisesrc=amplitude=0.0002:d=4")
    assert made.loudness is None
    assert measured.peak < -60
