"""Stream keys: minted once, known again by their digest, revoked for good."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from streams.ingest import leases
from streams.ingest.servers import Door, ServerError, source_of
from streams.models import Broadcaster, LiveStream, StreamKey
from streamsite.security.secret import Secret

#: 192 bits, in 32 characters of the alphabet `A-Za-z0-9_-`.
_BYTES: Final = 24
#: Characters that are shown of a key. 156 bits stay hidden.
_SHOWN: Final = 6
#: Seconds that a revocation waits for its stream to be gone.
PATIENCE: Final = 5.0


def digest(key: Secret) -> str:
    return hashlib.sha256(key.reveal().encode()).hexdigest()


def mint(
    broadcaster: Broadcaster,
    *,
    by: str,
    now: datetime,
    label: str = "",
    expires_at: datetime | None = None,
    single_use: bool = False,
) -> tuple[StreamKey, Secret]:
    """A new key of theirs: its row, and the key itself, which nobody can have again."""
    key = Secret(secrets.token_urlsafe(_BYTES))
    row = StreamKey.objects.create(
        broadcaster=broadcaster,
        label=label,
        prefix=key.reveal()[:_SHOWN],
        digest=digest(key),
        expires_at=expires_at,
        single_use=single_use,
        created_at=now,
        created_by=by,
    )
    return row, key


@dataclass(frozen=True, slots=True)
class Revocation:
    """What became of the stream that used the key."""

    was_live: bool = False
    #: Why it could not be ended, in a sentence; the reconciler goes on trying.
    fault: str = ""


def revoke(key: StreamKey, *, by: str, now: datetime, door: Door | None) -> Revocation:
    """Revoke it and end what is live with it.

    The order matters: OBS reconnects at once, and must be refused by then. So this is called
    outside any transaction.
    """
    revocable = StreamKey.objects.filter(pk=key.pk, revoked_at=None)
    revocable.update(revoked_at=now, revoked_by=by)
    live = LiveStream.objects.filter(key=key, ended_at=None).first()
    if live is None:
        return Revocation()
    if door is None:
        return Revocation(was_live=True, fault="No ingest server is set (INGEST_SERVER).")
    try:
        gone = door.end(source_of(live), within=PATIENCE)
    except ServerError as error:
        return Revocation(
            was_live=True, fault=f"{error} What is live is ended as soon as it answers."
        )
    if not gone:
        return Revocation(
            was_live=True, fault="It is still live; ending it is tried again every 2 seconds."
        )
    leases.ended(live.server, live.path, live.source_id, now)
    return Revocation(was_live=True)
