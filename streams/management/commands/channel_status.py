from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone

from streams.management.channel_command import ChannelCommand
from streams.monitoring.formatting import bitrate, duration
from streams.monitoring.report import ChannelReport, Report, report
from streams.monitoring.worker_silence import clock


class Command(ChannelCommand):
    help = "Show what is on air, for one channel or for all channels."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--json", action="store_true", help="Print JSON.")

    def handle(self, *, slug: str | None, json: bool, **_: Any) -> None:
        now = timezone.now()
        chosen = None if slug is None else self.channel(slug).slug
        current = report(now, slug=chosen)
        self.stdout.write(_json(current) if json else "\n".join(_lines(current, now)))


def _json(current: Report) -> str:
    return json.dumps(current.detail(), cls=DjangoJSONEncoder, indent=2)


def _lines(current: Report, now: datetime) -> Iterator[str]:
    if not current.channels:
        yield "There is no channel yet. Add one in the admin."
        return
    head = ("CHANNEL", "ORDER", "STATE", "ON AIR FOR", "BITRATE", "NOW", "NEXT")
    rows = [
        (
            channel.slug,
            channel.desired_state,
            channel.label,
            duration(channel.on_air_since, now),
            bitrate(channel.bitrate),
            channel.now.title if channel.now else "-",
            channel.next or "-",
        )
        for channel in current.channels
    ]
    yield from _table([head, *rows])
    for channel in current.channels:
        yield from _details(channel, now)


def _details(channel: ChannelReport, now: datetime) -> Iterator[str]:
    yield ""
    yield channel.name
    if channel.cause:
        yield f"  {channel.cause}"
    rows = [
        (
            f"  {output.name}",
            output.label,
            duration(output.since, now),
            bitrate(output.bitrate),
            output.cause,
        )
        for output in channel.outputs
    ]
    yield from _table([("  OUTPUT", "STATE", "FOR", "BITRATE", ""), *rows] if rows else [])
    for incident in channel.incidents:
        yield f"  open since {clock(incident.opened_at)}: {incident.cause}"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
