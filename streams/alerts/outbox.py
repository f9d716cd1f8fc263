"""Writes messages in the transaction of what they report, so none is lost."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Min

from streams.alerts.rules import Quiet, Wishes
from streams.events import IncidentClosed, IncidentOpened
from streams.models import AlertMessage, AlertReceiver, Evidence, Incident
from streams.models.channel import zone_of
from streamsite.notifications.events import Event
from streamsite.processes.task_queue import enqueue

SEND: Final = "streams.alerts.sender.send_due"


def wishes(receiver: AlertReceiver) -> Wishes:
    quiet = None
    if receiver.quiet_from is not None and receiver.quiet_until is not None:
        zone = zone_of(receiver.time_zone)
        quiet = Quiet(receiver.quiet_from, receiver.quiet_until, zone)
    minutes = receiver.repeat_minutes
    return Wishes(
        lowest=receiver.lowest,
        opened=receiver.opened,
        closed=receiver.closed,
        repeat=timedelta(minutes=minutes) if minutes else None,
        group=timedelta(seconds=receiver.group_seconds),
        quiet=quiet,
        urgent=receiver.urgent,
    )


def still_of(incident: Incident) -> bytes:
    """Return the picture that was kept of the incident, a JPEG; empty: there is none.

    It asks no database if the incident was read with its evidence.
    """
    try:
        return bytes(incident.evidence.still)
    except Evidence.DoesNotExist:
        return b""


def sink(event: Event, at: datetime) -> bool:
    """Write a message to each receiver that wants it. Returns whether one does."""
    receivers = AlertReceiver.objects.filter(enabled=True).defer("address")
    if isinstance(event, IncidentOpened):
        stage = "closed" if isinstance(event, IncidentClosed) else "opened"
        rows = [
            _row(receiver, at, stage=stage, severity=event.severity, incident=event.incident)
            for receiver in receivers.prefetch_related("channels")
            if _watches(receiver, event.channel.slug)
            and wishes(receiver).wants(stage, event.severity)
        ]
    elif (message := event.message()) is not None:
        # They are of several channels, or of a node: for those who have chosen none.
        subject, lines = message
        rows = [
            _row(receiver, at, subject=subject[:200], lines=list(lines))
            for receiver in receivers.filter(problems=True, channels=None)
        ]
    else:
        return False
    _write(rows)
    return bool(rows)


def _watches(receiver: AlertReceiver, slug: str) -> bool:
    chosen = receiver.channel_slugs
    return not chosen or slug in chosen


def _row(
    receiver: AlertReceiver,
    at: datetime,
    *,
    stage: str = AlertMessage.Stage.OTHER,
    severity: str | None = None,
    incident: int | None = None,
    subject: str = "",
    lines: Iterable[str] = (),
) -> AlertMessage:
    waiting = AlertMessage.objects.filter(
        receiver=receiver, state=AlertMessage.State.WAITING, attempts=0
    ).aggregate(first=Min("next_at"))["first"]
    return AlertMessage(
        receiver=receiver,
        incident_id=incident,
        stage=stage,
        subject=subject,
        lines=list(lines),
        created_at=at,
        next_at=wishes(receiver).due(severity, at, waiting),
    )


def remind(now: datetime) -> int:
    """Write messages of incidents that last, as often as receivers want. Returns their number.

    Called once a minute by one task; two at once would send one reminder too many.
    """
    rows = []
    lasting = list(Incident.objects.filter(closed_at=None).select_related("channel"))
    receivers = AlertReceiver.objects.filter(enabled=True, repeat_minutes__gt=0)
    for receiver in receivers.defer("address").prefetch_related("channels"):
        rules = wishes(receiver)
        reported = dict(
            receiver.messages.filter(incident__in=lasting)
            .values_list("incident")
            .annotate(last=Max("created_at"))
            .order_by()
        )
        rows += [
            _row(
                *(receiver, now),
                stage=AlertMessage.Stage.LASTING,
                severity=incident.severity,
                incident=incident.pk,
            )
            for incident in lasting
            if _watches(receiver, incident.channel.slug)
            and rules.again(
                incident.severity, reported.get(incident.pk, incident.opened_at), now
            )
        ]
    _write(rows)
    return len(rows)


def _write(rows: list[AlertMessage]) -> None:
    if rows:
        AlertMessage.objects.bulk_create(rows)
        transaction.on_commit(_knock, robust=True)


def _knock() -> None:
    """A message to the queue that is lost costs a minute: the schedule looks as well."""
    # Named, for the playout worker's own queue is another.
    enqueue(SEND, cluster=settings.Q_CLUSTER["name"])
