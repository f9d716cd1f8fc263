"""Sends what waits in the outbox: signed, tried again with growing pauses, written down.

The form is that of Standard Webhooks (standardwebhooks.com), for which receivers find
libraries: `webhook-id` is the idempotency key, and the signature covers id, time and body.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Final

import structlog
from django.conf import settings
from django.db.models import F, Q
from django.utils import timezone

from streamsite import __version__
from streamsite.processes.claims import Claims
from streamsite.security.secret import Secret, Unreadable
from streamsite.webhooks import client
from streamsite.webhooks.models import Delivery, Endpoint

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: The pause after each failed attempt; after the last, the delivery has failed: a day in all.
PAUSES: Final = tuple(
    timedelta(seconds=seconds)
    for seconds in (10, 60, 300, 900, 3600, 2 * 3600, 4 * 3600, 6 * 3600, 12 * 3600)
)
#: A claim whose sender died is free again: longer than an attempt can take.
CLAIMED: Final = timedelta(minutes=2)
#: Sent at a time: a slow receiver holds up few others.
AT_ONCE: Final = 8
#: Seconds for which one task goes on; the next begins within a minute.
SHIFT: Final = 50.0
#: 256 bits, as HMAC-SHA256 has use for.
_SECRET_BYTES: Final = 32
_MARK: Final = "whsec_"
#: A claim lasts until the time of the next attempt.
_CLAIMS: Final = Claims(Delivery, "next_at", related=("endpoint",))


def new_secret() -> Secret:
    return Secret(_MARK + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode())


def signature(secret: Secret, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and HMAC-SHA256 over `id.timestamp.body`, in base64."""
    key = base64.b64decode(secret.reveal().removeprefix(_MARK))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def send_due() -> str:
    """The queue's task: everything that is due, for some time."""
    done = failed = 0
    begun = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE, "webhooks") as pool:
        while time.monotonic() - begun < SHIFT:
            mine = claimed(timezone.now())
            if not mine:
                break
            for row, answer in zip(mine, pool.map(_attempt, mine), strict=True):
                recorded = write_outcome(row, answer, timezone.now())
                done, failed = done + recorded, failed + (not recorded)
    return f"{done} delivered, {failed} not."


def claimed(now: datetime) -> list[Delivery]:
    """Some that are due, taken so that no other sender has them too."""
    due = Q(state=Delivery.State.WAITING, next_at__lte=now)
    waiting = Delivery.objects.filter(due, endpoint__enabled=True).order_by("next_at", "pk")
    rows = [
        _CLAIMS.take(pk, now + CLAIMED, due, attempts=F("attempts") + 1)
        for pk in waiting.values_list("pk", flat=True)[:AT_ONCE]
    ]
    return [row for row in rows if row is not None]


def _attempt(row: Delivery) -> client.Answer:
    """In a thread: it asks no database."""
    endpoint: Endpoint = row.endpoint
    if isinstance(endpoint.secret, Unreadable):
        return client.Answer(None, "The secret can't be decrypted: renew it.")
    body, sent_at = row.body.encode(), int(time.time())
    message_id = str(row.message_id)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"streamsite/{__version__}",
        "webhook-id": message_id,
        "webhook-timestamp": str(sent_at),
        "webhook-signature": signature(endpoint.secret, message_id, sent_at, body),
        "Idempotency-Key": message_id,
    }
    return client.post(endpoint.url, body, headers, private=settings.WEBHOOK_PRIVATE_TARGETS)


def write_outcome(row: Delivery, answer: client.Answer, now: datetime) -> bool:
    """Write how it went. Whether it was delivered."""
    mine = _CLAIMS.mine(row)
    if not answer.fault:
        mine.update(
            state=Delivery.State.DELIVERED, status=answer.status, fault="", delivered_at=now
        )
        return True
    over = row.attempts > len(PAUSES)
    mine.update(
        state=Delivery.State.FAILED if over else Delivery.State.WAITING,
        status=answer.status,
        fault=answer.fault,
        next_at=now if over else now + PAUSES[row.attempts - 1],
    )
    log.warning(
        "webhook.not_delivered",
        endpoint=row.endpoint.name,
        webhook_event=row.event,
        attempt=row.attempts,
        status=answer.status,
        given_up=over,
    )
    return False
