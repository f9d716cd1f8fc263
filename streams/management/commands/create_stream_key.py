from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from streams.ingest import addresses, keys, report
from streams.models import Broadcaster
from streamsite.accounts.shell_user import shell_user
from streamsite.api import audit


class Command(BaseCommand):
    help = "Create a stream key for a broadcaster. The last line is the key; it is shown once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug", help="The broadcaster's path without live/.")
        parser.add_argument(
            "--create", action="store_true", help="Create the broadcaster if missing."
        )
        parser.add_argument("--label", default="", help="For example: OBS at home.")
        parser.add_argument("--hours", type=float, help="Hours after which the key expires.")
        parser.add_argument("--once", action="store_true", help="The key is for one use.")

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        broadcaster = self.broadcaster(options["slug"], create=options["create"])
        try:
            expires = now + timedelta(hours=options["hours"]) if options["hours"] else None
        except OverflowError:
            raise CommandError(
                "--hours is too large. Omit it for a key that does not expire."
            ) from None
        with transaction.atomic():
            row, key = keys.mint(
                broadcaster,
                by="create_stream_key",
                now=now,
                label=options["label"][:80],
                expires_at=expires,
                single_use=options["once"],
            )
            sentence = f"Stream key {row} minted."
            audit.record(audit.Event.ADDED, shell_user(), sentence, [broadcaster])
        self.stdout.write(f"Stream key {row} of {broadcaster.name}:")
        for field in addresses.publish(
            settings.INGEST_SERVER,
            settings.PUBLIC_INGEST_URL,
            broadcaster.path,
            key,
            report.ports(),
        ):
            self.stdout.write(f"{field.program}, {field.name.lower()}: {field.value}")
        self.stdout.write(key.reveal())

    def broadcaster(self, slug: str, *, create: bool) -> Broadcaster:
        existing = Broadcaster.objects.filter(slug=slug).first()
        if existing is not None:
            return existing
        if not create:
            raise CommandError(f"There is no broadcaster {slug}. Add --create to create it.")
        made = Broadcaster(name=slug, slug=slug)
        try:
            made.full_clean()
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        made.save()
        return made
