"""The environment, read once and judged: a wrong value is a sentence that stops the start."""

from __future__ import annotations

import grp
import os
import re
import secrets
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Final, TypeVar
from zoneinfo import available_timezones

import environ
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

from streamsite.security.file_modes import private_database, private_folder
from streamsite.security.secret import Secret

T = TypeVar("T")
LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
#: The lines of a .env file that django-environ understands.
_ENV_LINE: Final = re.compile(r"(export )?[A-Za-z_0-9]+=.*|#.*|")
#: A comment behind a value that is not quoted: it would be a part of it.
_COMMENTED: Final = re.compile(r"(export )?[A-Za-z_0-9]+=([^'\"].*)?\s#.*")
DATABASE_SCHEMES: Final = ("sqlite:///", "postgres://", "postgresql://")


def values_of(path: Path) -> dict[str, str]:
    """The names and values of a .env file; {} where there is none."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{path} can't be read: {error}.") from None
    for number, line in enumerate(lines, 1):
        if not _ENV_LINE.fullmatch(line):
            # The line itself is not shown: it may hold a secret.
            raise ImproperlyConfigured(
                f"{path}, line {number}: write NAME=value, without spaces around the '='."
            )
        if _COMMENTED.fullmatch(line):
            raise ImproperlyConfigured(
                f"{path}, line {number}: a comment stands on a line of its own. If the '#' "
                "is a part of the value, put quotes around that."
            )

    class File(environ.Env):  # type: ignore[misc]  # the parent has no types
        # Not os.environ: what the file says must not reach the environment of any child.
        ENVIRON: dict[str, str] = {}  # noqa: RUF012 - django-environ's own class attribute

    File.read_env(path)
    return File.ENVIRON


class Environment:
    """Settings from the process's environment, and from `.env` where that says nothing.

    Each method raises `ImproperlyConfigured` with a sentence that names the setting. A name
    that is set, but empty, counts as not set.
    """

    def __init__(self, base: Path, given: Mapping[str, str] | None = None) -> None:
        given = os.environ if given is None else given
        self.base = base
        self.file = base / given.get("ENV_FILE", ".env")
        self._values = values_of(self.file) | {
            name: value for name, value in given.items() if value
        }
        #: Every name that was asked for, with its default as one would type it.
        self.defaults: dict[str, str] = {}
        #: What may stand there, by the same names: deploy/settings.md shows it.
        self.kinds: dict[str, str] = {}

    def _read(self, name: str, default: str, read: Callable[[str], T], expected: str) -> T:
        given = self.text(name, default)
        try:
            return read(given)
        except (ValueError, KeyError):
            raise ImproperlyConfigured(
                f"{name} is {given!r}, but must be {expected}."
            ) from None

    def text(self, name: str, default: str = "") -> str:
        self.defaults[name] = default
        self.kinds.setdefault(name, "text")
        return self._values.get(name, "").strip() or default

    def secret(self, name: str) -> Secret:
        self.kinds[name] = "secret"
        return Secret(self.text(name))

    def flag(self, name: str, *, default: bool) -> bool:
        values = {"true": True, "1": True, "yes": True, "on": True}
        self.kinds[name] = "`true`, `false`"
        values |= {"false": False, "0": False, "no": False, "off": False}
        return self._read(
            name, str(default).lower(), lambda given: values[given.lower()], "true or false"
        )

    def port(self, name: str, default: int) -> int:
        return self.whole(name, default, 1, 65535, "(port)")

    def whole(self, name: str, default: int, least: int, most: int, unit: str = "") -> int:
        """A whole number; `unit` is what it counts."""
        self.kinds[name] = f"{least} to {most} {unit}"

        def read(given: str) -> int:
            value = int(given)
            if not least <= value <= most:
                raise ValueError(name)
            return value

        return self._read(name, str(default), read, f"a whole number from {least} to {most}")

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        def read(given: str) -> str:
            if given not in choices:
                raise ValueError(name)
            return given

        self.kinds[name] = ", ".join(f"`{choice}`" for choice in choices)
        return self._read(name, default, read, "one of " + ", ".join(choices))

    def time_zone(self, name: str, default: str) -> str:
        def read(given: str) -> str:
            if given not in available_timezones():
                raise ValueError(name)
            return given

        self.kinds[name] = "a time zone"
        return self._read(name, default, read, "a time zone's name, such as Europe/London")

    def url(self, name: str, default: str, schemes: tuple[str, ...]) -> str:
        """An address, which may hold a password: a wrong one is told without its value."""
        given = self.text(name, default)
        self.kinds[name] = "an address: " + ", ".join(f"`{scheme}`" for scheme in schemes)
        if given and not given.startswith(schemes):
            raise ImproperlyConfigured(f"{name} must begin with {' or '.join(schemes)}.")
        return given

    def words(self, name: str, default: str = "") -> list[str]:
        """A comma-separated list."""
        self.kinds[name] = "words with commas between"
        return [word.strip() for word in self.text(name, default).split(",") if word.strip()]

    def ports(self, name: str, default: str) -> tuple[int, ...]:
        def read(given: str) -> tuple[int, ...]:
            ports = tuple(int(word) for word in given.split(","))
            if not all(0 < port < 65536 for port in ports):  # noqa: PLR2004 - the last port
                raise ValueError(name)
            return ports

        self.kinds[name] = "ports with commas between"
        return self._read(name, default, read, "port numbers with commas between")

    def networks(self, name: str) -> tuple[IPv4Network | IPv6Network, ...]:
        def read(given: str) -> tuple[IPv4Network | IPv6Network, ...]:
            words = [word.strip() for word in given.split(",") if word.strip()]
            return tuple(ip_network(word) for word in words)

        self.kinds[name] = "networks with commas between"
        return self._read(name, "", read, "networks with commas between, such as 10.1.0.0/16")

    def group(self, name: str) -> int | None:
        """The number of a group of this machine; None where none is named."""
        given = self.text(name)
        self.kinds[name] = "a group of this machine"
        try:
            return grp.getgrnam(given).gr_gid if given else None
        except KeyError:
            raise ImproperlyConfigured(
                f"{name} is {given!r}, and this machine has no such group: addgroup --system "
                f"{given}"
            ) from None

    def folder(self, name: str, default: str = "", *, otherwise: Path | None = None) -> Path:
        """A folder; a relative one lies in the project's. `otherwise`: where it is empty."""
        given = self.text(name, default)
        self.kinds[name] = "a folder"
        if not given and otherwise is not None:
            return otherwise
        return self.base / Path(given).expanduser()

    def keys(self, name: str, fallback: Callable[[], str]) -> list[str]:
        """Fernet keys: the first encrypts, all of them decrypt."""
        keys = self.words(name) or fallback().split(",")
        self.kinds[name] = "secrets with commas between"
        for key in keys:
            try:
                Fernet(key)
            except ValueError:
                raise ImproperlyConfigured(
                    f"{name} holds something that is no key: each must be 32 bytes in base64. "
                    "Make one with: python3 -c 'import base64, os; "
                    "print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"
                ) from None
        return keys

    def database(self, name: str, fallback: Path) -> dict[str, Any]:
        """Django's form of the database's address; an SQLite file at `fallback` without one."""
        given = self.url(name, "", DATABASE_SCHEMES)
        self.kinds[name] = f"a secret {self.kinds[name]}".replace(" an ", " ")
        database: dict[str, Any] = {"ENGINE": "django.db.backends.sqlite3", "NAME": fallback}
        if given:
            try:
                database = dict(environ.Env.db_url_config(given))
            except ValueError:
                database = {"NAME": ""}
        if not database["NAME"]:
            raise ImproperlyConfigured(
                f"{name} can't be read: write sqlite:///file or postgres://user:password@host/name,"
                " and special characters of the password as %XX."
            )
        if "sqlite" in database["ENGINE"] and database["NAME"] != ":memory:":
            file = self.base / database["NAME"]
            made(file.parent, f"{name} or DATA_DIR")
            try:
                private_database(file)
            except OSError as error:
                raise ImproperlyConfigured(
                    f"{file} can't be opened: {error.strerror}. Give it to the user that runs "
                    f"streamsite, or set {name} or DATA_DIR to a place of yours."
                ) from None
            database["NAME"] = str(file)
        return database


