from __future__ import annotations

import sys
from typing import Any, Final

from django.core.management.base import CommandError
from django.db import DatabaseError
from django.utils import timezone

from streams.management.channel_command import ChannelCommand
from streams.monitoring.report import Report, report

EXIT_CODE: Final = {"ok": 0, "degraded": 1, "down": 2}
#: The channel does not exist: neither "degraded" nor "down".
EXIT_NO_SUCH_CHANNEL: Final = 3


class Command(ChannelCommand):
    help = "Print one line for a channel or for all; exit code 0 healthy, 1 degraded, 2 down."

    def handle(self, *, slug: str | None, **_: Any) -> None:
        try:
            chosen = None if slug is None else self.channel(slug).slug
            current = report(timezone.now(), slug=chosen)
        except CommandError as error:
            error.returncode = EXIT_NO_SUCH_CHANNEL
            raise
        except DatabaseError as error:
            # Python's exit status after an exception, 1, would mean "degraded".
            self.stdout.write(f"down: the database can't be read ({error})")
            sys.exit(EXIT_CODE["down"])
        self.stdout.write(f"{current.status}: {_line(current)}")
        if code := EXIT_CODE[current.status]:
            sys.exit(code)


def _line(current: Report) -> str:
    ill = [
        f"{channel.slug} is {channel.label.lower()}"
        + (f" ({channel.cause.rstrip('.')})" if channel.cause else "")
        for channel in current.channels
        if not channel.well
    ]
    if ill:
        return "; ".join(ill)
    on_air = sum(channel.state == "on_air" for channel in current.channels)
    return f"{on_air} of {len(current.channels)} channels on air, as ordered"
