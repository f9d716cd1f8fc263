"""What was measured of a channel, for the ledger: its state, and its processes."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from streams.playout.contract.ledger import OutputSnapshot, Sampled, Snapshot
from streams.playout.contract.states import OutputAir
from streams.playout.ffmpeg import process
from streams.playout.outputs.state_machine import Status
from streams.playout.player.playback import when
from streams.playout.player.selection import cut_at
from streams.programme.model import Cursors

if TYPE_CHECKING:
    from streams.playout.channel.channel import Channel
    from streams.playout.ffmpeg.monitored_process import Role


def snapshot(channel: Channel) -> Snapshot:
    plan, clock, timeline = (
        channel.assignment.plan,
        channel.hub.clock,
        channel.playback.timeline,
    )
    slot = None if channel.stopping else timeline.on_air
    until = None if slot is None else timeline.until(slot)

    def wall(at: Fraction | None) -> float | None:
        known = at is not None and clock is not None
        return channel.playback.wall(at, clock, channel.now) if known else None

    return Snapshot(
        channel=plan.pk,
        run=channel.assignment.run,
        state=channel.state,
        cause=channel.cause,
        since=channel.since,
        on_air_since=channel.on_air_since,
        now=None if slot is None else slot.turn,
        now_since=None if slot is None else wall(slot.start),
        now_until=wall(until),
        next=channel.playback.coming(plan, clock, channel.now),
        bitrate=channel.window.bitrate(),
        restarts_done=channel.restarts_done,
        skips_done=channel.skips_done,
        cursors=channel.playback.choice.cursors if slot is None else slot.turn.cursors,
        seen=channel.left if channel.stopping else seen(channel),
        outputs={
            pk: _output(channel, pk, status) for pk, status in channel.pushers.statuses.items()
        },
    )


def seen(channel: Channel) -> Cursors:
    """Where the lists stand, as far as viewers have seen them."""
    slot, clock = channel.playback.timeline.on_air, channel.hub.clock
    if slot is None or clock is None or not channel.policy.paced:
        return channel.playback.choice.cursors
    behind = channel.pushers.lag(channel.now.mono)
    fed = clock.position(channel.now.mono) - slot.start - round(Fraction(behind), 3)
    return cut_at(slot.turn, fed, when(channel.now.wall))


def _output(channel: Channel, pk: int, status: Status) -> OutputSnapshot:
    role = channel.pushers.roles.get(pk) if status.state is OutputAir.ON_AIR else None
    at = channel.now.at
    return OutputSnapshot(
        status=status,
        since=at(status.since),
        retry_at=None if status.retry_at is None else at(status.retry_at),
        session=at(status.launched) if status.state is OutputAir.ON_AIR else None,
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
