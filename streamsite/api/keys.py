"""API keys: minted once, known again by their digest, revoked for good.

For whatever is asked with a key: routes of the API (through `streamsite.api.auth`), WebSockets
and event streams alike.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

from django.db import transaction
from django.db.models import Q

from streamsite.accounts import limits
from streamsite.api.models import ApiKey
from streamsite.api.permissions import KeyPermission
from streamsite.security.secret import Secret

#: 256 bits, in 43 characters of the alphabet `A-Za-z0-9_-`.
_BYTES: Final = 32
#: Tells people, and programs that look for leaked keys, what it is.
_MARK: Final = "ssk_"
#: Characters that are shown of a key. 220 bits stay hidden.
_SHOWN: Final = len(_MARK) + 6
#: When a key was used last is written once in so long: a row a request would be dear.
USED: Final = timedelta(minutes=1)
_noting: Final = Lock()
_BY_DIGEST: Final = f"SELECT * FROM {ApiKey._meta.db_table} WHERE digest = %s"  # noqa: S608 - names of ours; values are parameters


class KeyRefusedError(Exception):
    """The key is not taken. `str()` of it is a sentence for whoever sent it.

    The holder of a key that was good may know why it is refused now: it takes the whole key to
    be told. `reason`: unknown, revoked, expired, address.
    """

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


def digest(key: Secret) -> str:
    return hashlib.sha256(key.reveal().encode(errors="replace")).hexdigest()


def mint(
    name: str,
    permissions: KeyPermission,
    *,
    by: str,
    now: datetime,
    expires_at: datetime | None = None,
    allowed_addresses: Sequence[str] = (),
    channels: Collection[str] = (),
    **quotas: int | None,
) -> tuple[ApiKey, Secret]:
    """A new key: its row, and the key itself, which nobody can have again.

    `channels` are the slugs of those that it is limited to; empty: it is good for all.
    `quotas` are the row's columns: requests_per_minute, concurrent_downloads, bytes_per_day.
    Raises `ValidationError`.
    """
    key = Secret(_MARK + secrets.token_urlsafe(_BYTES))
    row = ApiKey(
        name=name,
        permissions=permissions.value,
        prefix=key.reveal()[:_SHOWN],
        digest=digest(key),
        allowed_addresses=list(allowed_addresses),
        expires_at=expires_at,
        created_at=now,
        created_by=by,
        **quotas,
    )
    row.full_clean()
    with transaction.atomic():
        row.save(force_insert=True)
        if channels:
            limits.limit_key(row, channels)
    return row, key


def revoke(key: ApiKey, *, by: str, now: datetime) -> bool:
    """Refuse it from now on; False where it had been revoked already."""
    revocable = ApiKey.objects.filter(pk=key.pk, revoked_at=None)
    return bool(revocable.update(revoked_at=now, revoked_by=by))


def sent(headers: Mapping[str, str]) -> Secret | None:
    """The key of a request's headers: `Authorization: Bearer KEY` or `X-API-Key: KEY`."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return Secret(token.strip())
    plain = headers.get("X-API-Key", "").strip()
    return Secret(plain) if plain else None


def authenticate(key: Secret, *, address: str, now: datetime) -> ApiKey:
    """The row of a key that is good now, from that address. Raises `KeyRefusedError`.

    That it was used is noted in the row, at most once in `USED`.
    """
    try:
        # Straight to the database: each request asks, and to compose the question takes longer
        # than to answer it.
        (row,) = ApiKey.objects.raw(_BY_DIGEST, [digest(key)])
    except ValueError:
        sentence = "The API key is not known: check that it is whole."
        raise KeyRefusedError("unknown", sentence) from None
    match row.state(now):
        case ApiKey.State.REVOKED:
            raise KeyRefusedError("revoked", "The API key has been revoked: ask for a new one.")
        case ApiKey.State.EXPIRED:
            raise KeyRefusedError("expired", "The API key has expired: ask for a new one.")
        case ApiKey.State.ACTIVE:
            pass
    if not row.is_from(address):
        raise KeyRefusedError(
            "address", f"The API key is not taken from {address or 'there'}: see its addresses."
        )
    if row.last_used_at is None or row.last_used_at <= now - USED:
        _note_use(row, address, now)
    return row


def _note_use(row: ApiKey, address: str, now: datetime) -> None:
    """If another thread is writing, the key's next request will do it."""
    if not _noting.acquire(blocking=False):
        return
    try:
        # Another process may have noted it meanwhile: one write a minute is enough for both.
        stale = Q(last_used_at=None) | Q(last_used_at__lte=now - USED)
        noted = ApiKey.objects.filter(stale, pk=row.pk)
        noted.update(last_used_at=now, last_address=address[:64])
    finally:
        _noting.release()
