"""`manage.py restore`: puts a backup's database and keys in place."""

from __future__ import annotations

import os
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from streamsite.backups import archive
from streamsite.backups.database import BackupError
from streamsite.backups.passphrase import read_passphrase

#: A cluster touches its file each minute at least.
ALIVE_S: Final = 120


class Command(BaseCommand):
    help = "Replaces the database and the keys by those of a backup. Stop the services first."
    # The database may be one that no check can read.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="a file that `backup` has written")
        parser.add_argument(
            "--passphrase-file",
            type=Path,
            help="its first line is the passphrase; without it you are asked",
        )
        parser.add_argument(
            "--settings-to",
            type=Path,
            help="writes the backup's settings to this new file, and changes nothing else",
        )

    def handle(
        self, *, file: Path, passphrase_file: Path | None, settings_to: Path | None, **_: Any
    ) -> None:
        passphrase = read_passphrase(passphrase_file, repeat=False)
        try:
            if settings_to is not None:
                write_settings(archive.read(file, passphrase), settings_to)
                return
            demand_stopped_services()
            contents = archive.restore(file, passphrase)
        except BackupError as error:
            raise CommandError(str(error)) from None
        call_command("migrate", verbosity=0, skip_checks=True)
        self.stdout.write(
            f"The backup of {contents.made_at} (streamsite {contents.version}) is in place. "
            "Start the services: channels that were ordered on go on the air."
        )


def write_settings(contents: archive.Contents, to: Path) -> None:
    """Raises `CommandError`."""
    if "settings" not in contents.files:
        raise CommandError("There are no settings in it: they came from the environment.")
    try:
        with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(contents.files["settings"].reveal())
    except OSError as error:
        raise CommandError(f"{to} can't be written: {error.strerror}.") from None


def demand_stopped_services() -> None:
    """Raises `CommandError` while a cluster of this machine works."""
    for name in ("playout", "jobs", "downloads"):
        try:
            age = time.time() - (settings.RUN_DIR / f"{name}.alive").stat().st_mtime
        except FileNotFoundError:
            continue
        if 0 <= age < ALIVE_S:
            raise CommandError(
                f"The {name} service worked {age:.0f} s ago: stop the services first, for they "
                "would write into the restored database."
            )
