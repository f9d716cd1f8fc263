"""Adopts the processes that an earlier supervisor left running, or starts the channel anew."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from typing import Final

import structlog

from streams.playout.channel.channel import STARVED_S, Channel
from streams.playout.contract.moment import Now
from streams.playout.contract.plan import Assignment, Policy, Sources, Tools
from streams.playout.contract.states import AirState
from streams.playout.contract.turn import TAKEOVER
from streams.playout.ffmpeg import mpegts, process
from streams.playout.ffmpeg.monitored_process import MonitoredProcess
from streams.playout.ffmpeg.process import Record
from streams.playout.player import player_record
from streams.playout.player.ending import WHOLE, Cut
from streams.playout.player.events import Resumed
from streams.playout.player.queued import Phase, Queued
from streams.playout.player.selection import advance_last_cut
from streams.playout.player.splice import AUDIO_FRAME
from streams.playout.player.timeline import Slot

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

WENT_DOWN: Final = "the machine or its playout processes had stopped."
#: Seconds since the last exchange when a machine goes down: half a tick on average.
LAST_EXCHANGE_AGE_S: Final = Fraction(1)
#: Seconds that adopted processes may take to report.
ADOPTION_GRACE_S: Final = 5.0


def open_channel(
    tools: Tools, policy: Policy, assignment: Assignment, sources: Sources, now: Now
) -> Channel:
    """Open the engine of an assignment: adopt its running processes or start anew."""
    channel = Channel(tools, policy, assignment, sources, now)
    try:
        _adopt(channel, now)
    except BaseException:
        channel.close()
        raise
    return channel


def _adopt(channel: Channel, now: Now) -> None:
    """Adopt the running processes, or start anew in the same HLS window."""
    adopted = []
    missed: list[Slot] = []
    records = process.records(channel.folder)
    players = {record.pid for record in records if record.role == process.PLAYER}
    queued = sorted(
        (record for record in records if record.role == process.QUEUED), key=_number
    )
    for record in records:
        if record.role == process.QUEUED:
            if record.pid in players:
                # It was just taken from the queue: its other record counts.
                process.remove_record(channel.folder, record.name)
            continue
        alive = process.adopt(channel.folder, record)
        if alive is None:
            if record.role == process.PLAYER:
                missed += _missed(record)
            process.remove_record(channel.folder, record.name)
            continue
        role = MonitoredProcess(alive, now.mono)
        try:
            _take_over(channel, role, now)
        except (KeyError, TypeError, ValueError):
            # The record is another version's: its process is ended and replaced.
            log.warning("record.unknown", channel=channel.assignment.plan.slug, role=role.name)
            role.kill(now.mono)
            role.close()
            process.remove_record(channel.folder, record.name)
        else:
            adopted.append(record.name)
    queued = [record for record in queued if record.pid not in players]
    missed = _adopt_queue(channel, queued, missed)
    if channel.playback.player is not None and process.PLAYER not in adopted:
        adopted.append(process.PLAYER)
    if channel.hub.role is not None:
        channel.quiet_until = now.mono + ADOPTION_GRACE_S
        _resume(channel, tuple(missed), now)
        channel.journal.log(now, "channel", "info", f"Took over {', '.join(adopted)}.")
    else:
        _begin_anew(channel, now)


def _number(record: Record) -> int:
    number = record.name.partition("-")[2]
    return int(number) if number.isdigit() else 0


def _missed(record: Record) -> list[Slot]:
    """The slot of a player that has ended; none: its record is another version's."""
    with suppress(KeyError, TypeError, ValueError):
        return [player_record.decode(record.notes)]
    return []


def _adopt_queue(channel: Channel, records: list[Record], missed: list[Slot]) -> list[Slot]:
    """Keep the queued players waiting; if one of them plays by now, it becomes the player.

    Returns the players that ended while no supervisor was running; `missed`: those known so
    far.
    """
    playback, now = channel.playback, channel.now
    adopted = [_adopt_queued(channel, record, now) for record in records]
    if playback.player is None:
        begun = [
            index
            for index, (_, queued) in enumerate(adopted)
            if queued is not None and queued.phase(now.mono) is Phase.BEGUN
        ]
        # If none plays any more, the last one that did is found in the feed. An item of low bit
        # rate is fed completely long before its end: the player queued behind it waits for its
        # time.
        gone = next((n for n, (_, queued) in enumerate(adopted) if queued), len(adopted))
        index = begun[-1] if begun else gone
        for record, queued in adopted[:index]:
            if queued is None:
                missed = [*missed, *_missed(record)]
            _discard(channel, record, queued)
        if begun and (playing := adopted[index][1]) is not None:
            playback.adopt(playing.role, channel.moment(), tuple(missed))
        adopted = adopted[index + 1 :] if begun else adopted[index:]
    # A queued player whose predecessor broke off ends by itself: one that lives waits for its
    # time, even if nothing is known of its predecessor any more.
    linked = True
    for record, queued in adopted:
        # Behind a missing player the gate stays shut.
        linked = linked and queued is not None
        if linked and queued is not None:
            playback.queue.waiting.append(queued)
        else:
            _discard(channel, record, queued)
    return missed


