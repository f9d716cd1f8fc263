"""Copies and restores the database while the site runs, by the database's own means."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import connections

#: Seconds for PostgreSQL's programs: a library of a million items takes a minute.
TIMEOUT_S: Final = 3600
#: Pages of SQLite's file that are copied before writers get a turn, and the pause after that.
PAGES: Final = 4096
PAUSE_S: Final = 0.01
#: Django's names, and those of PostgreSQL's programs.
PG_NAMES: Final = {"HOST": "PGHOST", "PORT": "PGPORT", "USER": "PGUSER", "NAME": "PGDATABASE"}


class BackupError(Exception):
    """The copy can't be made or restored. `str()` says why and what to do."""


def engine() -> str:
    """Returns "sqlite" or "postgresql"."""
    return "sqlite" if "sqlite" in _database()["ENGINE"] else "postgresql"


def copy(to: Path) -> None:
    """Writes a consistent copy to a new file that only its owner can read.

    SQLite: a database file. PostgreSQL: an archive of pg_dump. Raises `BackupError`.
    """
    try:
        os.close(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise BackupError(f"{to} can't be written: {error.strerror}.") from None
    try:
        if engine() == "sqlite":
            _copy_sqlite(Path(_database()["NAME"]), to)
        else:
            _run("pg_dump", "--format=custom", "--no-owner", f"--file={to}")
    except BaseException:
        to.unlink(missing_ok=True)
        raise


def restore(source: Path) -> None:
    """Replaces the database by that copy. Nothing else may use it. Raises `BackupError`."""
    connections.close_all()
    if engine() == "sqlite":
        _check_sqlite(source)
        _copy_sqlite(source, Path(_database()["NAME"]))
    else:
        # All in one transaction: what breaks off leaves the tables as they were. They go first,
        # for a newer version may have some that the backup does not.
        with tempfile.TemporaryDirectory(prefix=".restore-", dir=settings.DATA_DIR) as name:
            script = Path(name) / "script.sql"
            _run("pg_restore", "--no-owner", f"--file={script}", str(source))
            _run(
                *("psql", "--no-psqlrc", "--quiet", "--single-transaction"),
                *("--set=ON_ERROR_STOP=1", "--output=/dev/null"),
                "--command=DROP SCHEMA public CASCADE; CREATE SCHEMA public",
                f"--file={script}",
            )


def _database() -> Mapping[str, Any]:
    database: Mapping[str, Any] = connections["default"].settings_dict
    return database


def _copy_sqlite(source: Path, to: Path) -> None:
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as read,
            closing(sqlite3.connect(to)) as write,
        ):
            read.backup(write, pages=PAGES, sleep=PAUSE_S)
    except sqlite3.Error as error:
        raise BackupError(f"{source} could not be copied to {to}: {error}.") from None


def _check_sqlite(source: Path) -> None:
    try:
        with closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as database:
            (verdict,) = database.execute("PRAGMA quick_check").fetchone()
    except sqlite3.Error as error:
        raise BackupError(f"{source} is no SQLite database: {error}.") from None
    if verdict != "ok":
        raise BackupError(f"{source} is damaged ({verdict}): take another backup.")


def _run(program: str, *arguments: str) -> None:
    database = _database()
    with _password_file(database) as password:
        environment = {
            name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ
        }
        environment |= {
            pg: str(database[name]) for name, pg in PG_NAMES.items() if database.get(name)
        }
        environment["PGPASSFILE"] = password
        try:
            done = subprocess.run(
                (program, *arguments),
                env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                timeout=TIMEOUT_S, check=False,
            )  # fmt: skip
        except FileNotFoundError:
            raise BackupError(
                f"{program} is not on this machine. Type, as root: apt-get install --yes "
                "postgresql-client"
            ) from None
        except subprocess.TimeoutExpired:
            raise BackupError(f"{program} took longer than {TIMEOUT_S} s.") from None
    if done.returncode:
        raise BackupError(f"{program} has failed: {done.stderr.strip()[-500:]}")


@contextmanager
def _password_file(database: Mapping[str, Any]) -> Iterator[str]:
    """PostgreSQL's programs read the password from a file: others see an environment."""
    fields: Sequence[str] = ("*", "*", "*", "*", str(database.get("PASSWORD") or ""))
    escaped = (field.replace("\\", r"\\").replace(":", r"\:") for field in fields)
    with tempfile.NamedTemporaryFile("w", prefix="streamsite-pgpass-") as file:
        file.write(":".join(escaped) + "\n")
        file.flush()
        yield file.name
