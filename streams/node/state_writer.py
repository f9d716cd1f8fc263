"""Writes a node's measurements to the state rows of channels and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from streams.models import Channel, ChannelState, OutputState
from streams.node.history_writer import when
from streams.planning import plans
from streams.playout.contract import ledger
from streams.playout.contract.states import AirState, OutputAir


def when_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else when(seconds)


def write(
    rows: QuerySet[ChannelState], snapshot: ledger.Snapshot, now: datetime, lease: datetime
) -> bool:
    """Write a channel and its outputs, and renew the claim up to `lease`.

    `rows`: the channel's row while the claim is ours. False: the claim is lost, and nothing was
    written.
    """
    on_air = snapshot.now
    written = rows.update(
        state=snapshot.state.value,
        since=when(snapshot.since),
        cause=snapshot.cause,
        run=snapshot.run,
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
        restarts_done=snapshot.restarts_done,
        skips_done=snapshot.skips_done,
        cursors=plans.encode_cursors(snapshot.cursors, snapshot.seen),
        measured_at=now,
        lease_until=lease,
    )
    if written:
        for output, output_snapshot in snapshot.outputs.items():
            write_output(output, output_snapshot, now)
    return bool(written)


def write_output(output: int, shot: ledger.OutputSnapshot, now: datetime) -> None:
    facts: Mapping[str, Any] = {
        "state": shot.status.state.value,
        "since": when(shot.since),
        "cause": shot.status.cause,
        "failures": shot.status.failures,
        "retry_at": when_or_none(shot.retry_at),
        "bitrate": shot.bitrate,
        "fps": shot.fps,
        "speed": shot.speed,
        "session_since": when_or_none(shot.session),
        "measured_at": now,
    }
    rows = OutputState.objects.filter(output=output)
    if not rows.update(**facts) and Channel.objects.filter(outputs=output).exists():
        OutputState.objects.create(output_id=output, **facts)


def write_off(rows: QuerySet[ChannelState], channel: int, at: datetime) -> None:
    """Mark the channel as off and unclaimed. `rows`: as in `write`."""
    rows.update(
        state=AirState.OFF.value,
        since=at,
        cause="",
        owner="",
        lease_until=None,
        run=None,
        on_air_since=None,
        now_title="",
        now_kind="",
        now_since=None,
        now_until=None,
        now_rule="",
        now_why="",
        next_title="",
        next_kind="",
        bitrate=None,
        measured_at=at,
    )
    OutputState.objects.filter(output__channel=channel).update(
        state=OutputAir.OFF.value,
        since=at,
        cause="",
        failures=0,
        retry_at=None,
        bitrate=None,
        fps=None,
        speed=None,
        session_since=None,
    )
