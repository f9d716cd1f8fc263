"""`manage.py backup`: the database, the settings and the keys in one file."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from streamsite.backups import archive, database
from streamsite.backups.database import BackupError
from streamsite.backups.passphrase import read_passphrase


class Command(BaseCommand):
    help = (
        "Writes a backup: database, settings and keys, all behind a passphrase. Media are not "
        "in it. The site may run meanwhile."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="the backup's file, which is replaced")
        parser.add_argument(
            "--passphrase-file",
            type=Path,
            help="its first line is the passphrase; without it you are asked",
        )
        parser.add_argument(
            "--database-only",
            action="store_true",
            help="copies the database alone, to a new file; its secrets stay encrypted",
        )

    def handle(
        self, *, file: Path, passphrase_file: Path | None, database_only: bool, **_: Any
    ) -> None:
        try:
            if database_only:
                database.copy(file.absolute())
            else:
                passphrase = read_passphrase(passphrase_file, repeat=True)
                archive.write(file.absolute(), passphrase, timezone.now())
        except BackupError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{file}: {file.stat().st_size} bytes")
