from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from streams.management.channel_command import ChannelCommand
from streams.monitoring import as_run_export


class Command(ChannelCommand):
    help = "Write a channel's as-run log as CSV to the standard output."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        written = "a day (2026-03-01) or a time (2026-03-01T20:15) in the channel's time zone"
        parser.add_argument(
            "--from",
            dest="since",
            default="",
            help=f"{written}. Default: 7 days before the end.",
        )
        parser.add_argument(
            "--to",
            dest="until",
            default="",
            help=f"{written}. A day is included as a whole. Default: now.",
        )

    def handle(self, *, slug: str | None, since: str, until: str, **_: Any) -> None:
        channel = self.channel(slug)
        try:
            begins, ends = as_run_export.span(
                since, until, now=timezone.now(), zone=channel.zone
            )
        except as_run_export.SpanError as error:
            raise CommandError(str(error)) from None
        for line in as_run_export.lines(channel, begins, ends):
            self.stdout.write(line, ending="")
