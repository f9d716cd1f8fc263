from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any, Final

from django.core.management.base import CommandError
from django.utils import timezone

from streams.control import actions
from streams.management.channel_command import ChannelCommand, noted
from streams.models import Channel
from streams.monitoring.report import ChannelReport, report
from streamsite.accounts.shell_user import shell_user

#: Seconds between two polls: a worker writes its rows every 2 s.
POLL_INTERVAL_S: Final = 0.25


class Command(ChannelCommand):
    help = "Order a channel on. The node's playout worker carries it out."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--wait",
            type=float,
            metavar="SECONDS",
            help="Wait until the channel is on air; exit with status 1 after this time.",
        )

    def handle(self, *, slug: str | None, wait: float | None, **_: Any) -> None:
        channel = self.channel(slug)
        try:
            note = noted(channel, "Start")
            actions.start(channel, by=shell_user(), now=timezone.now(), note=note)
        except actions.ActionRefusedError as refusal:
            raise CommandError(str(refusal)) from None
        if wait is not None:
            self._wait(channel, wait)
            return
        self.stdout.write(f"{channel.name} is ordered on.")
        if not (current := _report_of(channel)).supervised:
            self.stderr.write(current.cause)

    def _wait(self, channel: Channel, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (current := _report_of(channel)).state != "on_air":
            if time.monotonic() >= deadline:
                raise CommandError(
                    f"{channel.name} is not on air after {seconds:g} s, but "
                    f"{current.label.lower()}. {current.cause}".strip()
                )
            time.sleep(POLL_INTERVAL_S)
        self.stdout.write(f"{channel.name} is on air.")


def _report_of(channel: Channel) -> ChannelReport:
    return report(timezone.now(), slug=channel.slug).channels[0]
