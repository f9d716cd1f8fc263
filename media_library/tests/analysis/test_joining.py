"""Detects real files that can't be sent unchanged because of timestamps or keyframes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from media_library.analysis import inspection
from media_library.conform.conform import Tools
from media_library.ffmpeg.probe import probe
from media_library.house_format import lacks
from media_library.location import LocalFile
from media_library.tests.clips import lavfi, make

SOUND = "sine=360:r=48000:d={}"
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
AAC = ("-c:a", "aac", "-ac", "2")
TRIMMED = "its first frames must not be displayed"


def clip(path: Path, seconds: int, *options: str, rate: int = 25) -> Path:
    picture = f"testsrc2=s=96x64:r={rate}:d={seconds}"
    usual = ("-x264-params", "scenecut=0")
    return make(path, *lavfi(picture, SOUND.format(seconds)), *X264, *AAC, *usual, *options)


def copied(source: Path, path: Path, *before: str, after: tuple[str, ...] = ()) -> Path:
    return make(path, *before, "-i", str(source), "-c", "copy", *after)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, ffmpeg: str) -> Path:
    del ffmpeg
    return clip(tmp_path_factory.mktemp("joining") / "source.mp4", 12, "-g", "250")


def faults(path: Path) -> tuple[str, ...]:
    """Returns the faults of its first frames; its keyframes are assumed to be near."""
    return lacks(replace(probe(LocalFile(path)), keyframe_seconds=2.0))


@pytest.mark.parametrize("name", ["cut.mp4", "cut.mov", "cut.m4v"])
def test_a_file_cut_within_a_group_of_pictures_is_not_sent_unchanged(
    source: Path, tmp_path: Path, name: str
) -> None:
    """An edit list hides the part before the cut: a copy would show it."""
    assert faults(copied(source, tmp_path / name, "-ss", "5.3")) == (TRIMMED,)


def test_timestamps_below_zero_are_not_sent_unchanged(source: Path, tmp_path: Path) -> None:
    shifted = ("-output_ts_offset", "-1.5", "-avoid_negative_ts", "disabled")
    assert faults(copied(source, tmp_path / "below.mp4", after=shifted)) == (TRIMMED,)


@pytest.mark.parametrize("name", ["whole.mp4", "whole.mkv", "whole.ts"])
@pytest.mark.parametrize("reorder", ["0", "3"])
def test_priming_and_reordered_frames_are_no_hindrance(
    tmp_path: Path, ffmpeg: str, name: str, reorder: str
) -> None:
    del ffmpeg
    assert faults(clip(tmp_path / name, 2, "-preset", "veryfast", "-bf", reorder)) == ()


@pytest.mark.parametrize(
    ("rate", "group", "fault"),
    [
        # x264's default of 250 frames: 50 s at 5 frames a second; and 20 s at 25.
        (5, 250, True),
        (25, 500, True),
        (25, 125, False),
    ],
)
def test_distant_keyframes_are_detected_in_a_short_video(
    tmp_path: Path,
    ffmpeg: str,
    rate: int,
    group: int,
    fault: bool,
) -> None:
    del ffmpeg
    path = clip(tmp_path / "far.mp4", 24, "-g", str(group), rate=rate)

    def read(start: int, length: int) -> bytes:
        return path.read_bytes()[start : start + length]

    inspected = inspection.inspect(
        LocalFile(path), read, path.stat().st_size, tools=Tools(), name=path.name
    )
    assert any("keyframes" in words for words in lacks(inspected.probe)) is fault, inspected
