"""The environment, read once and judged: every wrong value is a sentence that stops the start."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import environ
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")
LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class Environment:
    """Reads settings from the process's environment, and from `.env` where that says nothing."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self._env = environ.Env()
        dotenv = Path(os.environ.get("ENV_FILE", base / ".env"))
        if dotenv.is_file():
            environ.Env.read_env(dotenv)

    def _read(self, name: str, read: Callable[[], T], wanted: str) -> T:
        try:
            return read()
        except (ValueError, TypeError, KeyError):
            given = os.environ.get(name, "")
            raise ImproperlyConfigured(f"{name} is {given!r}, but must be {wanted}.") from None

    def text(self, name: str, default: str = "") -> str:
        return self._env.str(name, default=default).strip()

    def secret(self, name: str) -> str:
        """Like `text`, and taken out of the environment, so that no child inherits it."""
        value = self.text(name)
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        known = {"true": True, "1": True, "yes": True, "on": True}
        known |= {"false": False, "0": False, "no": False, "off": False, "": default}
        return self._read(
            name, lambda: known[self.text(name, "").lower()], "true or false"
        )

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        def read() -> int:
            value = int(self.text(name) or default)
            if not least <= value <= most:
                raise ValueError(name)
            return value

        return self._read(name, read, f"a whole number from {least} to {most}")

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        def read() -> str:
            value = self.text(name) or default
            if value not in choices:
                raise ValueError(name)
            return value

        return self._read(name, read, "one of " + ", ".join(choices))

    def words(self, name: str, default: tuple[str, ...] = ()) -> list[str]:
        """A comma-separated list."""
        given = [word.strip() for word in self.text(name).split(",") if word.strip()]
        return given or list(default)

    def folder(self, name: str, default: Path) -> Path:
        path = Path(self.text(name) or default)
        return path if path.is_absolute() else self.base / path


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
