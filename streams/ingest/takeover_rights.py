"""Turns takeover rights and live streams into the engine's takeover request (`IngestState`)."""

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

#: An operator's choice holds until nobody has been live for this long: OBS reconnects
#: automatically, and the choice must not apply to the next show.
LATCH: Final = timedelta(seconds=60)
#: Limit of the streams examined after an operator's choice. With more of them the choice no
#: longer holds.
MAX_STREAMS: Final = 100
#: How long the ending of a stream is reported: longer than the wait for any lost feed.
ENDING_RETENTION: Final = timedelta(minutes=15)
#: Wait for nginx-rtmp's second call at the end of a stream. It comes at once unless the
#: publisher keeps its connection.
SECOND_CALL: Final = timedelta(seconds=1)


def wishes(channels: Sequence[Channel], now: datetime) -> dict[int, IngestState]:
    """Returns the takeover request of each channel with takeover rights, by primary key.

    Three queries, and one more per channel with an operator's choice.
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
    """Ended streams: finished by the publisher, or broken with the connection.

    `open`: the server will tell within a moment. In none of the sets: the server can't tell.
    """

    finished: frozenset[int]
    broken: frozenset[int]
    open: frozenset[int]


def _endings(people: Iterable[int], now: datetime) -> Endings:
    rows = LiveStream.objects.filter(broadcaster__in=people, server=settings.INGEST_SERVER)
    # A stream with a revoked key is finished, even if the server has not ended it yet.
    recent = Q(ended_at__gt=now - ENDING_RETENTION) | Q(
        ended_at=None, key__revoked_at__isnull=False
    )
    by_ending: dict[str, set[int]] = defaultdict(set)
    for row in rows.filter(recent).select_related("key"):
        by_ending[ending(row, now)].add(row.pk)
    return Endings(
        frozenset(by_ending["finished"]),
        frozenset(by_ending["broken"]),
        frozenset(by_ending["open"]),
    )


def ending(row: LiveStream, now: datetime) -> str:
    """Returns how a stream ended: "finished", "broken", "open", or empty if unknown.

    nginx-rtmp's calls are numbered: if a publisher unpublishes, its connection closes later; if
    a connection breaks, the disconnect comes first. MediaMTX reports both in the same way.
    """
    if row.key is not None and row.key.revoked_at is not None:
        return "finished"
    if row.server != "nginx-rtmp":
        return ""
    done, gone = row.unpublished_call, row.disconnected_call
    if done is None:
        # The reconciler detected the end, or the server's configuration is an older one.
        return "broken"
    if gone is None:
        settled = row.ended_at is None or now - row.ended_at > SECOND_CALL
        return "finished" if settled else "open"
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
    """Returns the operator's choice while it holds. `people`: ids who may take over."""
    order, at = Channel.Live(channel.live_order), channel.live_ordered_at
    if order is Channel.Live.AUTO or at is None:
        return Channel.Live.AUTO
    if order is Channel.Live.TAKE:
        people = [channel.live_broadcaster_id or 0]
    since = LiveStream.objects.filter(broadcaster__in=people, server=settings.INGEST_SERVER)
    # The choice may be months old: the first streams since then decide whether it holds.
    spans = since.filter(Q(ended_at=None) | Q(ended_at__gte=at)).order_by("started_at")
    first = spans.values_list("started_at", "ended_at")[:MAX_STREAMS]
    return order if holds(at, [(a, b or now) for a, b in first], now) else Channel.Live.AUTO


def holds(at: datetime, spans: Iterable[tuple[datetime, datetime]], now: datetime) -> bool:
    """Returns whether somebody was live since `at`, with pauses of at most `LATCH`."""
    covered = at
    for began, ended in sorted(spans):
        if began > covered + LATCH:
            return False
        covered = max(covered, ended)
    return now <= covered + LATCH


def _feed(row: LiveStream, ordered: datetime | None) -> LiveFeed:
    """Build the feed. `ordered`: the time of the last takeover order by an operator."""
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
    """Returns the address at which this machine reads the stream."""
    if settings.INGEST_SERVER != "mediamtx":
        return Secret(f"{settings.INGEST_RTMP_URL}/{path}")
    token = settings.INGEST_READ_TOKEN.reveal()
    query = f"?token={token}" if token else ""
    return Secret(f"{settings.INGEST_RTSP_URL}/{path}{query}")
