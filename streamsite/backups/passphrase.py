"""Asks for the passphrase of a backup. It is no argument: other users see a program's."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from django.core.management.base import CommandError

from streamsite.security.secret import Secret


def read_passphrase(file: Path | None, *, repeat: bool) -> Secret:
    """The first line of the file, or of the terminal. Raises `CommandError`."""
    if file is not None:
        try:
            return Secret(file.read_text().splitlines()[0])
        except (OSError, IndexError) as error:
            raise CommandError(f"{file} holds no passphrase: {error}.") from None
    if not sys.stdin.isatty():
        raise CommandError("Nobody can be asked here: name a file by --passphrase-file.")
    typed = getpass.getpass("Passphrase of the backup: ")
    if repeat and getpass.getpass("Once more: ") != typed:
        raise CommandError("The two passphrases differ: try again.")
    return Secret(typed)
