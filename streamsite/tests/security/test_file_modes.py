"""Modes of written files, whatever the command and the umask."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.checks import run_checks
from pytest_django import Settings

from streamsite.security import file_modes

ROOT = Path(__file__).parents[3]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def manage(folder: Path, *words: str, **more: str) -> None:
    environment = {"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, "DATA_DIR": str(folder)}
    subprocess.run(
        (sys.executable, "manage.py", *words),
        cwd=ROOT, env=environment | more, check=True, umask=0o022, capture_output=True,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("there", ["", "folder", "database"])
def test_the_first_command_makes_a_database_that_is_its_owners_alone(
    there: str, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    if there:
        # As adduser leaves a home directory.
        data.mkdir(mode=0o755)
    if there == "database":
        sqlite3.connect(data / "streamsite.sqlite3").close()
        (data / "streamsite.sqlite3").touch()
        (data / "streamsite.sqlite3").chmod(0o644)
    manage(data, "migrate", "--verbosity", "0", "axes")
    assert mode(data) == 0o750
    assert mode(data / "streamsite.sqlite3") == 0o600
    assert {mode(path) & 0o007 for path in data.rglob("*")} == {0}


def test_what_sqlite_keeps_beside_the_file_is_as_closed_as_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.sqlite3"
    before = os.umask(0)
    try:
        file_modes.private_database(file)
        with sqlite3.connect(file) as line:
            line.execute("PRAGMA journal_mode=WAL")
            line.execute("CREATE TABLE t (a)")
            beside = file_modes.lies_beside(file)
            assert len(beside) == 2
            assert {mode(path) for path in (file, *beside)} == {0o600}
        line.close()
    finally:
        os.umask(before)


@pytest.mark.parametrize(("given", "left"), [(0o000, 0o027), (0o022, 0o027), (0o077, 0o077)])
def test_a_stricter_umask_stays(given: int, left: int) -> None:
    before = os.umask(given)
    try:
        file_modes.narrow_umask()
        assert os.umask(0) == left
    finally:
        os.umask(before)


@pytest.mark.django_db
def test_check_states_what_others_may_read_and_the_command_against_it(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o750)
    file = data / "streamsite.sqlite3"
    file_modes.private_database(file)
    settings.DATA_DIR = data
    monkeypatch.setitem(settings.DATABASES["default"], "NAME", str(file))
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", "django.db.backends.sqlite3")

    def hints() -> list[str | None]:
        result = run_checks(include_deployment_checks=True)
        return [message.hint for message in result if message.id == "streamsite.W005"]

    assert hints() == []
    file.chmod(0o640)
    data.chmod(0o755)
    assert hints() == [f"Type: chmod 750 {data}", f"Type: chmod 600 {file}"]


@pytest.mark.django_db
def test_check_states_who_is_no_member_of_the_previews_group(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def result() -> list[str]:
        return [m.id or "" for m in run_checks(include_deployment_checks=True)]

    settings.HLS_GROUP = 12
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    monkeypatch.setattr(os, "getgroups", lambda: [1, 12])
    assert "streamsite.W006" not in result()
    monkeypatch.setattr(os, "getgroups", lambda: [1])
    assert "streamsite.W006" in result()
