"""Reconciles the rows with the ingest server every two seconds, as callbacks get lost.

It is a thread beside the node's supervisor: the queue's schedules can't run every two seconds,
and this node decides on takeovers by the result. If several nodes share a database, a lease on
the server's row lets one of them poll.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import structlog
from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from streams.ingest import leases
from streams.ingest.callbacks import SourceEvent, slug_of
from streams.ingest.servers import (
    IngestClient,
    Listed,
    ServerError,
    configured_client,
    source_of,
)
from streams.models import IngestServer, LiveStream
from streams.wake import wake_supervisor
from streamsite.processes.repeating import repeating

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds between two polls.
POLL_INTERVAL_S: Final = 2.0
#: A node that has not polled for this long loses its lease to another node.
LEASE: Final = timedelta(seconds=10)


def reconcile(server: IngestClient, owner: str) -> None:
    """Poll the server once and update the rows.

    Does nothing if another node holds the lease.
    """
    now = timezone.now()
    if not _mine(server.kind, owner, now):
        return
    try:
        listed = server.streams()
    except ServerError as error:
        out_of_reach(server.kind, str(error))
        return
    IngestServer.objects.filter(kind=server.kind).update(reached_at=timezone.now(), fault="")
    settle(server.kind, listed, listed_at=now, now=timezone.now())
    enforce(server)


def _mine(kind: str, owner: str, now: datetime) -> bool:
    IngestServer.objects.get_or_create(kind=kind)
    free = Q(owner=owner) | Q(lease_until=None) | Q(lease_until__lte=now)
    rows = IngestServer.objects.filter(free, kind=kind)
    return bool(rows.update(owner=owner, lease_until=now + LEASE))


def out_of_reach(kind: str, fault: str) -> None:
    """Mark the streams as unknown: they may still be live. Leases lapse by themselves."""
    IngestServer.objects.filter(kind=kind).update(fault=fault)
    live = LiveStream.objects.filter(server=kind, ended_at=None, unknown=False)
    if live.update(unknown=True, bitrate=None):
        log.warning("ingest.out_of_reach", server=kind, fault=fault)


def settle(kind: str, listed: Sequence[Listed], *, listed_at: datetime, now: datetime) -> None:
    """Update the rows to the list that the server returned at `listed_at`."""
    rows = {row.path: row for row in LiveStream.objects.filter(server=kind, ended_at=None)}
    stale = leases.ended_lately(kind, (one.path for one in listed), listed_at - leases.SETTLING)
    for one in listed:
        row = rows.pop(one.path, None)
        if row is not None and row.source_id == one.source_id:
            _measure(row, one, now)
        elif (one.path, one.source_id) not in stale:
            _begin(kind, one, now)
    for row in rows.values():
        # A callback may have reported it after the list was made.
        if row.seen_at < listed_at - leases.SETTLING and leases.ended(
            kind, row.path, row.source_id, now
        ):
            log.info("ingest.ended_unseen", path=row.path, source=row.source_id)


def _begin(kind: str, one: Listed, now: datetime) -> None:
    event = SourceEvent(
        one.path, slug_of(one.path), one.source_type, one.source_id, one.address
    )
    row = leases.began(
        kind,
        event,
        now,
        started_at=min(one.since or now, now),
        bytes_in=one.bytes_in,
        tracks=list(one.tracks),
    )
    if row is not None:
        log.info("ingest.began_unseen", path=one.path, source=one.source_id)
        _hold(row, now)


def _measure(row: LiveStream, one: Listed, now: datetime) -> None:
    grown = row.bytes_in is None or one.bytes_in > row.bytes_in
    bitrate = None
    if row.bytes_in is not None and not row.unknown and now > row.seen_at:
        gained = max(0, one.bytes_in - row.bytes_in)
        bitrate = round(gained * 8 / (now - row.seen_at).total_seconds())
    still = LiveStream.objects.filter(pk=row.pk, ended_at=None)
    still.update(
        seen_at=now,
        bytes_in=one.bytes_in,
        bitrate=bitrate,
        unknown=False,
        tracks=list(one.tracks) or row.tracks,
        source_type=one.source_type or row.source_type,
        **({"grown_at": now} if grown else {}),
    )
    if one.tracks and not row.tracks:
        # A takeover may be waiting for an audio track that the stream does not have.
        wake_supervisor()
    if grown:
        # Renew only while bytes arrive: a half-open connection must not lock its owner out.
        _hold(row, now)


def _hold(row: LiveStream, now: datetime) -> None:
    if row.key_id is not None:
        leases.renew(row.key_id, row.source_id, row.address, now)


def enforce(server: IngestClient) -> None:
    """End streams whose key was revoked or whose broadcaster is disabled."""
    forbidden = LiveStream.objects.filter(server=server.kind, ended_at=None).filter(
        Q(key__revoked_at__isnull=False) | Q(broadcaster__enabled=False)
    )
    for row in forbidden:
        try:
            server.kick(source_of(row))
        except ServerError as error:
            log.warning("ingest.not_ended", path=row.path, fault=str(error))
        else:
            log.info("ingest.kicked", path=row.path, source=row.source_id)


@contextmanager
def reconciled() -> Iterator[None]:
    """Poll the ingest server, if one is configured, while the block runs."""
    server = configured_client()
    if server is None:
        yield
        return
    poll = partial(reconcile, server, settings.NODE_NAME)
    with repeating("reconciler", POLL_INTERVAL_S, poll):
        yield
