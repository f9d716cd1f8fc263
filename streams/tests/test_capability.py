"""What an FFmpeg tells of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.playout.capability import reports_by_clock


@pytest.mark.parametrize(
    ("said", "by_clock"),
    [
        ("ffmpeg version 5.1.9-0+deb12u1 Copyright", False),
        ("ffmpeg version n6.1.1 Copyright", False),
        ("ffmpeg version 7.0.2-static Copyright", True),
        ("ffmpeg version N-118000-gdeadbeef Copyright", True),
        ("", True),
    ],
)
def test_from_version_7_on_reports_come_by_the_clock(
    tmp_path: Path, said: str, *, by_clock: bool
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!/bin/sh\necho '{said}'\n")
    program.chmod(0o755)
    assert reports_by_clock(str(program)) is by_clock


def test_one_that_is_not_there_is_asked_for_little(tmp_path: Path) -> None:
    assert reports_by_clock(str(tmp_path / "ffmpeg"))
