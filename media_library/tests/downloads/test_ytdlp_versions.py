"""yt-dlp's environments: a newer one is tested, used, and rolled back."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
import yt_dlp
from django.core.management import CommandError, call_command
from pytest_django import Settings

from media_library.downloads import ytdlp_selftest, ytdlp_versions
from media_library.downloads.process import Runner, limits
from media_library.downloads.ytdlp_versions import UpdateError
from media_library.jobs import slots
from media_library.tests.wheels import BROKEN, wheel
from streamsite.tests.waiting import until

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
OURS = yt_dlp.version.__version__


@pytest.fixture(autouse=True)
def home(settings: Settings, tmp_path: Path) -> Path:
    settings.RUN_DIR = tmp_path / "run"
    settings.DATA_DIR = tmp_path / "data"
    return tmp_path / "data" / "tools" / "yt-dlp"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels of one working version."""
    folder = tmp_path_factory.mktemp("index")
    wheel(folder, "2099.1.2")
    return folder


def environments(home: Path) -> list[str]:
    return sorted(folder.name for folder in home.iterdir() if folder.is_dir())


def test_streamsites_own_version() -> None:
    assert ytdlp_versions.python() == sys.executable
    version = ytdlp_versions.about()
    assert version is not None
    assert version.version == OURS
    assert version.python == ".".join(map(str, sys.version_info[:3]))
    assert version.runtime.startswith("deno 2.")


