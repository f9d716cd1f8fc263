"""Detecting the abilities of an FFmpeg."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.playout.ffmpeg.capability import Abilities, abilities


@pytest.mark.parametrize(
    ("version", "by_clock", "bursts"),
    [
        ("ffmpeg version 5.1.9-0+deb12u1 Copyright", False, False),
        ("ffmpeg version 6.0-6ubuntu1 Copyright", False, False),
        ("ffmpeg version n6.1.1 Copyright", False, True),
        ("ffmpeg version 6.1.1-3ubuntu5 Copyright", False, True),
        ("ffmpeg version 7.0.2-static Copyright", True, True),
        ("ffmpeg version 7.1.5-0+deb13u1 Copyright", True, True),
        ("ffmpeg version N-118000-gdeadbeef Copyright", True, True),
        ("", True, True),
    ],
)
def test_abilities_by_version(
    tmp_path: Path, version: str, *, by_clock: bool, bursts: bool
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!/bin/sh\necho '{version}'\n")
    program.chmod(0o755)
    assert abilities(str(program)) == Abilities(by_clock, bursts)


def test_a_missing_ffmpeg_gets_the_safe_abilities(tmp_path: Path) -> None:
    """If it appears, an unknown option would end it at once."""
    program = tmp_path / "ffmpeg"
    assert not abilities(str(program)).bursts
    program.write_text("#!/bin/sh\necho ffmpeg version 6.1.1\n")
    program.chmod(0o755)
    assert abilities(str(program)).bursts
    # It is replaced by another version while channels are on air.
    program.write_text("#!/bin/sh\necho ffmpeg version 5.1.9-0\n")
    assert not abilities(str(program)).bursts
