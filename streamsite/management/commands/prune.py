"""`manage.py prune`: removes rows whose time is over."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any, Final

from django.core.management.base import BaseCommand
from django.utils import timezone

from streamsite.maintenance import prune

#: Seconds: somebody waits for it, and may type it again.
TIMEOUT_S: Final = 3600.0


class Command(BaseCommand):
    help = (
        "Removes rows whose time is over (deploy/retention.md). A job does the same each hour."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="shows how many would go, and removes none"
        )

    def handle(self, *, dry_run: bool, **_: Any) -> None:
        now = timezone.now()
        result = prune.counts(now) if dry_run else prune.prune(now, TIMEOUT_S)
        for name, count in sorted(result.items()):
            self.stdout.write(f"{name:20}{count:>10}")
        verb = "would be removed" if dry_run else "are removed"
        self.stdout.write(f"{sum(result.values())} rows {verb}.")