def test_a_deno_that_starts_and_runs_nothing_counts_as_none(tmp_path: Path) -> None:
    """As under a sandbox that kills its engine."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    for name in ("pyvenv.cfg", "lib"):
        (tmp_path / name).symlink_to(Path(sys.prefix) / name)
    deno = python.with_name("deno")
    deno.write_text('#!/bin/sh\n[ "$1" = --version ] && echo deno 2.9.8 || kill -SYS $$\n')
    deno.chmod(0o755)
    version = ytdlp_selftest.about(str(python))
    assert (version.version, version.runtime) == (OURS, "")


@pytest.mark.slow
@pytest.mark.usefixtures("ffmpeg")
def test_a_newer_version_is_used_and_rolled_back(
    home: Path, index: Path, tmp_path: Path
) -> None:
    with Runner(
        {"mode": "inspect", "folder": str(tmp_path), "limits": limits(0)}, folder=tmp_path
    ) as running:
        runner = psutil.Process(running.pid)
        # The kernel shows no arguments while a program is loaded.
        until(runner.cmdline, 60, "it is loaded")
        began_with = runner.cmdline()[0]
        result = ytdlp_versions.update(NOW, source=index)
        # A running job keeps its environment.
        assert began_with == sys.executable != ytdlp_versions.python()
    assert result == f"yt-dlp 2099.1.2 is used from now on, instead of {OURS}."
    version = ytdlp_versions.about()
    assert version is not None
    assert (version.version, version.interpreter) == ("2099.1.2", ytdlp_versions.python())
    assert version.runtime.startswith("deno "), "streamsite's own serves where it has none"
    assert ytdlp_versions.chosen().result == result

    # Back, and forward again.
    assert ytdlp_versions.roll_back(NOW) == f"yt-dlp {OURS} is used from now on."
    assert ytdlp_versions.python() == sys.executable
    assert ytdlp_versions.roll_back(NOW) == "yt-dlp 2099.1.2 is used from now on."
    assert ytdlp_versions.python() == version.interpreter
    # An installed version is not installed again.
    assert ytdlp_versions.update(NOW, source=index) == (
        "yt-dlp 2099.1.2 is the newest version: it stays."
    )
    assert len(environments(home)) == 1
    # An upgrade of Python makes it unusable: the roll-back leads to streamsite's own.
    shutil.rmtree(home / environments(home)[0])
    assert ytdlp_versions.python() == sys.executable
    ytdlp_versions.update(NOW, source=index)
    assert ytdlp_versions.python() != sys.executable
    ytdlp_versions.roll_back(NOW)
    assert ytdlp_versions.python() == sys.executable


@pytest.mark.slow
@pytest.mark.usefixtures("ffmpeg")
def test_a_version_that_fails_its_test_is_not_used(home: Path, tmp_path: Path) -> None:
    wheel(tmp_path / "index", "2099.2.1", content=BROKEN)
    with pytest.raises(UpdateError, match=r"failed its test.*: ImportError: made"):
        ytdlp_versions.update(NOW, source=tmp_path / "index")
    assert ytdlp_versions.python() == sys.executable
    assert environments(home) == []
    assert "made for another Python" in ytdlp_versions.chosen().result


@pytest.mark.slow
@pytest.mark.usefixtures("ffmpeg")
def test_a_newer_version_with_a_missing_dependency_is_reported(
    home: Path, tmp_path: Path
) -> None:
    """Pip takes an older one then: it must not be reported as the newest."""
    wheel(tmp_path / "index", OURS)
    wheel(tmp_path / "index", "2099.3.1", needs="there-is-no-such-package")
    result = ytdlp_versions.update(NOW, source=tmp_path / "index")
    assert result.startswith(
        "yt-dlp 2099.3.1 can't be installed yet, because the package index lacks"
    )
    assert ytdlp_versions.python() == sys.executable
    assert environments(home) == []


@pytest.mark.slow
def test_an_index_without_it_changes_nothing(home: Path, tmp_path: Path) -> None:
    empty = tmp_path / "index"
    empty.mkdir()
    with pytest.raises(
        UpdateError, match="can't be downloaded: check whether this machine reaches"
    ):
        ytdlp_versions.update(NOW, source=empty)
    assert environments(home) == []


@pytest.mark.slow
@pytest.mark.usefixtures("ffmpeg")
def test_the_test_is_a_complete_download() -> None:
    assert ytdlp_selftest.try_out(sys.executable).version == OURS


def test_an_invalid_interpreter(tmp_path: Path) -> None:
    with pytest.raises(ytdlp_selftest.SelfTestError, match="can't be started"):
        ytdlp_selftest.about(str(tmp_path / "python"))
    with pytest.raises(ytdlp_selftest.SelfTestError, match="ended without a result"):
        ytdlp_selftest.about(shutil.which("false") or "")


def test_no_previous_version() -> None:
    with pytest.raises(CommandError, match="there is no previous yt-dlp"):
        call_command("update_downloader", "--rollback")


def test_one_update_at_a_time() -> None:
    with slots.slot("downloader", 1):
        with pytest.raises(UpdateError, match="Another update is running"):
            ytdlp_versions.update(NOW)
        with pytest.raises(UpdateError, match="Another update is running"):
            ytdlp_versions.roll_back(NOW)


def environment(home: Path, name: str) -> Path:
    """Makes an environment like `venv`, without packages."""
    folder = home / name
    for folder_ in (folder / "bin", folder / "lib" / f"python3.{sys.version_info.minor}"):
        folder_.mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    return folder


def choose(home: Path, current: str, previous: str = "") -> None:
    home.mkdir(parents=True, exist_ok=True)
    ytdlp_versions.write_choice(ytdlp_versions.Choice(current, previous, untouched=False))


@pytest.mark.parametrize("gone", ["bin/python", f"lib/python3.{sys.version_info.minor}"])
def test_after_an_upgrade_of_python_streamsites_own_is_used(home: Path, gone: str) -> None:
    folder = environment(home, "one")
    choose(home, "one")
    assert ytdlp_versions.python() == str(folder / "bin" / "python")
    assert not ytdlp_versions.lost(ytdlp_versions.chosen())
    (folder / gone).rename(folder / "elsewhere")
    assert ytdlp_versions.python() == sys.executable
    assert ytdlp_versions.lost(ytdlp_versions.chosen())


@pytest.mark.parametrize("written", ["", "{", "[]", '{"other": 1}', "\xff"])
def test_a_choice_that_cant_be_read_stops_no_download(home: Path, written: str) -> None:
    home.mkdir(parents=True)
    (home / "choice.json").write_text(written, encoding="latin-1")
    assert ytdlp_versions.python() == sys.executable


def test_the_choice_of_an_earlier_version_is_read(home: Path) -> None:
    home.mkdir(parents=True)
    (home / "choice.json").write_text('{"current": "one", "said": "Updated."}')
    assert ytdlp_versions.chosen() == ytdlp_versions.Choice("one", result="Updated.")


def test_an_environment_in_use_is_not_removed(home: Path) -> None:
    for name in ("old", "older", "now", "before"):
        environment(home, name)
    choose(home, "now", "before")
    with subprocess.Popen(
        (str(home / "old" / "bin" / "python"), "-c", "input()"), stdin=subprocess.PIPE
    ):
        ytdlp_versions.tidy()
        assert environments(home) == ["before", "now", "old"]
    ytdlp_versions.tidy()
    assert environments(home) == ["before", "now"]


@pytest.mark.slow
def test_the_command_shows_the_available_version(
    index: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    call_command("update_downloader", "--check", f"--from={index}")
    assert capsys.readouterr().out == (
        f"yt-dlp {OURS} is used; 2099.1.2 is available: update_downloader.\n"
    )
    with pytest.raises(CommandError, match="is not a folder"):
        call_command("update_downloader", f"--from={tmp_path / 'none'}")


def test_versions_are_compared_as_numbers() -> None:
    assert (
        ytdlp_versions.numbers("2026.08.19")
        == ytdlp_versions.numbers("2026.8.19")
        == (2026, 8, 19)
    )
    assert ytdlp_versions.numbers("2026.10.1") > ytdlp_versions.numbers("2026.9.30.232323")


def test_pip_learns_no_secret() -> None:
    ours = {"SECRET_KEY": "s3cr3t", "PATH": "/bin", "PIP_INDEX_URL": "x", "https_proxy": "y"}
    assert ytdlp_versions.environment_of(ours).keys() == ours.keys() - {"SECRET_KEY"}
