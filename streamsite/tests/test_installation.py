"""deploy/README.md followed on a bare Debian: see deploy/server_test.sh."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy/server_test.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    return import_module("server_test")


def test_the_commands_are_those_of_the_document(script: ModuleType) -> None:
    text = "# 1. One\n```sh\nfirst NAME\nsecond\n```\n**Two**, bold:\n```sh\nthird\n```\n"
    result = script.blocks(text)
    assert result == {"1. One": ["first NAME\nsecond"], "Two": ["third"]}
    assert script.block(result, "1. One", ("NAME", "x")) == "first x\nsecond"
    for heading, change in (("3. Three", ("a", "b")), ("1. One", ("no such", "b"))):
        with pytest.raises(script.WrongError, match=heading):
            script.block(result, heading, change)


@pytest.mark.parametrize(
    ("given", "other"),
    [("bookworm", "trixie"), ("trixie", "bookworm"), ("noble", "bookworm"), ("", "bookworm")],
)
def test_the_other_debian_is_tried(
    script: ModuleType, tmp_path: Path, given: str, other: str
) -> None:
    path = tmp_path / "os-release"
    path.write_text(f'ID=some\nVERSION_CODENAME={given}\nNAME="Some"\n')
    assert script.other_release(path) == other


@pytest.mark.parametrize(
    ("release", "missing", "why"),
    [
        ("sarge", "", "sarge is none of bookworm, trixie"),
        ("trixie", "systemd-nspawn", "there is no systemd-nspawn here"),
        ("bookworm", "mmdebstrap", "there is no mmdebstrap here"),
    ],
)
def test_a_machine_that_can_not_do_it_states_why(
    tmp_path: Path, release: str, missing: str, why: str
) -> None:
    needed = ("mmdebstrap", "systemd-nspawn", "nsenter", "unshare", "git", "ffmpeg")
    for program in needed:
        if program != missing:
            (tmp_path / program).write_text("#!/bin/sh\nexit 9\n")
            (tmp_path / program).chmod(0o755)
    if missing and os.geteuid() != 0:
        why = "it must be run as root"
    output = subprocess.run(
        (sys.executable, str(SCRIPT), release),
        env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert output.returncode == 77
    assert f"can't run here: {why}" in output.stdout