def _adopt_queued(channel: Channel, record: Record, now: Now) -> tuple[Record, Queued | None]:
    """Adopt a queued player; None: it has ended, or is another version's."""
    launcher = channel.playback.launcher
    launcher.serial = max(launcher.serial, _number(record))
    if (alive := process.adopt(channel.folder, record)) is None:
        return record, None
    role = MonitoredProcess(alive, now.mono)
    try:
        slot = player_record.decode(record.notes)
    except (KeyError, TypeError, ValueError):
        log.warning("record.unknown", channel=channel.assignment.plan.slug, role=role.name)
        channel.playback.queue.kill(role)
        return record, None
    return record, Queued(role, slot, now.mono)


def _discard(channel: Channel, record: Record, queued: Queued | None) -> None:
    if queued is None:
        channel.playback.launcher.forget(record)
    else:
        channel.playback.queue.kill(queued.role)


def _begin_anew(channel: Channel, now: Now) -> None:
    """Start anew, in the same window if a pusher still reads it."""
    playback, cursors, previous = channel.playback, channel.assignment.cursors, WHOLE
    if (player := playback.player) is not None:
        if channel.feed.waiting_bytes():
            # The next hub continues with the waiting data, which this player fed: its distance
            # from the player's start is about the player's age.
            age = round(process.age(player.process.record))
            channel.hub.approximate_start = playback.state.timeline.head + age
        player.kill(now.mono)
    playback.queue.revoke()
    left, by = channel.assignment.measured_at, channel.assignment.released_by
    if left is not None and by:
        channel.report_silence(f"the channel moved from {by} to this node.", left, "planned")
    elif left is not None:
        # It kept playing for part of a tick, and resumes at a keyframe: the middle of both is
        # the best estimate.
        cursors = advance_last_cut(
            cursors, LAST_EXCHANGE_AGE_S + channel.assignment.plan.programme.resume / 2
        )
        channel.report_silence(WENT_DOWN, left)
        previous = Cut("cut", f"Nothing was playing: {WENT_DOWN}")
    selection = replace(playback.state.selection, cursors=cursors)
    playback.state = replace(playback.state, selection=selection, previous=previous)
    channel.state, channel.since, channel.on_air_since = AirState.STARTING, now.wall, None
    if not channel.pushers.roles:
        channel.window.clear()


def _take_over(channel: Channel, role: MonitoredProcess, now: Now) -> None:
    record = role.process.record
    if record.role == process.HUB:
        channel.hub.adopt(role)
    elif record.role == process.PLAYER:
        channel.playback.adopt(role, channel.moment())
    elif record.role == process.CONFORMER:
        channel.live.adopt(role, now)
    else:
        pk = int(record.name.partition("-")[2])
        plans = {output.pk: output for output in channel.assignment.plan.outputs}
        channel.pushers.adopt(pk, role, plans.get(pk), now.mono)


def _resume(channel: Channel, missed: tuple[Slot, ...], now: Now) -> None:
    """Continue where the feed ends, if the hub plays but its player ended unobserved."""
    clock, turn = channel.hub.clock, channel.playback.state.turn
    if turn is not None and turn.rule == TAKEOVER:
        channel.playback.source = channel.live.resume(turn, now)
    if channel.playback.player is not None or clock is None:
        return
    position = clock.position(now.mono)
    frame = channel.assignment.plan.house_format.frame
    head = mpegts.end(mpegts.tail(channel.feed.peek()), position, frame, AUDIO_FRAME)
    if head is None:
        # The feed has been empty since about the newest segment, whose age the wall clock
        # shows.
        idle = channel.window.age()
        head = position - round(idle) if idle > STARVED_S else position
    channel.playback.step(Resumed(head, missed), channel.moment())
    if channel.playback.state.previous != WHOLE:
        # Only a turn that continues it may follow it.
        channel.playback.queue.revoke()
