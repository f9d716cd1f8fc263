"""The orders to a channel, shared by the admin, the API and the management commands.

An action writes the order and returns; the node's supervisor carries it out. No action
communicates with a process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F

from streams.models import Broadcaster, Channel, LiveStream, Run
from streams.monitoring.preflight import Finding, checked, findings
from streams.wake import wake_supervisor

#: Records an order, in the transaction that gives it.
Note = Callable[[], object]


def _no_note() -> None:
    """For orders that nobody gave: those of the on-air hours."""


class ActionRefusedError(Exception):
    """An order that can't be accepted. `str()` of it is a sentence for the operator."""


class AlreadyOnAirError(ActionRefusedError):
    """The channel to start already has an open run. HTTP 409."""


class NotRunningError(ActionRefusedError):
    """The channel to stop, restart or skip has no open run. HTTP 404."""


class NobodyLiveError(ActionRefusedError):
    """No broadcaster who may take the channel over is live. HTTP 409."""


class CantStartError(ActionRefusedError):
    """The preflight found faults that prevent the start. HTTP 422."""

    def __init__(self, faults: list[Finding]) -> None:
        super().__init__(" ".join(fault.sentence for fault in faults))
        self.faults = faults


def start(
    channel: Channel,
    *,
    by: str,
    now: datetime,
    attended: bool = True,
    note: Note = _no_note,
) -> Run:
    """Order the channel on and open its run.

    Args:
        channel: The channel.
        by: The name of the person or program that gives the order.
        now: The time of the order.
        attended: A person waits for the answer and can fix a fault: the preflight is made now,
            and a fault refuses the start. Otherwise the node makes the preflight, and holds the
            run back until its faults are gone.
        note: Records the order.

    Raises:
        AlreadyOnAirError: The channel is on air or still stopping. Nothing is written.
        CantStartError: Something is missing. Nothing is written.
    """
    refusal = AlreadyOnAirError(f"{channel.name} is already on air.")
    if (open_run := channel.runs.filter(ended_at=None).first()) is not None:
        if not Channel.objects.filter(
            pk=channel.pk, desired_state=Channel.DesiredState.ON
        ).exists():
            raise AlreadyOnAirError(
                f"{channel.name} is still stopping (on air since "
                f"{open_run.started_at:%H:%M:%S} UTC). Try again in a few seconds."
            )
        raise refusal
    preflight = _preflight(channel, now) if attended else {}
    try:
        with transaction.atomic():
            run = Run.objects.create(
                channel=channel, started_at=now, started_by=by, **preflight
            )
            Channel.objects.filter(pk=channel.pk).update(
                desired_state=Channel.DesiredState.ON,
                ordered_at=now,
                ordered_by=by,
                switched_at=now,
            )
            note()
            transaction.on_commit(wake_supervisor)
    except IntegrityError:
        # A concurrent Start was first: the database refused a second open run.
        raise refusal from None
    return run


def _preflight(channel: Channel, now: datetime) -> dict[str, object]:
    """Return the preflight as fields of the run. Raises `CantStartError`."""
    results = findings(channel)
    if faults := [finding for finding in results if finding.stops_the_start]:
        raise CantStartError(faults)
    checks = [asdict(check) for check in checked(results)]
    return {"checks": checks, "checked_at": now, "checked_on": settings.NODE_NAME}


def stop(channel: Channel, *, by: str, now: datetime, note: Note = _no_note) -> None:
    """Order the channel off. The worker closes the run when its processes have ended.

    Raises `NotRunningError`.
    """
    order = {"desired_state": Channel.DesiredState.OFF, "ordered_at": now, "ordered_by": by}
    _update_running(channel, "stopped", note, **order, switched_at=now)


def restart(channel: Channel, *, by: str, now: datetime, note: Note = _no_note) -> None:
    """Order the channel off and on again, as a new run. Raises `NotRunningError`."""
    _update_running(
        channel, "restarted", note, restarts=F("restarts") + 1, ordered_at=now, ordered_by=by
    )


def skip(
    channel: Channel,
    *,
    by: str,  # noqa: ARG001 - all orders share this signature
    now: datetime,  # noqa: ARG001 - see above
    note: Note = _no_note,
) -> None:
    """Order the next item immediately. Raises `NotRunningError`.

    `ordered_by` and `ordered_at` keep the last start; the admin's history records who skipped.
    """
    _update_running(channel, "skipped", note, skips=F("skips") + 1)


def take(
    channel: Channel,
    *,
    by: str,  # noqa: ARG001 - all orders share this signature
    now: datetime,
    broadcaster: Broadcaster | None = None,
    note: Note = _no_note,
) -> None:
    """Put a live feed on the channel: that of `broadcaster`, or the one with the lowest rank.

    The choice holds until `return_to_programme` or `release`, or until the broadcaster has not
    been live for a minute. Raises `NotRunningError` or `NobodyLiveError`.
    """
    live = LiveStream.objects.filter(server=settings.INGEST_SERVER, ended_at=None)
    rights = channel.takeover_rights.filter(
        broadcaster__enabled=True, broadcaster__in=live.values("broadcaster")
    )
    if broadcaster is not None:
        rights = rights.filter(broadcaster=broadcaster)
    right = rights.order_by("rank", "pk").first()
    if right is None:
        who = "who may take it over" if broadcaster is None else "of that name"
        raise NobodyLiveError(
            f"No broadcaster {who} is live now. {channel.name} stays as it is."
        )
    _update_running(
        channel,
        "taken over",
        note,
        live_order=Channel.Live.TAKE,
        live_broadcaster=right.broadcaster_id,
        live_ordered_at=now,
    )


def return_to_programme(
    channel: Channel,
    *,
    by: str,  # noqa: ARG001 - all orders share this signature
    now: datetime,
    note: Note = _no_note,
) -> None:
    """Return to the programme, and stay there while a broadcaster is live.

    Raises `NotRunningError`.
    """
    _update_running(
        channel,
        "returned to its programme",
        note,
        live_order=Channel.Live.RETURN,
        live_broadcaster=None,
        live_ordered_at=now,
    )


def release(
    channel: Channel,
    *,
    by: str,  # noqa: ARG001 - all orders share this signature
    now: datetime,
    note: Note = _no_note,
) -> None:
    """Let live feeds take over automatically again. Raises `NotRunningError`."""
    _update_running(
        channel,
        "set to automatic takeover",
        note,
        live_order=Channel.Live.AUTO,
        live_broadcaster=None,
        live_ordered_at=now,
    )


def _update_running(channel: Channel, verb: str, note: Note, **order: object) -> None:
    with transaction.atomic():
        changed = Channel.objects.filter(
            pk=channel.pk, desired_state=Channel.DesiredState.ON
        ).update(**order)
        if not changed:
            raise NotRunningError(f"{channel.name} is not running, so it can't be {verb}.")
        note()
        transaction.on_commit(wake_supervisor)
