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
    help = "What is on air: of one channel, or of all of them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--json", action="store_true", help="The same for programs.")

    def handle(self, *, slug: str | None, json: bool, **_: Any) -> None:
        now = timezone.now()
        wanted = None if slug is None else self.channel(slug).slug
        told = report(now, slug=wanted)
        self.stdout.write(_json(told) if json else "\n".join(_lines(told, now)))


def _json(told: Report) -> str:
    return json.dumps(told.detail(), cls=DjangoJSONEncoder, indent=2)


def _lines(told: Report, now: datetime) -> Iterator[str]:
    if not told.channels:
        yield "There is no channel yet: add one in the admin."
        return
    head = ("CHANNEL", "ORDER", "STATE", "ON AIR FOR", "BITRATE", "NOW", "NEXT")
    rows = [
        (
            channel.slug,
            channel.order,
            channel.label,
            duration(channel.on_air_since, now),
            bitrate(channel.bitrate),
            channel.now.title if channel.now else "-",
            channel.next or "-",
        )
        for channel in told.channels
    ]
    yield from _table([head, *rows])
    for channel in told.channels:
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
