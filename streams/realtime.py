"""The channels' topic for WebSockets and server-sent events."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from streams.models import Channel, visible
from streams.monitoring.report import report
from streamsite.api.auth import Caller
from streamsite.api.permissions import READ_ONLY, Rule
from streamsite.realtime.hub import Topic


def _snapshots(keys: Collection[str], now: datetime) -> Mapping[str, Mapping[str, Any]]:
    # The report of all channels takes as many queries as that of one.
    slug = next(iter(keys)) if len(keys) == 1 else None
    reports = report(now, slug=slug).channels
    return {channel.slug: channel.detail() for channel in reports if channel.slug in keys}


def _exists(who: Caller, slug: str) -> bool:
    return visible(Channel.objects.filter(slug=slug), who).exists()


CHANNELS: Final = Topic(
    name="channels",
    place="channels",
    parameter="slug",
    rule=Rule(READ_ONLY, "streams.view_channel"),
    data="The answer of `GET /api/v1/channels/{slug}/status`.",
    exists=_exists,
    snapshots=_snapshots,
)
