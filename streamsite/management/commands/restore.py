"""`manage.py restore`: puts a backup's database and keys in place."""

from __future__ import annotations

import os
import time
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from streamsite.backups import archive, database
from streamsite.backups.database import BackupError
from streamsite.backups.passphrase import read_passphrase
from streamsite.maintenance import scheduled_backups
from streamsite.security.fields import unreadable_rows
from streamsite.security.secret import Secret

#: Names the bucket, in the place of a file.
BUCKET: Final = "bucket:"
NO_SETTINGS: Final = Secret("# The backup has no settings: they came from the environment.\n")
#: A cluster touches its file each minute at least.
ALIVE_S: Final = 120


class Command(BaseCommand):
    help = "Replaces the database and the keys by those of a backup. Stop the services first."
    # The database may be one that no check can read.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file",
            help="a file that `backup` has written; bucket: is the newest one in the bucket, "
            "bucket:NAME another",
        )
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

        parser.add_argument(
            "--database-only",
            action="store_true",
            help="the file is one of `backup --database-only`, such as upgrade.sh makes",
        )
        parser.add_argument(
            "--save-to",
            type=Path,
            help="writes the bucket's backup to this new file, and changes nothing else",
        )

    def handle(
        self, *, file: str, save_to: Path | None, database_only: bool, **options: Any
    ) -> None:
        try:
            if database_only:
                demand_stopped_services()
                database.restore(Path(file))
                call_command("migrate", verbosity=0, skip_checks=True)
                return
            if save_to is not None:
                scheduled_backups.fetch(file.removeprefix(BUCKET), save_to)
                return
            with TemporaryDirectory(prefix=".restore-", dir=settings.DATA_DIR) as folder:
                path = Path(file)
                if file.startswith(BUCKET):
                    path = Path(folder) / "backup"
                    scheduled_backups.fetch(file.removeprefix(BUCKET), path)
                self._restore(path, **options)
        except BackupError as error:
            raise CommandError(str(error)) from None

    def _restore(
        self, file: Path, *, passphrase_file: Path | None, settings_to: Path | None, **_: Any
    ) -> None:
        passphrase = read_passphrase(passphrase_file, repeat=False)
        if settings_to is not None:
            write_settings(archive.read(file, passphrase), settings_to)
            return
        demand_stopped_services()
        contents = archive.restore(file, passphrase)
        call_command("migrate", verbosity=0, skip_checks=True)
        self.stdout.write(
            f"The backup of {contents.made_at} (streamsite {contents.version}) is in place. "
            "Start the services: channels that were ordered on go on the air."
        )
        if settings.FIELD_KEYS_GIVEN and (lost := list(unreadable_rows())):
            self.stderr.write(
                f"FIELD_KEYS in the settings of this machine does not decrypt {len(lost)} of "
                "its secrets. Take that line away: the backup's keys are in "
                f"{settings.DATA_DIR / 'field_key'}."
            )


def write_settings(contents: archive.Contents, to: Path) -> None:
    """Raises `CommandError`."""
    text = contents.files.get("settings", NO_SETTINGS)
    try:
        with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(text.reveal())
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
