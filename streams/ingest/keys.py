"""Stream keys: minting, recognition by their digest, and revocation."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from streams.ingest import leases
from streams.ingest.servers import IngestClient, ServerError, source_of
from streams.models import Broadcaster, LiveStream, StreamKey
from streamsite.security.secret import Secret

#: 192 bits, in 32 characters of the alphabet `A-Za-z0-9_-`.
_BYTES: Final = 24
#: Characters of a key that are shown. 156 bits stay hidden.
_SHOWN: Final = 6
#: Seconds for which a revocation waits for its stream to end.
REVOKE_TIMEOUT_S: Final = 5.0


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
    """Create a key. Returns its row and the key itself, which can't be retrieved later."""
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
    """The effect of a revocation on the stream that used the key."""

    was_live: bool = False
    #: Why it could not be ended, in a sentence; the reconciler keeps trying.
    fault: str = ""


def revoke(
    key: StreamKey, *, by: str, now: datetime, server: IngestClient | None
) -> Revocation:
    """Revoke the key, then end the stream that uses it.

    The revocation must be committed first: OBS reconnects at once and must be refused. Call
    this outside any transaction.
    """
    revocable = StreamKey.objects.filter(pk=key.pk, revoked_at=None)
    revocable.update(revoked_at=now, revoked_by=by)
    live = LiveStream.objects.filter(key=key, ended_at=None).first()
    if live is None:
        return Revocation()
    if server is None:
        return Revocation(
            was_live=True, fault="No ingest server is configured (INGEST_SERVER)."
        )
    try:
        gone = server.end(source_of(live), within=REVOKE_TIMEOUT_S)
    except ServerError as error:
        return Revocation(
            was_live=True, fault=f"{error} The stream is ended as soon as the server answers."
        )
    if not gone:
        return Revocation(
            was_live=True,
            fault="The stream is still live. Ending it is retried every 2 seconds.",
        )
    leases.ended(live.server, live.path, live.source_id, now)
    return Revocation(was_live=True)
