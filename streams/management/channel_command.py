"""What the channel commands share: the slug that may be left out."""

from __future__ import annotations

import getpass
from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from streams.models import Channel


def operator() -> str:
    """Who gave an order at the shell."""
    try:
        return f"{getpass.getuser()} (command)"
    except (KeyError, OSError):
        # A container may run as a user without a name.
        return "command"


class ChannelCommand(BaseCommand):
    """A command about one channel."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "slug", nargs="?", help="The channel; not needed where there is only one."
        )

    def channel(self, slug: str | None) -> Channel:
        """The channel meant. Raises `CommandError` with the slugs to choose from."""
        channels = {channel.slug: channel for channel in Channel.objects.all()}
        if not channels:
            raise CommandError("There is no channel yet: add one in the admin.")
        if slug is None and len(channels) == 1:
            return next(iter(channels.values()))
        if slug in channels:
            return channels[slug]
        told = "Which channel?" if slug is None else f"There is no channel {slug!r}."
        raise CommandError(f"{told} There are: {', '.join(sorted(channels))}.")
