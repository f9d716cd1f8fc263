"""Base of the channel commands: the optional slug of the channel."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable

from django.core.management.base import BaseCommand, CommandError

from streams.models import Channel
from streamsite.accounts.shell_user import shell_user
from streamsite.api import audit


def noted(channel: Channel, order: str) -> Callable[[], None]:
    """Returns what records the order in the audit log."""
    return lambda: audit.record(audit.Event.ORDER, shell_user(), f"{order} ordered.", [channel])


class ChannelCommand(BaseCommand):
    """A command for one channel."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "slug", nargs="?", help="The channel's slug. Optional if there is only one channel."
        )

    def channel(self, slug: str | None) -> Channel:
        """Returns the channel. Raises `CommandError` with the slugs to choose from."""
        channels = {channel.slug: channel for channel in Channel.objects.all()}
        if not channels:
            raise CommandError("There is no channel yet. Add one in the admin.")
        if slug is None and len(channels) == 1:
            return next(iter(channels.values()))
        if slug in channels:
            return channels[slug]
        message = "Which channel?" if slug is None else f"There is no channel {slug!r}."
        raise CommandError(f"{message} Channels: {', '.join(sorted(channels))}.")
