"""Emits webhook events of channels, in the transaction that writes their history."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from streams.models import Channel, Incident, Run, Takeover
from streamsite.webhooks.models import Event
from streamsite.webhooks.outbox import emit


def on_air(run: int, at: datetime) -> None:
    _run(Event.ON_AIR, run, at)


def off_air(run: int, at: datetime) -> None:
    _run(Event.OFF_AIR, run, at)


def _run(event: Event, run: int, at: datetime) -> None:
    for row in Run.objects.filter(pk=run).select_related("channel"):
        data = {
            "channel": _channel(row.channel),
            "run": row.pk,
            "started_at": row.started_at,
            "started_by": row.started_by,
            "on_air_at": row.on_air_at,
            "ended_at": row.ended_at,
            "end_reason": row.end_reason,
        }
        emit(event, data, at=at)


def incident(row: Incident, at: datetime) -> None:
    """Emit that the incident was opened or closed."""
    event = Event.INCIDENT_OPENED if row.closed_at is None else Event.INCIDENT_CLOSED
    data = {
        "channel": _channel(row.channel),
        "incident": row.pk,
        "subject": row.subject,
        "severity": row.severity,
        "cause": row.cause,
        "output": row.output_id,
        "opened_at": row.opened_at,
        "closed_at": row.closed_at,
    }
    emit(event, data, at=at)


def takeovers(rows: Iterable[Takeover], at: datetime) -> None:
    """Emit that takeovers came on air or ended, except those that never came on air."""
    for row in rows:
        if row.on_air_at is None:
            continue
        event = Event.TAKEOVER_STARTED if row.ended_at is None else Event.TAKEOVER_ENDED
        data = {
            "channel": _channel(row.channel),
            "takeover": row.pk,
            "broadcaster": row.broadcaster.slug if row.broadcaster else None,
            "on_air_at": row.on_air_at,
            "ended_at": row.ended_at,
            "cause": row.cause,
        }
        emit(event, data, at=at)


def _channel(channel: Channel) -> dict[str, Any]:
    return {"slug": channel.slug, "name": channel.name}
