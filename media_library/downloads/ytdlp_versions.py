"""yt-dlp's environments: streamsite's own, and newer ones in DATA_DIR/tools/yt-dlp.

    install beside ─▶ self-test ─▶ switch (one file replaced) ─▶ roll back (the same file)

A job gets the path of its interpreter and keeps it; an environment that a process uses is never
removed. All of it belongs to this machine: each machine that downloads is updated separately.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Final

import psutil
from django.conf import settings

from media_library.downloads import ytdlp_selftest
from media_library.downloads.errors import plain
from media_library.downloads.ytdlp_selftest import About, SelfTestError
from media_library.jobs import slots
from streamsite.processes.task_queue import enqueue

logger = logging.getLogger(__name__)

#: As in pyproject.toml: with deno for YouTube's challenges, and curl-cffi for TLS like
#: browsers'.
REQUIREMENT: Final = "yt-dlp[default,curl-cffi,deno]"
#: Seconds for an installation: deno alone is 40 MB.
INSTALL_TIMEOUT_S: Final = 900
#: Environment variables that pip gets; never secrets.
_HANDED_ON: Final = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "TMPDIR")
_HANDED_ON_WITH: Final = ("PIP_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


class UpdateError(Exception):
    """The update failed, and the environment is unchanged. `str()` says why and what to do."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The environment for jobs: names of folders; empty: streamsite's own."""

    current: str = ""
    previous: str = ""
    #: True: there was no switch yet, so there is no previous environment.
    untouched: bool = True
    changed_at: str = ""
    #: Result of the last order, as a sentence.
    result: str = ""


# ---- the environment for jobs ----------------------------------------------------------------


def python() -> str:
    """Returns the interpreter for the next job's runner."""
    name = chosen().current
    return (name and _interpreter(name)) or sys.executable


def chosen() -> Choice:
    try:
        stored = json.loads(_choice().read_text())
        if "said" in stored:  # The result's name in files of earlier versions.
            stored["result"] = stored.pop("said")
        return Choice(**stored)
    except FileNotFoundError:
        return Choice()
    except (OSError, ValueError, TypeError) as error:
        # Downloads continue with streamsite's own.
        logger.warning("%s can't be read: %s", _choice(), error)
        return Choice()


def lost(choice: Choice) -> bool:
    """Returns whether the chosen environment is missing, or made by another Python."""
    return bool(choice.current) and not _interpreter(choice.current)


def _home() -> Path:
    home: Path = settings.DATA_DIR / "tools" / "yt-dlp"
    return home


def _choice() -> Path:
    return _home() / "choice.json"


def _interpreter(name: str) -> str:
    """Returns the environment's interpreter; empty if unusable, as after a Python upgrade."""
    folder = _home() / name
    packages = f"python{sys.version_info.major}.{sys.version_info.minor}"
    interpreter = folder / "bin" / "python"
    return (
        str(interpreter)
        if interpreter.exists() and (folder / "lib" / packages).is_dir()
        else ""
    )


# ---- orders ----------------------------------------------------------------------------------


def order() -> bool:
    """Enqueues an update of a worker's machine. False: the broker can't be reached."""
    return enqueue(
        "media_library.tasks.update_downloader",
        cluster=settings.DOWNLOADS_CLUSTER,
        timeout=-1,
    )


def update(now: datetime, *, source: Path | None = None) -> str:
    """Installs the newest yt-dlp beside the current one, tests it, and switches.

    Returns the result as a sentence. `source`: a folder with wheels, for a machine without a
    package index. Raises `UpdateError`.
    """
    with _alone():
        before = about()
        name = f"{now:%Y%m%dT%H%M%S}-{token_hex(2)}"
        folder = _home() / name
        try:
            _make(folder)
            _pip(folder, "install", "--quiet", REQUIREMENT, source=source)
            new = _tried(str(folder / "bin" / "python"))
            stays = before is not None and numbers(new.version) <= numbers(before.version)
            last = _newest(folder, source) if stays else ""
        except UpdateError as error:
            shutil.rmtree(folder, ignore_errors=True)
            _record(str(error))
            raise
        if before is not None and stays:
            shutil.rmtree(folder, ignore_errors=True)
            return _record(_why_it_stays(before.version, last))
        result = f"yt-dlp {new.version} is used from now on, instead of {_named(before)}."
        # A missing environment is no previous one: streamsite's own was used in its place.
        old = "" if lost(chosen()) else chosen().current
        write_choice(Choice(name, old, untouched=False, changed_at=_at(now), result=result))
        tidy()
        return result


def roll_back(now: datetime) -> str:
    """Switches to the previous environment, or back again. Raises `UpdateError`."""
    with _alone():
        choice = chosen()
        if choice.untouched:
            raise UpdateError("There was no update yet: there is no previous yt-dlp.")
        interpreter = _interpreter(choice.previous) if choice.previous else sys.executable
        if not interpreter:
            raise UpdateError("The previous environment is missing: update instead.")
        try:
            about = ytdlp_selftest.about(interpreter)
        except SelfTestError as error:
            raise UpdateError(f"The previous yt-dlp can't be used: {error}") from None
        result = f"yt-dlp {about.version} is used from now on."
        write_choice(
            Choice(
                choice.previous,
                choice.current,
                untouched=False,
                changed_at=_at(now),
                result=result,
            )
        )
        return result


