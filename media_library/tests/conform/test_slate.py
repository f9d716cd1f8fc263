"""The slate is made when a channel needs it, with the priority of a channel."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_django import Settings

from media_library.conform import conform, slate
from media_library.ffmpeg.probe import probe
from media_library.house_format import HouseFormat
from media_library.location import LocalFile
from media_library.tests.clips import lavfi, make

HOUSE_FORMAT = HouseFormat(96, 64, 30, 100_000, 64_000)

pytestmark = pytest.mark.usefixtures("ffmpeg")


@pytest.fixture
def niceness(settings: Settings, tmp_path: Path) -> Callable[[], set[int]]:
    """Returns the niceness of each call of FFmpeg and ffprobe, which record theirs."""
    noted = tmp_path / "niceness"
    settings.DATA_DIR = tmp_path / "data"
    for name in ("ffmpeg", "ffprobe"):
        script = tmp_path / name
        real = shlex.quote(str(shutil.which(name)))
        script.write_text(f'#!/bin/sh\nnice >> {shlex.quote(str(noted))}\nexec {real} "$@"\n')
        script.chmod(0o755)
        setattr(settings, f"{name.upper()}_PATH", str(script))
    return lambda: {int(line) for line in noted.read_text().split()}


def test_a_slate_is_made_at_normal_priority(
    niceness: Callable[[], set[int]],
) -> None:
    slate.slate(HOUSE_FORMAT)
    assert slate.tested(HOUSE_FORMAT)
    assert niceness() == {os.getpriority(os.PRIO_PROCESS, 0)}


def test_copies_are_prepared_at_low_priority(
    niceness: Callable[[], set[int]], settings: Settings, tmp_path: Path
) -> None:
    clip = LocalFile(make(tmp_path / "clip.mkv", *lavfi("testsrc2=s=96x64:d=1", "sine=d=1")))
    tools = conform.Tools(settings.FFMPEG_PATH, settings.FFPROBE_PATH)
    conform.conform(clip, probe(clip), HOUSE_FORMAT, tmp_path / "copy.mp4", tools=tools)
    assert min(niceness()) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 15)
