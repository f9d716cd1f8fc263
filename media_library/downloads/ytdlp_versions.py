"""yt-dlp's environments: streamsite's own, and newer ones in DATA_DIR/tools/yt-dlp.

    install beside ─▶ canary ─▶ switch (one file replaced) ─▶ roll back (the same file)

A job is given the path of its interpreter and keeps it; no environment that a process works
with is removed. All of it is this machine's: each machine that downloads is updated by itself.
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
from media_library.downloads.ytdlp_selftest import About, CanaryError
from media_library.jobs import slots
from streamsite.processes.task_queue import enqueue

logger = logging.getLogger(__name__)

#: As pyproject.toml has it: what solves YouTube's riddles, and speaks TLS as browsers do.
WANTED: Final = "yt-dlp[default,curl-cffi,deno]"
#: Seconds for an installation: deno alone is 40 MB.
PATIENCE: Final = 900
#: What pip may know of this process's environment; secrets are none of its business.
_HANDED_ON: Final = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "TMPDIR")
_HANDED_ON_WITH: Final = ("PIP_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


class UpdateError(Exception):
    """The environment stays as it was. `str()` says why and what to do."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which environment jobs get: names of folders; empty: streamsite's own."""

    current: str = ""
    previous: str = ""
    #: None was ever left for another: there is nothing to go back to.
    untouched: bool = True
    changed_at: str = ""
    #: What came of the last order, in words.
    said: str = ""


# ---- what jobs get ---------------------------------------------------------------------------


def python() -> str:
    """The interpreter that the next job's runner gets."""
    name = chosen().current
    return (name and _interpreter(name)) or sys.executable


def chosen() -> Choice:
    try:
        return Choice(**json.loads(_choice().read_text()))
    except FileNotFoundError:
        return Choice()
    except (OSError, ValueError, TypeError) as error:
        # Downloads go on with streamsite's own.
        logger.warning("%s can't be read: %s", _choice(), error)
        return Choice()


def lost(choice: Choice) -> bool:
    """It was made by another Python, or is gone: streamsite's own is used instead."""
    return bool(choice.current) and not _interpreter(choice.current)


def _home() -> Path:
    home: Path = settings.DATA_DIR / "tools" / "yt-dlp"
    return home


def _choice() -> Path:
    return _home() / "choice.json"


def _interpreter(name: str) -> str:
    """Of that environment; empty where it can't be used, as after an upgrade of Python."""
    folder = _home() / name
    packages = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = folder / "bin" / "python"
    return str(found) if found.exists() and (folder / "lib" / packages).is_dir() else ""


# ---- orders ----------------------------------------------------------------------------------


def order() -> bool:
    """Have a worker that downloads update its machine. False: the broker can't be reached."""
    return enqueue(
        "media_library.tasks.update_downloader",
        cluster=settings.DOWNLOADS_CLUSTER,
        timeout=-1,
    )


def update(now: datetime, *, source: Path | None = None) -> str:
    """Install the newest beside what is used, try it, and switch; says what came of it.

    `source`: a folder with wheels, for a machine without a package index. Raises `UpdateError`.
    """
    with _alone():
        before = about()
        name = f"{now:%Y%m%dT%H%M%S}-{token_hex(2)}"
        folder = _home() / name
        try:
            _make(folder)
            _pip(folder, "install", "--quiet", WANTED, source=source)
            new = _tried(str(folder / "bin" / "python"))
            stays = before is not None and numbers(new.version) <= numbers(before.version)
            last = _newest(folder, source) if stays else ""
        except UpdateError as error:
            shutil.rmtree(folder, ignore_errors=True)
            _say(str(error))
            raise
        if before is not None and stays:
            shutil.rmtree(folder, ignore_errors=True)
            return _say(_why_it_stays(before.version, last))
        said = f"yt-dlp {new.version} is used from now on, instead of {_named(before)}."
        # One that is lost is none to go back to: streamsite's own was used in its place.
        old = "" if lost(chosen()) else chosen().current
        _write(Choice(name, old, untouched=False, changed_at=_at(now), said=said))
        _tidy()
        return said


def roll_back(now: datetime) -> str:
    """Use what was used before; once more: the newer one again. Raises `UpdateError`."""
    with _alone():
        choice = chosen()
        if choice.untouched:
            raise UpdateError("Nothing was updated yet: there is nothing to go back to.")
        to = _interpreter(choice.previous) if choice.previous else sys.executable
        if not to:
            raise UpdateError("The environment before is gone: update instead.")
        try:
            found = ytdlp_selftest.about(to)
        except CanaryError as error:
            raise UpdateError(f"The one before can't be used: {error}") from None
        said = f"yt-dlp {found.version} is used from now on."
        _write(
            Choice(
                choice.previous,
                choice.current,
                untouched=False,
                changed_at=_at(now),
                said=said,
            )
        )
        return said


