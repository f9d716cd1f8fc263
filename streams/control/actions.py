"""What people can order, each verb once: called by the admin, the API and the commands alike.

An action writes the order and returns; the node's supervisor carries it out. No action talks to
a process.
"""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F

from streams.models import Broadcaster, Channel, LiveStream, Run
from streams.monitoring.preflight import Finding, findings, local_findings
from streams.wake import wake_supervisor


class ActionRefusedError(Exception):
    """An order that can't be taken. `str()` of it is a sentence for the operator."""


class AlreadyOnAirError(ActionRefusedError):
    """Start of a channel whose run is open. HTTP 409."""


class NotRunningError(ActionRefusedError):
    """Stop, restart or skip of a channel that has no open run. HTTP 404."""


class NobodyLiveError(ActionRefusedError):
    """Take where nobody is live who may take over. HTTP 409."""


class CantStartError(ActionRefusedError):
    """The channel lacks something without which nothing would go on air. HTTP 422."""

    def __init__(self, faults: list[Finding]) -> None:
        super().__init__(" ".join(fault.sentence for fault in faults))
        self.faults = faults


def start(channel: Channel, *, by: str, now: datetime, attended: bool = True) -> Run:
    """Order the channel on and open its run.

    `attended`: a person waits for the answer, and can do something about a storage that is
    away or an output that lacks its key. Without one, only that refuses which the node's own
    preflight would hold the channel back for, and nothing is asked that may be away.

    Raises `AlreadyOnAirError`, or `CantStartError` with what is missing: nothing is written.
    """
    refusal = AlreadyOnAirError(f"{channel.name} is already on air.")
    if (open_run := channel.runs.filter(ended_at=None).first()) is not None:
        if not Channel.objects.filter(pk=channel.pk, order=Channel.Order.ON).exists():
            raise AlreadyOnAirError(
                f"{channel.name} is still stopping (on air since "
                f"{open_run.started_at:%H:%M:%S} UTC): try again in a few seconds."
            )
        raise refusal
    found = findings(channel) if attended else local_findings(channel, attended=False)
    if faults := [finding for finding in found if finding.stops_the_start]:
        raise CantStartError(faults)
    try:
        with transaction.atomic():
            run = Run.objects.create(channel=channel, started_at=now, started_by=by)
            Channel.objects.filter(pk=channel.pk).update(
                order=Channel.Order.ON, ordered_at=now, ordered_by=by, switched_at=now
            )
            transaction.on_commit(wake_supervisor)
    except IntegrityError:
        # Another Start was first: the database refused the second open run.
        raise refusal from None
    return run


def stop(channel: Channel, *, by: str, now: datetime) -> None:
    """Order the channel off; the worker closes the run when its processes are gone.

    Raises `NotRunningError`.
    """
    order = {"order": Channel.Order.OFF, "ordered_at": now, "ordered_by": by}
    _update_running(channel, "stopped", **order, switched_at=now)


def restart(channel: Channel, *, by: str, now: datetime) -> None:
    """Order the channel off and on again, as a new run. Raises `NotRunningError`."""
    _update_running(
        channel, "restarted", restarts=F("restarts") + 1, ordered_at=now, ordered_by=by
    )


def skip(channel: Channel, *, by: str, now: datetime) -> None:  # noqa: ARG001 - as all orders
    """Order the next item at once. Raises `NotRunningError`.

    Who ordered the channel on, and when, stays: the admin's history tells who skipped.
    """
    _update_running(channel, "skipped", skips=F("skips") + 1)


def take(
    channel: Channel,
    *,
    by: str,  # noqa: ARG001 - as all orders
    now: datetime,
    broadcaster: Broadcaster | None = None,
) -> None:
    """Put a live feed on the channel: the broadcaster's, or that of the highest rank.

    It holds until `give_back` or `release`, or until they have not been live for a minute.
    Raises `NotRunningError` or `NobodyLiveError`.
    """
    live = LiveStream.objects.filter(server=settings.INGEST_SERVER, ended_at=None)
    rights = channel.takeover_rights.filter(
        broadcaster__enabled=True, broadcaster__in=live.values("broadcaster")
    )
    if broadcaster is not None:
        rights = rights.filter(broadcaster=broadcaster)
    right = rights.order_by("rank", "pk").first()
    if right is None:
        who = "Nobody who may take it over" if broadcaster is None else "Nobody of that name"
        raise NobodyLiveError(f"{who} is live now: {channel.name} goes on as it is.")
    _update_running(
        channel,
        "taken over",
        live_order=Channel.Live.TAKE,
        live_broadcaster=right.broadcaster_id,
        live_ordered_at=now,
    )


def give_back(channel: Channel, *, by: str, now: datetime) -> None:  # noqa: ARG001 - as all orders
    """Return to the programme, and stay there for as long as somebody is live.

    Raises `NotRunningError`.
    """
    _update_running(
        channel,
        "returned to its programme",
        live_order=Channel.Live.RETURN,
        live_broadcaster=None,
        live_ordered_at=now,
    )


def release(channel: Channel, *, by: str, now: datetime) -> None:  # noqa: ARG001 - as all orders
    """Let live feeds come and go by themselves again. Raises `NotRunningError`."""
    _update_running(
        channel,
        "left to itself",
        live_order=Channel.Live.AUTO,
        live_broadcaster=None,
        live_ordered_at=now,
    )


def _update_running(channel: Channel, verb: str, **order: object) -> None:
    with transaction.atomic():
        changed = Channel.objects.filter(pk=channel.pk, order=Channel.Order.ON).update(**order)
        if not changed:
            raise NotRunningError(f"{channel.name} is not running, so it can't be {verb}.")
        transaction.on_commit(wake_supervisor)
