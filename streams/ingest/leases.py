"""Leases of keys and rows of live streams, written by callbacks and the reconciler.

Callbacks arrive in any order, twice or not at all. Every change therefore names its source, and
a change for a source that is no longer live has no effect.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from streams.ingest.callbacks import (
    AccessRequest,
    Decision,
    KeyFacts,
    SourceEvent,
    Verdict,
    may_publish,
    slug_of,
)
from streams.models import Broadcaster, LiveStream, StreamKey
from streams.models.ingest import GRACE, LEASE
from streams.wake import wake_supervisor

_FACTS: Final = (
    *("pk", "broadcaster__slug", "broadcaster__enabled", "revoked_at", "expires_at"),
    *("single_use", "last_used_at", "last_address", "source_id", "source_address"),
    "lease_seen_at",
)


#: A source seen more recently than this may be missing from the server's list.
SETTLING: Final = timedelta(seconds=2)


# ---- keys ------------------------------------------------------------------------------------
def claim(request: AccessRequest, digest: str, now: datetime) -> Decision:
    """Decide whether the client may publish, and if so lease the key. At most two queries."""
    # No ordering: there is at most one row, and sorting would cost as much as the lookup.
    candidates = StreamKey.objects.filter(digest=digest).order_by()
    if not settings.INGEST_REPLACE:
        candidates = candidates.annotate(other_in_use=Exists(_others(request, now)))
    facts = _FACTS if settings.INGEST_REPLACE else (*_FACTS, "other_in_use")
    rows = candidates.values_list(*facts)
    row = next(iter(rows), None) if digest else None
    decision = may_publish(request, _facts(row), now, lease=LEASE, grace=GRACE)
    if decision.verdict is not Verdict.ACCEPT or row is None:
        return decision
    # Another request may have claimed or revoked it since it was read: the database decides.
    seen = row[len(_FACTS) - 1]
    as_read = StreamKey.objects.filter(pk=row[0], revoked_at=None, lease_seen_at=seen)
    claimed = as_read.update(
        source_id=request.source_id,
        source_address=request.address,
        protocol=request.protocol,
        lease_seen_at=now,
        last_used_at=now,
        last_address=request.address,
    )
    return decision if claimed else Decision(Verdict.REFUSE, "in use")


def _others(request: AccessRequest, now: datetime) -> QuerySet[StreamKey]:
    """Returns the broadcaster's other keys that another source holds.

    The keys share one path: in MediaMTX each publisher would disconnect the other, and both
    would reconnect.
    """
    others = StreamKey.objects.filter(
        broadcaster=OuterRef("broadcaster"), lease_seen_at__gt=now - LEASE
    ).exclude(pk=OuterRef("pk"))
    if request.source_id:
        return others.exclude(source_id=request.source_id)
    return others.exclude(source_address=request.address)


def _facts(row: tuple[Any, ...] | None) -> KeyFacts | None:
    if row is None:
        return None
    _, slug, enabled, revoked_at, *rest = row
    return KeyFacts(slug, enabled, revoked_at is not None, *rest)


def renew(key: int, source_id: str, address: str, now: datetime) -> None:
    """Renew the lease for this source, also if it has lapsed meanwhile."""
    free = Q(lease_seen_at=None) | Q(lease_seen_at__lte=now - LEASE)
    StreamKey.objects.filter(free | Q(source_id=source_id), pk=key).update(
        source_id=source_id,
        source_address=address,
        lease_seen_at=now,
        last_used_at=now,
        last_address=address,
    )


# ---- live streams ----------------------------------------------------------------------------
def began(server: str, event: SourceEvent, now: datetime, **measured: Any) -> LiveStream | None:
    """Record that a source is live at its path, and that earlier sources there have ended.

    Returns its row, existing or new; None if a concurrent call was first.
    """
    try:
        with transaction.atomic():
            open_rows = LiveStream.objects.filter(server=server, path=event.path, ended_at=None)
            if row := open_rows.filter(source_id=event.source_id).first():
                return row
            for old in open_rows:
                ended(server, event.path, old.source_id, now)
            key = _key_of(event, now)
            # A channel may be waiting for it.
            transaction.on_commit(wake_supervisor)
            return LiveStream.objects.create(
                server=server,
                path=event.path,
                source_type=event.source_type,
                source_id=event.source_id,
                address=event.address or (key.source_address if key else ""),
                broadcaster=Broadcaster.objects.filter(slug=event.slug).first(),
                key=key,
                seen_at=now,
                **{"started_at": now} | measured,
            )
    except IntegrityError:
        # one_live_stream_per_path: another callback or the reconciler has created the row.
        return None


def _key_of(event: SourceEvent, now: datetime) -> StreamKey | None:
    """Returns the key with which the source was accepted."""
    keys = StreamKey.objects.filter(broadcaster__slug=event.slug).order_by("-lease_seen_at")
    if key := keys.filter(source_id=event.source_id).exclude(lease_seen_at=None).first():
        return key
    # The source had no id at its request: take the key that was accepted just now.
    nameless = keys.filter(source_id="", lease_seen_at__gt=now - LEASE)
    if key := nameless.first():
        nameless.filter(pk=key.pk).update(source_id=event.source_id)
    return key


def superseded(server: str, event: SourceEvent, now: datetime) -> bool:
    """Returns whether a report that a source started is outdated.

    MediaMTX never reuses ids: a source that has ended does not start again. And while only
    other sources hold the broadcaster's keys, the report is about a source they replaced.
    """
    sources = LiveStream.objects.filter(
        server=server, path=event.path, source_id=event.source_id
    )
    if sources.exclude(ended_at=None).exists():
        return True
    held = set(
        StreamKey.objects.filter(
            broadcaster__slug=event.slug, lease_seen_at__gt=now - LEASE
        ).values_list("source_id", flat=True)
    )
    return bool(held) and not held & {event.source_id, ""}


def ended(
    server: str, path: str, source_id: str, now: datetime, *, call: int | None = None
) -> bool:
    """Record that the source has ended. Returns False if it was not live.

    `call`: the sequence number of the server's call that reported it.
    """
    rows = LiveStream.objects.filter(
        server=server, path=path, source_id=source_id, ended_at=None
    )
    # Times come from several clocks: an end before the start is set to the start.
    fields: dict[str, Any] = {"bitrate": None, "unknown": False, "unpublished_call": call}
    changed = rows.filter(started_at__lte=now).update(ended_at=now, **fields) or rows.update(
        ended_at=F("started_at"), **fields
    )
    # The lease ends also if the start was never reported.
    StreamKey.objects.filter(
        broadcaster__slug=slug_of(path), source_id=source_id, lease_seen_at__isnull=False
    ).update(lease_seen_at=None, last_used_at=now)
    if changed:
        transaction.on_commit(wake_supervisor)
    return bool(changed)


def disconnected(server: str, source_id: str, now: datetime, call: int | None) -> None:
    """Record that the source's connection is closed: nginx-rtmp's call before or after the end.

    Its number tells a stream ended by its publisher from one whose connection broke: with a
    broken connection the disconnect comes first.
    """
    lately = Q(ended_at=None) | Q(ended_at__gt=now - SETTLING)
    rows = LiveStream.objects.filter(lately, server=server, source_id=source_id)
    if call is not None and rows.update(disconnected_call=call):
        transaction.on_commit(wake_supervisor)


def ended_lately(server: str, paths: Iterable[str], since: datetime) -> set[tuple[str, str]]:
    """Returns path and source of streams ended since: an older list still has them."""
    rows = LiveStream.objects.filter(server=server, path__in=list(paths), ended_at__gte=since)
    return set(rows.values_list("path", "source_id"))