def newest(*, source: Path | None = None) -> str:
    """The version that an update would install. Raises `UpdateError`."""
    with TemporaryDirectory(prefix="streamsite-tool-") as name:
        folder = Path(name) / "environment"
        _make(folder)
        return _newest(folder, source)


def _newest(folder: Path, source: Path | None) -> str:
    report = ("--dry-run", "--ignore-installed", "--no-deps", "--report", "-")
    said = _pip(folder, "install", "--quiet", *report, "yt-dlp", source=source)
    try:
        return str(json.loads(said)["install"][0]["metadata"]["version"])
    except (ValueError, LookupError, TypeError):
        raise UpdateError("pip's answer can't be read: look at the log.") from None


def _why_it_stays(version: str, newest: str) -> str:
    if numbers(newest) <= numbers(version):
        return f"yt-dlp {version} is the newest there is: it stays."
    # pip takes an older one then, without a word.
    return (
        f"yt-dlp {newest} can't be installed yet, for the package index lacks what it needs: "
        f"{version} stays. Try again tomorrow."
    )


def about() -> About | None:
    """What jobs get, asked of itself; None where that can't be started."""
    with suppress(CanaryError):
        return ytdlp_selftest.about(python())
    return None


def numbers(version: str) -> tuple[int, ...]:
    """2026.08.19.1 as numbers: the index writes the same as 2026.8.19.1."""
    return tuple(int(each) for each in version.split(".") if each.isdecimal())


# ---- how -------------------------------------------------------------------------------------


@contextmanager
def _alone() -> Iterator[None]:
    """One order at a time on this machine. Raises `UpdateError`."""
    with slots.place("downloader", 1) as free:
        if not free:
            raise UpdateError("Another update is under way: wait until it is over.")
        yield


def _make(folder: Path) -> None:
    _run((sys.executable, "-m", "venv", str(folder)), "A virtual environment can't be made")


def _pip(folder: Path, command: str, *wanted: str, source: Path | None) -> str:
    where = () if source is None else ("--no-index", "--find-links", str(source.resolve()))
    newer = ("--pre",) if settings.YTDLP_NIGHTLY else ()
    return _run(
        (
            *(str(folder / "bin" / "python"), "-I", "-m", "pip", command),
            # Nothing that comes runs before it is tried: no setup.py.
            *("--only-binary", ":all:", "--no-input", "--disable-pip-version-check"),
            *newer,
            *where,
            *wanted,
        ),
        "yt-dlp can't be fetched: see whether this machine reaches the package index, or give "
        "a folder of wheels with --from",
    )


def _run(argv: tuple[str, ...], failing: str) -> str:
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
            env=_environment(os.environ),
        )
    except subprocess.TimeoutExpired:
        raise UpdateError(f"{failing}: it took longer than {PATIENCE} s.") from None
    except (OSError, subprocess.CalledProcessError) as error:
        told = getattr(error, "stderr", None) or str(error)
        # An address of an index may hold a password: it is in the log of nobody.
        last = plain(next(iter(reversed(told.strip().splitlines())), ""))
        raise UpdateError(f"{failing}. ({last})") from None
    return done.stdout


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in ours.items()
        if name in _HANDED_ON or name.upper().startswith(_HANDED_ON_WITH)
    }


def _tried(interpreter: str) -> About:
    try:
        return ytdlp_selftest.try_out(interpreter)
    except CanaryError as error:
        raise UpdateError(f"The new yt-dlp failed its trial and is not used: {error}") from None


def _named(found: About | None) -> str:
    return found.version if found else "one that could not be started"


def _at(now: datetime) -> str:
    return now.isoformat(timespec="seconds")


def _say(sentence: str) -> str:
    _write(Choice(**asdict(chosen()) | {"said": sentence}))
    return sentence


def _write(choice: Choice) -> None:
    """At once or not at all: both names stand in one file."""
    _home().mkdir(parents=True, exist_ok=True)
    new = _choice().with_suffix(".new")
    new.write_text(json.dumps(asdict(choice)))
    new.replace(_choice())


def _tidy() -> None:
    """Remove environments that are neither used, nor gone back to, nor at work."""
    choice = chosen()
    at_work = set[str]()
    for each in psutil.process_iter():
        with suppress(psutil.Error):
            at_work.update(each.cmdline()[:1])
    for folder in _home().iterdir():
        kept = folder.name in {choice.current, choice.previous} or not folder.is_dir()
        if not kept and str(folder / "bin" / "python") not in at_work:
            shutil.rmtree(folder, ignore_errors=True)
