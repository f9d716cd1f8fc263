"""Who may be on a channel now instead of its programme: rows become the engine's wish."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db.models import Q, QuerySet

from streams.models import Channel, LiveStream, TakeoverRight
from streams.playout.contract.live_feed import IngestState, LiveFeed
from streams.playout.takeover.decision import is_audio
from streamsite.security.secret import Secret

#: What was chosen by hand holds until nobody was live for so long: OBS reconnects by itself,
#: and tomorrow's show is another one.
LATCH: Final = timedelta(seconds=60)
#: Streams after a choice by hand that are looked at. One that comes and goes more often has no
#: choice that holds.
LOOKED_AT: Final = 100
#: For so long it is told how a stream ended: longer than a lost feed is ever waited for.
TOLD: Final = timedelta(minutes=15)
#: For so long nginx-rtmp's second call at the end of a stream is waited for: it comes at once,
#: unless the publisher keeps its connection.
SECOND_CALL: Final = timedelta(seconds=1)


def wishes(channels: Sequence[Channel], now: datetime) -> dict[int, IngestState]:
    """Of each channel that somebody may take over.

    Three queries, whatever their number, and one for each where something was chosen by hand.
    """
    rights: dict[int, list[TakeoverRight]] = defaultdict(list)
    rows = TakeoverRight.objects.filter(channel__in=channels, broadcaster__enabled=True)
    for right in rows.order_by("rank", "pk"):
        rights[right.channel_id].append(right)
    if not rights:
        return {}
    people = {right.broadcaster_id for mine in rights.values() for right in mine}
    streams: dict[int, list[LiveStream]] = defaultdict(list)
    for row in _live(people):
        if row.broadcaster_id is not None:
            streams[row.broadcaster_id].append(row)
    endings = _endings(people, now)
    return {
        channel.pk: _wish(channel, rights[channel.pk], streams, endings, now)
        for channel in channels
        if channel.pk in rights
    }


def _live(people: Iterable[int]) -> QuerySet[LiveStream]:
    rows = LiveStream.objects.filter(
        server=settings.INGEST_SERVER, broadcaster__in=people, ended_at=None
    )
    allowed = rows.exclude(key__revoked_at__isnull=False)
    return allowed.select_related("broadcaster").order_by("started_at", "pk")


@dataclass(frozen=True, slots=True)
class Endings:
    """Streams that are gone: ended by their publishers, or by a connection that broke.

    In none of these: the server can't tell. `open`: it will, in a moment.
    """

    finished: frozenset[int]
    broken: frozenset[int]
    open: frozenset[int]


def _endings(people: Iterable[int], now: datetime) -> Endings:
    rows = LiveStream.objects.filter(broadcaster__in=people, server=settings.INGEST_SERVER)
    # What was ended from here is finished, also where the server has not carried it out yet.
    recent = Q(ended_at__gt=now - TOLD) | Q(ended_at=None, key__revoked_at__isnull=False)
    found: dict[str, set[int]] = defaultdict(set)
    for row in rows.filter(recent).select_related("key"):
        found[ending(row, now)].add(row.pk)
    return Endings(
        frozenset(found["finished"]), frozenset(found["broken"]), frozenset(found["open"])
    )


def ending(row: LiveStream, now: datetime) -> str:
    """How a stream ended: "finished", "broken", "open" or, where nobody can know, empty.

    nginx-rtmp numbers its calls: where a publisher unpublishes, its connection is closed later;
    where a connection breaks, that is told of first. MediaMTX tells of both alike.
    """
    if row.key is not None and row.key.revoked_at is not None:
        return "finished"
    if row.server != "nginx-rtmp":
        return ""
    done, gone = row.unpublished_call, row.disconnected_call
    if done is None:
        # It was found out later, or the configuration is an older one.
        return "broken"
    if gone is None:
        known = row.ended_at is None or now - row.ended_at > SECOND_CALL
        return "finished" if known else "open"
    return "finished" if done < gone else "broken"


def _wish(
    channel: Channel,
    rights: Sequence[TakeoverRight],
    streams: Mapping[int, Sequence[LiveStream]],
    endings: Endings,
    now: datetime,
) -> IngestState:
    open_rows = [row for right in rights for row in streams.get(right.broadcaster_id, ())]
    order = in_force(channel, [right.broadcaster_id for right in rights], now)
    chosen = [
        row
        for row in open_rows
        if order is Channel.Live.AUTO
        or (order is Channel.Live.TAKE and row.broadcaster_id == channel.live_broadcaster_id)
    ]
    return IngestState(
        feeds=tuple(_feed(row, channel.live_ordered_at) for row in chosen),
        present=frozenset(row.pk for row in open_rows) | endings.open,
        finished=endings.finished,
        broken=endings.broken,
        returned=order is Channel.Live.RETURN,
        debounce=float(channel.live_debounce),
        hold=float(channel.live_hold),
    )


def in_force(channel: Channel, people: Iterable[int], now: datetime) -> Channel.Live:
    """What was chosen by hand, for as long as it holds. `people`: who may take over."""
    order, at = Channel.Live(channel.live_order), channel.live_ordered_at
    if order is Channel.Live.AUTO or at is None:
        return Channel.Live.AUTO
    if order is Channel.Live.TAKE:
        people = [channel.live_broadcaster_id or 0]
    since = LiveStream.objects.filter(broadcaster__in=people, server=settings.INGEST_SERVER)
    # It may be months ago: the first that were live since then tell it.
    spans = since.filter(Q(ended_at=None) | Q(ended_at__gte=at)).order_by("started_at")
    first = spans.values_list("started_at", "ended_at")[:LOOKED_AT]
    return order if holds(at, [(a, b or now) for a, b in first], now) else Channel.Live.AUTO


def holds(at: datetime, spans: Iterable[tuple[datetime, datetime]], now: datetime) -> bool:
    """Whether somebody has been live ever since, but for pauses shorter than the latch."""
    covered = at
    for began, ended in sorted(spans):
        if began > covered + LATCH:
            return False
        covered = max(covered, ended)
    return now <= covered + LATCH


def _feed(row: LiveStream, ordered: datetime | None) -> LiveFeed:
    """`ordered`: when something was chosen by hand, or left to itself again."""
    tracks = tuple(str(track) for track in row.tracks)
    silent = bool(tracks) and not any(map(is_audio, tracks))
    since = row.started_at if ordered is None else max(row.started_at, ordered)
    return LiveFeed(
        stream=row.pk,
        broadcaster=row.broadcaster_id or 0,
        name=row.broadcaster.name if row.broadcaster else row.path,
        url=_address(row.path),
        requested_at=since.timestamp(),
        has_audio=not silent,
        tracks=tracks,
    )


def _address(path: str) -> Secret:
    """Where the ingest server gives it to this machine."""
    if settings.INGEST_SERVER != "mediamtx":
        return Secret(f"{settings.INGEST_RTMP_URL}/{path}")
    token = settings.INGEST_READ_TOKEN.reveal()
    query = f"?token={token}" if token else ""
    return Secret(f"{settings.INGEST_RTSP_URL}/{path}{query}")
