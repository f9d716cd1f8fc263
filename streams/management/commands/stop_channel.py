from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from streams.control import actions
from streams.management.channel_command import ChannelCommand, noted
from streamsite.accounts.shell_user import shell_user


class Command(ChannelCommand):
    help = "Order a channel off."

    def handle(self, *, slug: str | None, **_: Any) -> None:
        channel = self.channel(slug)
        try:
            note = noted(channel, "Stop")
            actions.stop(channel, by=shell_user(), now=timezone.now(), note=note)
        except actions.ActionRefusedError as refusal:
            raise CommandError(str(refusal)) from None
        self.stdout.write(f"{channel.name} is ordered off.")
