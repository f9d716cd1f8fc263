from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from streams.models import Output, PlatformAccount
from streams.platforms import reports


class Command(BaseCommand):
    help = "List what the platforms say about each output that has an account."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="Ask the platforms first, where it is due."
        )

    def handle(self, *, check: bool, **options: Any) -> None:
        if check:
            for account in PlatformAccount.objects.order_by("name"):
                self.stdout.write(f"{account}: {reports.check(account.pk)}")
        now = timezone.now()
        rows = Output.objects.exclude(account=None).select_related("channel", "platform_report")
        if not rows:
            self.stdout.write(
                "No output has a platform account. Choose one on an output's page to know "
                "whether viewers see it."
            )
        for output in rows.order_by("channel__name", "pk"):
            report = getattr(output, "platform_report", None)
            level = report.level_at(now) if report else "unknown"
            sentence = report.sentence_at(now) if report else "It was not asked yet."
            self.stdout.write(f"{output}: {level}. {sentence}")
