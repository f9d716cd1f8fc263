"""What was measured of a channel, for the ledger: its state, and its processes."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from streams.playout import process
from streams.playout.ledger import OutputSnapshot, Sampled, Snapshot
from streams.playout.machine import Status
from streams.playout.states import OutputAir

if TYPE_CHECKING:
    from streams.playout.channel import Channel
    from streams.playout.role import Role


def snapshot(channel: Channel) -> Snapshot:
    plan, clock, timeline = (
        channel.assignment.plan,
        channel.hub.clock,
        channel.playback.timeline,
    )
    slot = None if channel.stopping else timeline.on_air
    until = None
    if slot is not None:
        until = timeline.until(slot)
        length = slot.item.length(plan.house)
        if until is None and length is not None:
            until = slot.start + length

    def wall(at: Fraction | None) -> float | None:
        return None if at is None or clock is None else channel.now.at(clock.moment(at))

    return Snapshot(
        channel=plan.pk,
        run=channel.assignment.run,
        state=channel.state,
        cause=channel.cause,
        since=channel.since,
        on_air_since=channel.on_air_since,
        now=None if slot is None else slot.item,
        now_since=None if slot is None else wall(slot.start),
        now_until=wall(until),
        next=channel.playback.coming(plan),
        bitrate=channel.window.bitrate(),
        restarts_done=channel.restarts_done,
        skips_done=channel.skips_done,
        last_entry=channel.playback.choice.last_entry,
        outputs={
            pk: _output(channel, pk, status) for pk, status in channel.pushers.statuses.items()
        },
    )


def _output(channel: Channel, pk: int, status: Status) -> OutputSnapshot:
    role = channel.pushers.roles.get(pk) if status.state is OutputAir.ON_AIR else None
    at = channel.now.at
    return OutputSnapshot(
        status=status,
        since=at(status.since),
        retry_at=None if status.retry_at is None else at(status.retry_at),
        bitrate=None if role is None else role.bitrate(),
        fps=None if role is None else role.progress.fps,
        speed=None if role is None else role.progress.speed,
    )


def sample(channel: Channel, role: Role) -> Sampled:
    load = role.load(channel.now.mono)
    output = None
    state, bitrate = channel.state.value, channel.window.bitrate()
    if role.process.record.role == process.PUSHER:
        output = int(role.name.partition("-")[2])
        state, bitrate = channel.pushers.statuses[output].state.value, role.bitrate()
    return Sampled(
        channel=channel.assignment.plan.pk,
        output=output,
        role=role.process.record.role,
        at=channel.now.wall,
        state=state,
        bitrate=bitrate,
        fps=role.progress.fps,
        speed=role.progress.speed,
        lag=None if role is channel.playback.player else role.lag(),
        cpu=load.cpu,
        memory=load.memory,
    )
