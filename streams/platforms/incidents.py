"""Opens and closes the incidents `platform-<output>`: no node writes them.

The end of a run closes them with all others (streams.node.history_writer).
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import Q

from streams import events
from streams.models import Channel, Incident, Output, Run
from streams.monitoring.worker_silence import FRESH
from streams.platforms.verdicts import Effect, Sending, Verdict
from streams.playout.contract.states import OutputAir


def subject(output: Output) -> str:
    return f"{Incident.PLATFORM}{output.pk}"


def sending(output: Output, now: datetime) -> Sending:
    """Return what our own node says about the output."""
    state = getattr(output, "state", None)
    if state is None or state.measured_at is None or now - state.measured_at > FRESH:
        return Sending(None, None)
    return Sending(state.state == OutputAir.ON_AIR, state.session_since or state.since)


def write(output: Output, verdict: Verdict, effect: Effect, now: datetime) -> None:
    """Have the incident that the effect names."""
    if effect is Effect.KEEP:
        return
    present = Incident.objects.filter(
        channel=output.channel_id, subject=subject(output), closed_at=None
    ).first()
    if effect is Effect.CLEAR:
        if present is not None:
            close(present, now)
        return
    cause = f"{output.name}: {verdict.sentence} {verdict.advice}".strip()
    if present is not None and present.severity == effect:
        Incident.objects.filter(pk=present.pk, closed_at=None).update(cause=cause)
        return
    if present is not None:
        close(present, now)
    _open(output, effect.value, cause, now)


def _open(output: Output, severity: str, cause: str, now: datetime) -> None:
    with transaction.atomic():
        run = Run.objects.filter(channel=output.channel_id, ended_at=None).first()
        if run is None:
            return
        row, new = Incident.objects.get_or_create(
            channel_id=output.channel_id,
            subject=subject(output),
            closed_at=None,
            defaults={
                "run": run,
                "output": output,
                "severity": severity,
                "cause": cause,
                "opened_at": now,
            },
        )
        if new:
            events.incident(row, now)


def close(row: Incident, now: datetime) -> None:
    with transaction.atomic():
        if Incident.objects.filter(pk=row.pk, closed_at=None).update(closed_at=now):
            row.closed_at = now
            events.incident(row, now)


def close_abandoned(now: datetime) -> int:
    """Close the incidents of outputs that no platform is asked about any more."""
    checked = Q(output__enabled=True, output__account__isnull=False) & Q(
        channel__desired_state=Channel.DesiredState.ON
    )
    rows = Incident.objects.filter(subject__startswith=Incident.PLATFORM, closed_at=None)
    abandoned = list(rows.exclude(checked).select_related("channel"))
    for row in abandoned:
        close(row, now)
    return len(abandoned)
