from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from streamsite.accounts.shell_user import shell_user
from streamsite.api import audit, keys
from streamsite.api.permissions import KeyPermission


class Command(BaseCommand):
    help = "Mints a key of the API. The key is the last line; it is shown once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="The person or program that uses it.")
        parser.add_argument(
            "--permissions",
            "--level",
            choices=[permission.value for permission in KeyPermission],
            default=KeyPermission.READ_ONLY.value,
            help="deploy/api.md has the table. The option was called --level.",
        )
        parser.add_argument("--days", type=float, help="It expires after so many days.")
        parser.add_argument(
            "--address",
            action="append",
            default=[],
            help="It is taken from this address or network only. Several may be given.",
        )

        parser.add_argument(
            "--channel",
            action="append",
            default=[],
            metavar="SLUG",
            help="It is good for this channel only. Several may be given.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        try:
            expires = now + timedelta(days=options["days"]) if options["days"] else None
            with transaction.atomic():
                row, key = keys.mint(
                    options["name"],
                    KeyPermission(options["permissions"]),
                    by="create_api_key",
                    now=now,
                    expires_at=expires,
                    allowed_addresses=options["address"],
                    channels=options["channel"],
                )
                audit.record(audit.Event.ADDED, shell_user(), f"API key {row} minted.", [row])
        except OverflowError:
            raise CommandError("--days is too many: leave it out for a key for good.") from None
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        until = f"until {row.expires_at:%Y-%m-%d %H:%M} UTC" if row.expires_at else "for good"
        self.stdout.write(f"API key {row}, {row.permissions}, {until}:")
        self.stdout.write(key.reveal())
