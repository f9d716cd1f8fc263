"""Who uses a key now, and what is live: rows that callbacks and the reconciler write.

Callbacks come in any order, twice or not at all. So every change names the source it is about,
and one about a source that is not there any more changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from streams.ingest.callbacks import (
    Asked,
    Decision,
    KeyFacts,
    Told,
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


#: What was heard of so lately may not be in the server's list yet.
SETTLING: Final = timedelta(seconds=2)


# ---- keys ------------------------------------------------------------------------------------
def claim(asked: Asked, digest: str, now: datetime) -> Decision:
    """May they publish? If so, the key is theirs from now on. Two queries at most."""
    # Without an order: it is one row at most, and the order would cost as much as the look.
    known = StreamKey.objects.filter(digest=digest).order_by()
    if not settings.INGEST_REPLACE:
        known = known.annotate(other_in_use=Exists(_others(asked, now)))
    facts = _FACTS if settings.INGEST_REPLACE else (*_FACTS, "other_in_use")
    rows = known.values_list(*facts)
    row = next(iter(rows), None) if digest else None
    decision = may_publish(asked, _facts(row), now, lease=LEASE, grace=GRACE)
    if decision.verdict is not Verdict.ACCEPT or row is None:
        return decision
    # Another may have claimed or revoked it since it was read: the database decides.
    seen = row[len(_FACTS) - 1]
    as_read = StreamKey.objects.filter(pk=row[0], revoked_at=None, lease_seen_at=seen)
    claimed = as_read.update(
        source_id=asked.source_id,
        source_address=asked.address,
        protocol=asked.protocol,
        lease_seen_at=now,
        last_used_at=now,
        last_address=asked.address,
    )
    return decision if claimed else Decision(Verdict.REFUSE, "in use")


def _others(asked: Asked, now: datetime) -> QuerySet[StreamKey]:
    """The broadcaster's other keys that another source holds.

    They share one path: MediaMTX would let one throw the other out, and both come again.
    """
    others = StreamKey.objects.filter(
        broadcaster=OuterRef("broadcaster"), lease_seen_at__gt=now - LEASE
    ).exclude(pk=OuterRef("pk"))
    if asked.source_id:
        return others.exclude(source_id=asked.source_id)
    return others.exclude(source_address=asked.address)


def _facts(row: tuple[Any, ...] | None) -> KeyFacts | None:
    if row is None:
        return None
    _, slug, enabled, revoked_at, *rest = row
    return KeyFacts(slug, enabled, revoked_at is not None, *rest)


def renew(key: int, source_id: str, address: str, now: datetime) -> None:
    """It is still in use by this source, also where its lease had lapsed meanwhile."""
    free = Q(lease_seen_at=None) | Q(lease_seen_at__lte=now - LEASE)
    StreamKey.objects.filter(free | Q(source_id=source_id), pk=key).update(
        source_id=source_id,
        source_address=address,
        lease_seen_at=now,
        last_used_at=now,
        last_address=address,
    )


# ---- live streams ----------------------------------------------------------------------------
def began(server: str, told: Told, now: datetime, **measured: Any) -> LiveStream | None:
    """A source is live at its path; what was there before it is not any more.

    Returns its row, old or new; None where somebody else was quicker.
    """
    try:
        with transaction.atomic():
            open_rows = LiveStream.objects.filter(server=server, path=told.path, ended_at=None)
            if row := open_rows.filter(source_id=told.source_id).first():
                return row
            for old in open_rows:
                ended(server, told.path, old.source_id, now)
            key = _key_of(told, now)
            # A channel may wait for it.
            transaction.on_commit(wake_supervisor)
            return LiveStream.objects.create(
                server=server,
                path=told.path,
                source_type=told.source_type,
                source_id=told.source_id,
                address=told.address or (key.source_address if key else ""),
                broadcaster=Broadcaster.objects.filter(slug=told.slug).first(),
                key=key,
                seen_at=now,
                **{"started_at": now} | measured,
            )
    except IntegrityError:
        # one_live_stream_per_path: the other callback, or the reconciler, has made it.
        return None


def _key_of(told: Told, now: datetime) -> StreamKey | None:
    """The key that the source was accepted with."""
    keys = StreamKey.objects.filter(broadcaster__slug=told.slug).order_by("-lease_seen_at")
    if key := keys.filter(source_id=told.source_id).exclude(lease_seen_at=None).first():
        return key
    # It had no name yet when it asked: the one that was accepted just now.
    nameless = keys.filter(source_id="", lease_seen_at__gt=now - LEASE)
    if key := nameless.first():
        nameless.filter(pk=key.pk).update(source_id=told.source_id)
    return key


def superseded(server: str, told: Told, now: datetime) -> bool:
    """Whether news of a source's beginning are older than what is known.

    MediaMTX's ids are never used twice: what has ended does not begin. And while a key of the
    broadcaster's is held by other sources only, the news is about one that they replaced.
    """
    sources = LiveStream.objects.filter(server=server, path=told.path, source_id=told.source_id)
    if sources.exclude(ended_at=None).exists():
        return True
    held = set(
        StreamKey.objects.filter(
            broadcaster__slug=told.slug, lease_seen_at__gt=now - LEASE
        ).values_list("source_id", flat=True)
    )
    return bool(held) and not held & {told.source_id, ""}


def ended(
    server: str, path: str, source_id: str, now: datetime, *, call: int | None = None
) -> bool:
    """This source is not live any more. False: it was not anyhow, and nothing has changed.

    `call`: the number of the server's call that told of it.
    """
    rows = LiveStream.objects.filter(
        server=server, path=path, source_id=source_id, ended_at=None
    )
    # Moments are read from several clocks; an end before the beginning is none.
    fields: dict[str, Any] = {"bitrate": None, "unknown": False, "unpublished_call": call}
    changed = rows.filter(started_at__lte=now).update(ended_at=now, **fields) or rows.update(
        ended_at=F("started_at"), **fields
    )
    # Also where its beginning was never told of.
    StreamKey.objects.filter(
        broadcaster__slug=slug_of(path), source_id=source_id, lease_seen_at__isnull=False
    ).update(lease_seen_at=None, last_used_at=now)
    if changed:
        transaction.on_commit(wake_supervisor)
    return bool(changed)


def disconnected(server: str, source_id: str, now: datetime, call: int | None) -> None:
    """The source's connection is closed, which nginx-rtmp calls about before or after its end.

    Its number tells a stream that was ended by its publisher from one whose connection broke:
    one of these is disconnected first.
    """
    lately = Q(ended_at=None) | Q(ended_at__gt=now - SETTLING)
    rows = LiveStream.objects.filter(lately, server=server, source_id=source_id)
    if call is not None and rows.update(disconnected_call=call):
        transaction.on_commit(wake_supervisor)


def ended_lately(server: str, paths: Iterable[str], since: datetime) -> set[tuple[str, str]]:
    """Path and source of what has ended since: an older list of streams has it still."""
    rows = LiveStream.objects.filter(server=server, path__in=list(paths), ended_at__gte=since)
    return set(rows.values_list("path", "source_id"))