def private(folder: Path, name: str) -> Path:
    """As `made`, and closed to all others."""
    try:
        private_folder(folder)
    except OSError as error:
        raise ImproperlyConfigured(
            f"{folder} can't be made: {error.strerror}. Set {name} to a place of yours."
        ) from None
    return folder


def made(folder: Path, name: str) -> Path:
    """The folder, made if it is missing; `name` is the setting that can move it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(
            f"{folder} can't be made: {error.strerror}. Set {name} to a place of yours."
        ) from None
    return folder


def kept(path: Path, make: Callable[[], str]) -> str:
    """A value made at the first start and kept in a file that only its owner reads."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ImproperlyConfigured(f"{path} can't be read: {error.strerror}.") from None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(make())
        try:
            # A link fails where the file is there already: two processes agree on the first.
            path.hardlink_to(draft)
        except FileExistsError:
            return path.read_text().strip()
        finally:
            draft.unlink()
        return path.read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"{path} can't be written: {error.strerror}. Set DATA_DIR to a folder of yours."
        ) from None


def new_django_key() -> str:
    return secrets.token_urlsafe(50)


def new_field_key() -> str:
    return Fernet.generate_key().decode()


def broker(url: str) -> dict[str, Any]:
    """Returns django-q2's settings of the queue's server; "" is the database."""
    if not url:
        return {"orm": "default"}
    if url.startswith("sqs://"):
        # Keys come from the machine's role, or as botocore finds them.
        region = url.removeprefix("sqs://").strip("/")
        return {
            "sqs": {"aws_region": region},
            "broker_class": "streamsite.processes.sqs.Sqs",
        }
    return {"redis": url}
