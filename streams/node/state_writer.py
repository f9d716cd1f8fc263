"""Writes a node's measurements to the state rows of channels and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.db.models import Model, QuerySet

from streams.models import Channel, ChannelState, OutputState
from streams.planning import plans
from streams.playout.contract import ledger
from streams.playout.contract.moment import when

#: Fields that outlive a run, or get a time when the channel is off.
LASTING_FIELDS: Final = frozenset(
    {
        *("channel", "epoch", "since", "restarts_done", "skips_done", "cursors"),
        *("measured_at", "hours_done"),
        # A second node ends its own claim.
        *("second_owner", "second_epoch", "second_lease_until", "second_ready"),
        *("second_outputs", "handed_over"),
    }
)
LASTING_OUTPUT_FIELDS: Final = frozenset({"output", "since", "measured_at"})


def when_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else when(seconds)


def write(
    rows: QuerySet[ChannelState],
    snapshot: ledger.Snapshot,
    now: datetime,
    lease: datetime,
    node: str,
    place: Mapping[str, Any],
) -> bool:
    """Write a channel and its outputs, and renew the claim up to `lease`.

    `rows`: the channel's row while the claim is ours. `place`: its fields for a second node.
    False: the claim is lost, and nothing was written.
    """
    on_air = snapshot.now
    written = rows.update(
        state=snapshot.state.value,
        since=when(snapshot.since),
        cause=snapshot.cause,
        run=snapshot.run,
        released_by="",
        on_air_since=when_or_none(snapshot.on_air_since),
        now_title="" if on_air is None else on_air.item.title,
        now_kind="" if on_air is None else on_air.item.kind.value,
        now_since=when_or_none(snapshot.now_since),
        now_until=when_or_none(snapshot.now_until),
        now_rule="" if on_air is None else on_air.rule,
        now_why="" if on_air is None else on_air.why,
        next_title="" if snapshot.next is None else snapshot.next.title,
        next_kind="" if snapshot.next is None else snapshot.next.kind.value,
        bitrate=snapshot.bitrate,
        inspected_at=when_or_none(snapshot.inspected_at),
        flaws={flaw.value: since for flaw, since in snapshot.flaws.items()},
        restarts_done=snapshot.restarts_done,
        skips_done=snapshot.skips_done,
        cursors=plans.encode_cursors(snapshot.cursors, snapshot.seen),
        measured_at=now,
        lease_until=lease,
        **place,
    )
    if written:
        for output, output_snapshot in snapshot.outputs.items():
            write_output(output, output_snapshot, now, node)
    return bool(written)


def write_output(output: int, shot: ledger.OutputSnapshot, now: datetime, node: str) -> None:
    taken = shot.taken
    facts: Mapping[str, Any] = {
        "state": shot.status.state.value,
        "since": when(shot.since),
        "cause": shot.status.cause,
        "failures": shot.status.failures,
        "retry_at": when_or_none(shot.retry_at),
        "bitrate": shot.bitrate,
        "fps": shot.fps,
        "speed": shot.speed,
        "lag_seconds": shot.lag,
        "late": shot.late,
        "acknowledged": None if taken is None else taken.bitrate,
        "resent_percent": None if taken is None else taken.resent_percent,
        "queued_bytes": None if taken is None else taken.queued,
        "session_since": when_or_none(shot.session),
        "node": node,
        "measured_at": now,
    }
    rows = OutputState.objects.filter(output=output)
    if not rows.update(**facts) and Channel.objects.filter(outputs=output).exists():
        OutputState.objects.create(output_id=output, **facts)


def write_off(rows: QuerySet[ChannelState], channel: int, at: datetime) -> None:
    """Mark the channel as off and unclaimed. `rows`: as in `write`."""
    rows.update(**_empty(ChannelState, LASTING_FIELDS), since=at, measured_at=at)
    outputs = OutputState.objects.filter(output__channel=channel)
    outputs.update(**_empty(OutputState, LASTING_OUTPUT_FIELDS), since=at)


def _empty(model: type[Model], kept: frozenset[str]) -> dict[str, Any]:
    """The default of each field that describes a playing channel or output."""
    return {
        field.name: field.get_default()
        for field in model._meta.concrete_fields
        if field.name not in kept
    }
