"""`manage.py set_up`: all that a start needs of the project itself, each step in a line."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = (
        "Brings database and static files up to date; at the first run makes the account and "
        "the Demo channel."
    )
    # The steps of a first start come before what they would ask for.
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        self.step("bringing the database up to date")
        call_command("migrate", skip_checks=True, verbosity=0)
        self.step("collecting the static files, where they have changed")
        call_command("collectstatic", skip_checks=True, interactive=False, verbosity=0)
        self.step("looking for account and channels")
        call_command("setup_demo", skip_checks=True)

    def step(self, text: str) -> None:
        self.stdout.write(f"streamsite: {text}")
        self.stdout.flush()
