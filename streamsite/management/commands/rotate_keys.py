"""`manage.py rotate_keys`: another key for the stored secrets, step by step."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from streams.models import Node
from streams.monitoring.worker_silence import FRESH
from streamsite.config.env import new_field_key
from streamsite.security import rotation

#: Seconds for a playout service that has just been restarted to report.
RESTART_TIMEOUT_S: Final = 60.0
#: Secrets between two lines of progress.
PROGRESS: Final = 500


class Command(BaseCommand):
    help = (
        "Step 1, while there is one key: makes another. Restart the services then. Step 2: "
        "encrypts all stored secrets with the new key. Step 3, with --drop-old: removes the "
        "old key. Each step may be broken off and repeated."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--drop-old", action="store_true", help="removes the old keys when all is done"
        )

    def handle(self, *, drop_old: bool, **_: Any) -> None:
        file: Path = settings.DATA_DIR / "field_key"
        keys: list[str] = settings.FIELD_KEYS
        if len(keys) == 1 and not drop_old:
            self._make_key(file, keys)
            return
        demand_restart(settings.SETTINGS_FILE if settings.FIELD_KEYS_GIVEN else file)
        self._reencrypt()
        if len(keys) == 1:
            return
        if not drop_old or settings.FIELD_KEYS_GIVEN:
            where = (
                f"FIELD_KEYS in {settings.SETTINGS_FILE}" if settings.FIELD_KEYS_GIVEN else file
            )
            self.stdout.write(
                f"The first key alone is needed now: the others may be removed from {where}. "
                "Keep them with backups that are older."
            )
            return
        rotation.write_keys(file, keys[:1])
        self.stdout.write(f"The old keys are removed from {file}. Restart the services.")

    def _make_key(self, file: Path, keys: list[str]) -> None:
        if settings.FIELD_KEYS_GIVEN:
            raise CommandError(
                f"Put a new key before the one of FIELD_KEYS in {settings.SETTINGS_FILE}, with "
                "a comma between them, restart the services, and type this again. "
                "deploy/rotate_keys.sh does all of it."
            )
        rotation.write_keys(file, [new_field_key(), *keys])
        self.stdout.write(
            f"A new key stands first in {file}. Restart the services, so that they can read "
            "what it encrypts, and type this again."
        )

    def _reencrypt(self) -> None:
        count = 0
        for stored in rotation.outdated():
            count += stored.reencrypt()
            if count and count % PROGRESS == 0:
                self.stdout.write(f"{count} ...")
        # Asked once more: a service that was not restarted may have written meanwhile.
        left = [str(stored) for stored in rotation.outdated()]
        self.stdout.write(f"{count} secrets are encrypted with the first key.")
        if left:
            raise CommandError(
                f"{len(left)} are not: {'; '.join(left)}. If no key decrypts them, put the old "
                "key back or type them again; otherwise type this again."
            )


def demand_restart(file: Path) -> None:
    """Waits until this machine's playout has read the keys. Raises `CommandError`."""
    try:
        changed = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except FileNotFoundError:
        # The keys come from the environment.
        return
    until = time.monotonic() + RESTART_TIMEOUT_S
    while Node.objects.filter(
        name=settings.NODE_NAME, started_at__lt=changed, seen_at__gt=timezone.now() - FRESH
    ).exists():
        if time.monotonic() > until:
            raise CommandError(
                f"The playout service was started before {file} was changed, so it can't read "
                "what the new key encrypts: restart the services, and type this again."
            )
        time.sleep(1)
