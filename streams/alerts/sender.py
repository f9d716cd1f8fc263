"""Sends the messages that are due: claimed, tried again with growing pauses, written down.

A worker that is killed between the receiver's answer and the row sends the message once more:
at least once, not never.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Final

import structlog
from django.conf import settings
from django.db.models import F, Min, Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from streams.alerts import outbox, sending, wording
from streams.models import AlertMessage, AlertReceiver
from streams.models.channel import zone_of
from streamsite.processes.claims import Claims

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: The pause after each failed attempt; after the last, the message has failed: a day in all.
PAUSES: Final = tuple(
    timedelta(seconds=seconds)
    for seconds in (10, 30, 60, 300, 900, 3600, 2 * 3600, 4 * 3600, 6 * 3600, 10 * 3600)
)
#: A claim whose sender died is free again: longer than an attempt can take.
CLAIMED: Final = timedelta(minutes=2)
#: Receivers at a time: a slow one holds up few others.
AT_ONCE: Final = 8
#: Messages that one sending takes along.
MAX_TOGETHER: Final = 50
#: Seconds for which one task goes on; the next begins within a minute.
SHIFT_S: Final = 50.0
#: Seconds until the next look, while messages are collected.
POLL_S: Final = 1.0
_WAITING: Final = Q(state=AlertMessage.State.WAITING)
#: A claim lasts until the time of the next attempt.
_CLAIMS: Final = Claims(
    AlertMessage, "next_at", related=("receiver", "incident__channel", "incident__evidence")
)

#: The messages of one receiver.
Batch = list[AlertMessage]


def send_due() -> str:
    """Send what is due, and what becomes due in this shift: the task of the queue."""
    done = failed = 0
    outbox.remind(timezone.now())
    ends = time.monotonic() + SHIFT_S
    with ThreadPoolExecutor(AT_ONCE, "alerts") as pool:
        while (left := ends - time.monotonic()) > 0:
            batches = claimed(timezone.now())
            if batches:
                for batch, fault in zip(batches, pool.map(_attempt, batches), strict=True):
                    write_outcome(batch, fault, timezone.now())
                    done, failed = done + (not fault), failed + bool(fault)
                continue
            # Those that failed are left to the next minute's task.
            fresh = _waiting().filter(attempts=0)
            soonest = fresh.aggregate(first=Min("next_at"))["first"]
            if soonest is None or soonest > timezone.now() + timedelta(seconds=left):
                break
            time.sleep(POLL_S)
    return f"{done} sent, {failed} not."


def _waiting() -> QuerySet[AlertMessage]:
    return AlertMessage.objects.filter(_WAITING, receiver__enabled=True)


def claimed(now: datetime) -> list[Batch]:
    """Take some that are due, by receiver, so that no other sender has them too."""
    due = _WAITING & Q(next_at__lte=now)
    ready = _waiting().filter(next_at__lte=now).order_by("next_at", "pk")
    receivers = list(dict.fromkeys(ready.values_list("receiver", flat=True)[:500]))
    batches = []
    for receiver in receivers[:AT_ONCE]:
        keys = ready.filter(receiver=receiver).values_list("pk", flat=True)[:MAX_TOGETHER]
        rows = [_CLAIMS.take(pk, now + CLAIMED, due, attempts=F("attempts") + 1) for pk in keys]
        if batch := [row for row in rows if row is not None]:
            batches.append(batch)
    return batches


def _attempt(batch: Batch) -> str:
    """In a thread: it asks no database."""
    receiver: AlertReceiver = batch[0].receiver
    subject, lines = rendered(batch, timezone.now())
    incidents = [row.incident for row in batch if row.incident is not None]
    still = next((still for one in incidents if (still := outbox.still_of(one))), b"")
    try:
        return sending.send(receiver.address, subject, lines, still)
    except Exception as error:  # noqa: BLE001 - a service's own fault must not hold up the others
        # Its text may quote the address.
        return f"The message could not be made for this service ({type(error).__name__})."


def rendered(batch: Sequence[AlertMessage], now: datetime) -> tuple[str, list[str]]:
    """Return subject and lines. An incident that is over meanwhile takes one line."""
    zone = zone_of(batch[0].receiver.time_zone)
    reports: dict[int, wording.Report] = {}
    for row in batch:
        if (one := row.incident) is not None:
            reports[one.pk] = wording.Report(
                channel=one.channel.name,
                subject=one.subject,
                severity=one.severity,
                cause=one.cause,
                stage=row.stage,
                opened_at=one.opened_at.astimezone(zone),
                closed_at=None if one.closed_at is None else one.closed_at.astimezone(zone),
                link=link(reverse("admin:streams_incident_change", args=[one.pk])),
            )
    others = [row for row in batch if row.incident is None]
    lines = [wording.line(report, now) for report in reports.values()]
    lines += [line for row in others for line in row.lines]
    subjects = [row.subject for row in others]
    return wording.subject(list(reports.values()), subjects), lines


def link(path: str) -> str:
    """Return the whole address of a page, if the site's own is set."""
    site = next(iter(settings.CSRF_TRUSTED_ORIGINS), "")
    return f"{site.rstrip('/')}{path}" if site and "*" not in site else path


def write_outcome(batch: Batch, fault: str, now: datetime) -> None:
    for row in batch:
        mine = _CLAIMS.mine(row)
        if not fault:
            mine.update(state=AlertMessage.State.DELIVERED, fault="", delivered_at=now)
            continue
        over = row.attempts > len(PAUSES)
        mine.update(
            state=AlertMessage.State.FAILED if over else AlertMessage.State.WAITING,
            fault=fault,
            next_at=now if over else now + PAUSES[row.attempts - 1],
        )
    if fault:
        log.warning("alert.not_sent", receiver=batch[0].receiver.name, fault=fault)


def test(receiver: AlertReceiver) -> tuple[bool, str]:
    """Send a test now. Returns whether the receiver has it, and what it answered."""
    lines = ["This is a test. Alerts of streamsite arrive here."]
    fault = sending.send(receiver.address, "streamsite: test", lines)
    return not fault, fault or f"{receiver.name} has taken the test."