def newest(*, source: Path | None = None) -> str:
    """Returns the version that an update would install. Raises `UpdateError`."""
    with TemporaryDirectory(prefix="streamsite-tool-") as name:
        folder = Path(name) / "environment"
        _make(folder)
        return _newest(folder, source)


def _newest(folder: Path, source: Path | None) -> str:
    report = ("--dry-run", "--ignore-installed", "--no-deps", "--report", "-")
    output = _pip(folder, "install", "--quiet", *report, "yt-dlp", source=source)
    try:
        return str(json.loads(output)["install"][0]["metadata"]["version"])
    except (ValueError, LookupError, TypeError):
        raise UpdateError("pip's answer can't be read: check the log.") from None


def _why_it_stays(version: str, newest: str) -> str:
    if numbers(newest) <= numbers(version):
        return f"yt-dlp {version} is the newest version: it stays."
    # pip then silently installs an older one.
    return (
        f"yt-dlp {newest} can't be installed yet, because the package index lacks a "
        f"dependency: {version} stays. Try again tomorrow."
    )


def about() -> About | None:
    """Returns the versions that jobs use; None if yt-dlp can't be started."""
    with suppress(SelfTestError):
        return ytdlp_selftest.about(python())
    return None


def numbers(version: str) -> tuple[int, ...]:
    """Returns 2026.08.19.1 as numbers: the index writes the same version as 2026.8.19.1."""
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


# ---- installation ----------------------------------------------------------------------------


@contextmanager
def _alone() -> Iterator[None]:
    """Allows one order at a time on this machine. Raises `UpdateError`."""
    with slots.slot("downloader", 1) as free:
        if not free:
            raise UpdateError("Another update is running: wait until it is over.")
        yield


def _make(folder: Path) -> None:
    _run(
        (sys.executable, "-m", "venv", "--without-pip", str(folder)),
        "A virtual environment can't be created",
    )


def _pip(folder: Path, command: str, *packages: str, source: Path | None) -> str:
    where = () if source is None else ("--no-index", "--find-links", str(source.resolve()))
    newer = ("--pre",) if settings.YTDLP_NIGHTLY else ()
    return _run(
        (
            *(sys.executable, "-I", "-m", "pip", "--python", str(folder / "bin" / "python")),
            command,
            # No code of a package runs before the self-test: no setup.py.
            *("--only-binary", ":all:", "--no-input", "--disable-pip-version-check"),
            *newer,
            *where,
            *packages,
        ),
        "yt-dlp can't be downloaded: check whether this machine reaches the package index, or "
        "give a folder of wheels with --from",
    )


def _run(argv: tuple[str, ...], failing: str) -> str:
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
            check=True,
            env=environment_of(os.environ),
        )
    except subprocess.TimeoutExpired:
        raise UpdateError(f"{failing}: it took longer than {INSTALL_TIMEOUT_S} s.") from None
    except (OSError, subprocess.CalledProcessError) as error:
        message = getattr(error, "stderr", None) or str(error)
        # An index's URL may contain a password: it is never logged.
        last = plain(next(iter(reversed(message.strip().splitlines())), ""))
        raise UpdateError(f"{failing}. ({last})") from None
    return done.stdout


def environment_of(ours: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in ours.items()
        if name in _HANDED_ON or name.upper().startswith(_HANDED_ON_WITH)
    }


def _tried(interpreter: str) -> About:
    try:
        return ytdlp_selftest.try_out(interpreter)
    except SelfTestError as error:
        raise UpdateError(f"The new yt-dlp failed its test and is not used: {error}") from None


def _named(about: About | None) -> str:
    return about.version if about else "one that could not be started"


def _at(now: datetime) -> str:
    return now.isoformat(timespec="seconds")


def _record(sentence: str) -> str:
    write_choice(Choice(**asdict(chosen()) | {"result": sentence}))
    return sentence


def write_choice(choice: Choice) -> None:
    """Writes both names atomically, in one file."""
    _home().mkdir(parents=True, exist_ok=True)
    new = _choice().with_suffix(".new")
    new.write_text(json.dumps(asdict(choice)))
    new.replace(_choice())


def tidy() -> None:
    """Removes environments that are neither current, nor previous, nor in use."""
    choice = chosen()
    at_work = set[str]()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            at_work.update(process.cmdline()[:1])
    for folder in _home().iterdir():
        kept = folder.name in {choice.current, choice.previous} or not folder.is_dir()
        if not kept and str(folder / "bin" / "python") not in at_work:
            shutil.rmtree(folder, ignore_errors=True)
