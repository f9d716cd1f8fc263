from __future__ import annotations

import sys
from typing import Any, Final

from django.core.management.base import CommandError
from django.db import DatabaseError
from django.utils import timezone

from streams.management.channel_command import ChannelCommand
from streams.monitoring.report import Report, report

EXIT_CODE: Final = {"ok": 0, "degraded": 1, "down": 2}
#: There is no such channel: neither "degraded" nor "down".
ASKED_WRONGLY: Final = 3


class Command(ChannelCommand):
    help = "One line and an exit code: 0 healthy, 1 degraded, 2 down. Of a channel, or of all."

    def handle(self, *, slug: str | None, **_: Any) -> None:
        try:
            wanted = None if slug is None else self.channel(slug).slug
            told = report(timezone.now(), slug=wanted)
        except CommandError as error:
            error.returncode = ASKED_WRONGLY
            raise
        except DatabaseError as error:
            # Python's own status after an exception would read as "degraded".
            self.stdout.write(f"down: the database can't be read ({error})")
            sys.exit(EXIT_CODE["down"])
        self.stdout.write(f"{told.status}: {_line(told)}")
        if code := EXIT_CODE[told.status]:
            sys.exit(code)


def _line(told: Report) -> str:
    ill = [
        f"{channel.slug} is {channel.label.lower()}"
        + (f" ({channel.cause.rstrip('.')})" if channel.cause else "")
        for channel in told.channels
        if not channel.well
    ]
    if ill:
        return "; ".join(ill)
    on_air = sum(channel.state == "on_air" for channel in told.channels)
    return f"{on_air} of {len(told.channels)} channels on air, as ordered"
