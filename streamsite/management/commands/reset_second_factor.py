from __future__ import annotations

import getpass
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from streamsite.accounts import factors


class Command(BaseCommand):
    help = "Removes the second factors of a user who lost them: the password alone logs in."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="The user's name.")

    def handle(self, *, name: str, **_: Any) -> None:
        user = User.objects.filter(username=name).first()
        if user is None:
            raise CommandError(f"There is no user {name}.")
        try:
            by = f"{getpass.getuser()} (command)"
        except (KeyError, OSError):
            by = "command"
        count = factors.reset(user, by)
        self.stdout.write(f"{name}: {count} second factor{'' if count == 1 else 's'} removed.")
