"""One channel on this node: its feed, its hub, its player and its pushers.

No method blocks: `beat` is called several times a second and handles everything that happened
since the last call.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Final, assert_never

import structlog

from streams.playout.channel import air_state
from streams.playout.channel.air_guard import AirGuard
from streams.playout.channel.hub import Hub
from streams.playout.channel.incidents import Incidents
from streams.playout.contract import ledger
from streams.playout.contract.air_flaws import Watched
from streams.playout.contract.fence import FENCE_S, FENCED
from streams.playout.contract.moment import Now, when
from streams.playout.contract.output_status import Status
from streams.playout.contract.place import Place
from streams.playout.contract.plan import Assignment, Policy, Sources, Tools
from streams.playout.contract.states import AirState, OutputAir
from streams.playout.contract.turn import TAKEOVER
from streams.playout.ffmpeg import hls_window, process
from streams.playout.ffmpeg.hls_window import Window
from streams.playout.ffmpeg.monitored_process import MonitoredProcess
from streams.playout.journal.journal import Journal
from streams.playout.outputs.pushers import MARGIN_S, Pushers
from streams.playout.player import events, following
from streams.playout.player.ending import BY_PLAN, WHOLE
from streams.playout.player.following import Following
from streams.playout.player.machine import Moment, State
from streams.playout.player.playback import Playback
from streams.playout.player.selection import Selection, cut_at
from streams.playout.player.timeline import Slot, on_frame
from streams.playout.takeover.controller import Live
from streams.programme.model import Cursors

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds for which the hub may receive nothing. After a longer pause FFmpeg treats the step in
#: the timestamps as an error (-dts_delta_threshold, 10 s), removes it, and then sends faster
#: than real time.
STARVED_S: Final = 8.0
#: Seconds by which an item may be on air longer than its duration.
LATE_S: Final = 1.0
#: Cause of the incident while nothing is sent because the database is unreachable.
FENCED_CAUSE: Final = (
    f"This node could not reach the database for {FENCE_S:.0f} seconds and stopped sending, "
    "because another node may send the channel."
)
#: Reason of a stop between two items, after which another node continues the run.
MOVES: Final = "moves to another node"
#: Seconds that a destination has to receive the end of the last item here: the hub's window.
LEAVE_TIMEOUT_S: Final = 20.0
LOST_OWNER: Final = "The node that played the channel is gone."
#: Seconds of lost air after which an incident is opened even without a known cause.
UNEXPLAINED_AFTER_S: Final = 5.0


class Channel:
    """Plays one assignment until it is stopped. The supervisor takes its `journal.notes`."""

    def __init__(
        self, tools: Tools, policy: Policy, assignment: Assignment, sources: Sources, now: Now
    ) -> None:
        plan = assignment.plan
        self.policy = policy
        self.assignment = assignment
        self.now = now
        self.ended = False
        self.folder = process.channel_folder(tools.run_dir, plan.pk)
        hls = hls_window.ensure_folder(self.folder / "hls", tools.hls_group)
        self.journal = Journal(plan.pk, plan.slug, assignment.run, assignment.open_incidents)
        self.incidents = Incidents(self.journal)
        self.window = Window(hls)
        # Long enough to hide a player's start, short enough to show a skip soon.
        length = int(plan.house_format.bytes_per_second * policy.lead)
        self.feed = process.open_feed(self.folder, process.records(self.folder), length)
        self.hub = Hub(tools, policy, self.folder, self.feed, self.window, self.journal)
        self.playback = Playback(
            tools,
            policy,
            self.folder,
            self.feed,
            sources=sources,
            report=self._report,
            relay=self._relay,
        )
        self.sources = sources
        trouble = "" if "programme" in assignment.open_incidents else None
        self.playback.state = State(selection=Selection(assignment.cursors, trouble))
        self.live = Live(tools, self.folder, plan, self.journal, assignment.open_takeovers)
        self.pushers = Pushers(
            tools,
            policy,
            self.folder,
            hls,
            report=lambda output, change: self.incidents.output(output, change, self.now),
            relay=self._relay,
        )
        self.state = assignment.state
        self.since = now.wall if assignment.since is None else assignment.since
        self.cause = ""
        self.on_air_since = assignment.on_air_since
        self.restarts_done = assignment.restarts_done
        self.skips_done = assignment.skips_done
        #: Cursors of the lists when it was stopped.
        self.cursors_at_stop: Cursors = assignment.cursors
        #: For a second node: whether it is in step with the owner.
        self._following = Following()
        self._stopping = ""
        #: The item before the one on air, if it was whole.
        self._before: Slot | None = None
        #: When the last item here ends at the hub (monotonic); None: it does not leave.
        self._leaves_at: float | None = None
        #: The same moment in seconds since the epoch, and where the programme goes on.
        self._left = (0.0, assignment.cursors)
        #: Nothing may be sent, because another node may be sending the channel.
        self.fenced = False
        self._sampled = self._relayed = now.mono
        #: When its player was sampled last.
        self._player_sampled = float("-inf")
        self.guard = AirGuard(self.incidents, self.playback, self.pushers)
        #: Since when (seconds since the epoch) nothing played, if that was detected later.
        self._silent_since: float | None = None
        #: The state is not judged before this moment, because adopted processes have not
        #: reported yet.
        self.quiet_until = 0.0

    # ---- orders

    def update(self, assignment: Assignment) -> None:
        """Take new orders. The next beat carries them out."""
        promoted = self.assignment.second and not assignment.second
        self.assignment = assignment
        if assignment.second:
            # The owner carries them out; this node follows.
            return
        if promoted:
            self._become_owner(assignment)
        if assignment.restarts > self.restarts_done and not self._stopping:
            self.stop("restarted")
        if assignment.skips > self.skips_done:
            self.skips_done = assignment.skips
            self.playback.step(events.SkipOrdered(), self.moment())

    def _become_owner(self, assignment: Assignment) -> None:
        """Continue the run of the node that was lost: as here, its history was not written."""
        now = self.now
        self.journal.log(now, "channel", "info", "This node plays the channel from now on.")
        self.restarts_done, self.skips_done = assignment.restarts_done, assignment.skips_done
        self.on_air_since = assignment.on_air_since or self.on_air_since
        self.journal.open = dict.fromkeys(assignment.open_incidents)
        self.incidents.programme(self.incidents.trouble, now)
        self.live.reported(assignment.open_takeovers)
        moved = assignment.released_by
        severity = "planned" if moved else "lost"
        lost_at = now.wall if assignment.measured_at is None else assignment.measured_at
        for output in assignment.plan.outputs:
            status = self.pushers.statuses.get(output.pk, Status())
            if status.state is not OutputAir.ON_AIR:
                reason = (
                    f"The channel moved from {moved} to this node." if moved else LOST_OWNER
                )
                cause = status.cause or reason
                at = lost_at if output.pk not in self.pushers.plans else now.at(status.since)
                self.incidents.lost(output, cause, at, severity)

    def moment(self) -> Moment:
        """Return the present moment, as the player's machine sees it."""
        return Moment(self.now, self.assignment.plan, self.policy, self.sources, self.hub.clock)

    def stop(self, reason: str) -> None:
        """End the run: pushers first, so that they unpublish, then player and hub."""
        if not self._stopping:
            self.cursors_at_stop = self.seen_cursors()
            self._stopping = reason
            self.journal.log(self.now, "channel", "info", f"Stopping: {reason}.")

    def claim_lost(self, now: Now) -> None:
        """Another node has claimed the channel: send nothing from here any more."""
        self.pushers.kill(now.mono)
        self.stop("claimed by another node")

    # ---- the loop

    def beat(self, now: Now) -> None:
        self.now = now
        if self._stopping:
            self._beat_stopping(now)
        else:
            self.hub.beat(self.playback.state.timeline.head, now)
            self._beat_starved(now)
            self._beat_live(now)
            self._beat_following(now)
            self.playback.beat(self.moment())
            self.live.relayed(self.playback.source)
            grown = self.window.poll()
            if self.fenced:
                self._fence(now)
            elif self.window.deep or self.pushers.plans:
                self.pushers.set_outputs(self.assignment.plan.outputs, now.mono)
            if grown:
                self.pushers.offer(now.mono)
            self.pushers.beat(now.mono)
            self._update_on_air(now)
            self._beat_leaving(now)
        self._judge(now)
        if now.mono - self._relayed >= 1:
            self._relayed = now.mono
            if not self._stopping:
                self._keep_records(now)
            for role in self.roles():
                self._relay(role)
        if now.mono - self._sampled >= self.policy.sample:
            self._sampled = now.mono
            self._measure()

    def _measure(self) -> None:
        rare = self.now.mono - self._player_sampled < self.policy.player_sample
        for role in self.roles():
            if role.process.record.role != process.PLAYER or not rare:
                self.journal.note(self._sample(role))
        if not rare and self.playback.player is not None:
            self._player_sampled = self.now.mono
        if not self._stopping:
            plan, moment = self.assignment.plan, self.moment()
            self.guard.judge(plan, moment, self.roles(), acts=self._acts)

    def _keep_records(self, now: Now) -> None:
        """Restore the files that the next supervisor needs, if somebody deleted them."""
        # The hub survives if this happens before its next segment.
        hls_window.ensure_folder(self.window.folder, self.hub.tools.hls_group)
        kept = [process.restore_record(self.folder, r.process.record) for r in self.processes()]
        if any(kept):
            text = "The run directory was cleared; the records of the processes were restored."
            self.journal.log(now, process.HUB, "warning", text)

    @property
    def air(self) -> Path | None:
        """The folder of its HLS window, if its air should be looked at."""
        watched = self.policy.paced and self.window.ready and not self._stopping
        return self.window.folder if watched else None

    def take_inspected(self, watched: Watched) -> None:
        """Take what a look at its air has shown."""
        self.guard.watched = watched
        if not self._stopping:
            self.guard.judge_air(self.assignment.plan, self.moment(), acts=self._acts)

    @property
    def _acts(self) -> bool:
        """Whether rules act here: the node plays the channel for certain, and as its owner."""
        return not self.assignment.second and not self.fenced

    @property
    def stopping(self) -> bool:
        return bool(self._stopping)

    @property
    def calm(self) -> bool:
        """Whether no quick poll is needed."""
        busy = self.playback.busy or self.pushers.ending or self.live.busy
        busy = busy or self._leaves_at is not None
        return self.state is AirState.ON_AIR and not busy

    def roles(self) -> Iterator[MonitoredProcess]:
        """Yield the processes that are active now."""
        if self.hub.role is not None:
            yield self.hub.role
        if self.playback.player is not None:
            yield self.playback.player
        yield from self.live.roles()
        yield from self.pushers.roles.values()

    def processes(self) -> Iterator[MonitoredProcess]:
        """Yield all processes: the active ones and those that wait."""
        yield from self.roles()
        yield from self.playback.queue.roles()

    def handles(self) -> Iterator[process.Process]:
        """Return its processes, whose end is waited for."""
        return (role.process for role in self.processes())

    def drain(self) -> list[ledger.Note]:
        """Return the notes collected since the last call."""
        notes, self.journal.notes = self.journal.notes, []
        return notes

    def close(self) -> None:
        """Release the channel; its processes play on until another supervisor adopts them."""
        for role in self.processes():
            role.close()
        self.live.close()
        self.feed.close()

    # ---- measurements

    def snapshot(self) -> ledger.Snapshot:
        """Return the channel's state for the ledger."""
        plan, state, moment = self.assignment.plan, self.playback.state, self.moment()
        timeline = state.timeline
        slot = None if self.stopping else timeline.on_air

        def wall(at: Fraction | None) -> float | None:
            return None if at is None or moment.clock is None else moment.wall(at)

        return ledger.Snapshot(
            channel=plan.pk,
            run=self.assignment.run,
            state=self.state,
            cause=self.cause,
            since=self.since,
            on_air_since=self.on_air_since,
            now=None if slot is None else slot.turn,
            now_since=None if slot is None else wall(slot.start),
            now_until=None if slot is None else wall(timeline.until(slot)),
            next=state.upcoming(moment),
            bitrate=self.window.bitrate(),
            restarts_done=self.restarts_done,
            skips_done=self.skips_done,
            cursors=state.selection.cursors if slot is None else slot.turn.cursors,
            seen=self.cursors_at_stop if self.stopping else self.seen_cursors(),
            outputs={
                pk: replace(shot, late=self.guard.late(pk))
                for pk, shot in self.pushers.snapshots(self.now).items()
            },
            inspected_at=self.guard.inspected_at(self.now),
            flaws=self.guard.flaws(self.now),
            place=None
            if slot is None or moment.clock is None
            else Place(
                slot.turn,
                moment.clock.moment(slot.start),
                self.pushers.usual_lag(self.now.mono),
            ),
        )

    def seen_cursors(self) -> Cursors:
        """Return the cursors as far as viewers have seen the programme."""
        slot, clock = self.playback.state.timeline.on_air, self.hub.clock
        if slot is None or clock is None or not self.policy.paced:
            return self.playback.state.selection.cursors
        behind = self.pushers.lag(self.now.mono)
        fed = clock.position(self.now.mono) - slot.start - round(Fraction(behind), 3)
        before = self._before
        if fed < 0 and before is not None and before.end == slot.start:
            # At the destinations the item before it has not ended yet.
            return cut_at(before.turn, before.end - before.start + fed, when(self.now.wall))
        return cut_at(slot.turn, fed, when(self.now.wall))

    def _sample(self, role: MonitoredProcess) -> ledger.Sampled:
        load = role.load(self.now.mono)
        output, taken = None, None
        state, bitrate = self.state.value, self.window.bitrate()
        if role.process.record.role == process.PUSHER:
            output = int(role.name.partition("-")[2])
            state, bitrate = self.pushers.statuses[output].state.value, role.bitrate()
            taken = self.pushers.taken(output)
        return ledger.Sampled(
            channel=self.assignment.plan.pk,
            output=output,
            role=role.process.record.role,
            at=self.now.wall,
            state=state,
            bitrate=bitrate,
            fps=role.progress.fps,
            speed=role.progress.speed,
            lag_seconds=None if role is self.playback.player else role.lag(),
            cpu_percent=load.cpu,
            memory_bytes=load.memory,
            taken=taken,
        )

    # ---- playing

    def _beat_starved(self, now: Now) -> None:
        """Start a fresh hub if the present one has not been fed for too long."""
        clock = self.hub.clock
        if clock is None or self.playback.player is not None or not self.policy.paced:
            return
        head, position = self.playback.state.timeline.head, clock.position(now.mono)
        if position - head > STARVED_S:
            self.report_silence(
                "an item ended and no other was started.", now.at(clock.moment(head))
            )
        elif head - position > STARVED_S + self.policy.lead and not self.feed.waiting_bytes():
            # Its timestamps claim that the last item is still playing; waiting for that would
            # be silence.
            self.report_silence("an item was shorter than its timestamps indicated.", now.wall)
        else:
            return
        head = on_frame(position, self.assignment.plan.house_format.frame)
        self.playback.step(events.Resumed(head), self.moment())
        self.hub.replace(now)

    def _beat_live(self, now: Now) -> None:
        if self.hub.clock is None:
            # Nothing is on air yet that could be taken over.
            return
        self.live.beat(self.assignment.plan, self.assignment.ingest, now)
        self.playback.show(self.live.substitution(), self.live.state.why, self.moment())

    def _beat_following(self, now: Now) -> None:
        """Keep a second node in step with the owner."""
        clock, plan = self.hub.clock, self.assignment.plan
        state, owner = self.playback.state, self.assignment.owner_place
        if not self.assignment.second or clock is None or state.join or not self.policy.paced:
            return
        lag = self.pushers.usual_lag(now.mono)
        on_air = state.timeline.on_air
        own = [
            Place(slot.turn, clock.moment(slot.start), lag)
            for slot in state.timeline.slots
            if on_air is None or slot.start >= on_air.start
        ]
        self._following, out_of_step = following.decide(
            self._following, owner, own, now.mono, plan.house_format
        )
        if out_of_step and owner is not None:
            began = owner.began - following.extra_lag(owner, lag)
            event = events.OutOfStep(replace(owner, began=began))
            self.playback.step(event, self.moment())

    def report_silence(self, reason: str, since: float, severity: str = "lost") -> None:
        self._silent_since = since
        cause = f"Nothing was playing: {reason}"
        self.journal.open_incident("channel", cause, since, severity=severity)

    def _fence(self, now: Now) -> None:
        """Stop sending while the programme keeps playing here."""
        if self.assignment.plan.outputs:
            self.journal.open_incident(FENCED, FENCED_CAUSE, now.wall)
        self.pushers.kill(now.mono)

    # ---- leaving for another node, and stopping

    def _left_here(self, action: events.OnAir) -> bool:
        """Whether the programme goes on elsewhere with the item that comes on air.

        A live feed is no item: the channel leaves when it is over.
        """
        if self._leaves_at is not None:
            return True
        before, clock, rules = action.before, self.hub.clock, {action.slot.turn.rule}
        if not self.assignment.leaves or before is None or clock is None:
            return False
        if action.ending not in {WHOLE, BY_PLAN} or TAKEOVER in rules | {before.turn.rule}:
            return False
        self._leaves_at = clock.moment(action.slot.start)
        self._left = self.moment().wall(action.slot.start), before.turn.cursors
        return True

    def _beat_leaving(self, now: Now) -> None:
        """Stop when the destinations have received the end of the last item here."""
        if self._leaves_at is None:
            return
        lag = min(self.pushers.lag(now.mono) + MARGIN_S, LEAVE_TIMEOUT_S)
        if now.mono - lag >= self._leaves_at:
            self.stop(MOVES)
            self.cursors_at_stop = self._left[1]

    def _beat_stopping(self, now: Now) -> None:
        if self.fenced:
            self.pushers.kill(now.mono)
        self.pushers.beat(now.mono)
        if not self.pushers.stop(now.mono):
            return
        played = self.playback.stop(now.mono)
        self.live.relayed(self.playback.source)
        ended = self.live.stop(now), self.hub.stop(now)
        if played and all(ended):
            self._finish(now)

    def _finish(self, now: Now) -> None:
        if self._stopping == MOVES:
            # Its open incidents go on, for the other node to close.
            self.journal.log(now, "channel", "info", "Released to another node.")
            channel, run = self.assignment.plan.pk, self.assignment.run
            self.journal.note(ledger.Released(channel, run, *self._left))
            self._close_down()
            return
        for subject in list(self.journal.open):
            self.journal.close_incident(subject, now.wall)
        self.restarts_done = self.assignment.restarts
        self.journal.log(now, "channel", "info", "Off air.")
        self.journal.note(
            ledger.RunEnded(
                self.assignment.plan.pk, self.assignment.run, now.wall, self._stopping
            )
        )
        self._close_down()

    def _close_down(self) -> None:
        self.feed.close()
        process.remove_folder(self.folder)
        self.ended = True

    # ---- on air

    def _update_on_air(self, now: Now) -> None:
        if (clock := self.hub.clock) is not None:
            self.playback.step(events.Sent(clock.position(now.mono)), self.moment())

    def _report(self, action: events.Trouble | events.OnAir | events.Refuse) -> None:
        match action:
            case events.Trouble(cause):
                self.incidents.programme(cause, self.now)
            case events.Refuse(text):
                self.journal.log(self.now, "player", "info", text)
            case events.OnAir():
                if not self._left_here(action):
                    self._aired(action, self.now)
            case _:
                assert_never(action)

    def _aired(self, action: events.OnAir, now: Now) -> None:
        slot, before, moment = action.slot, action.before, self.moment()
        self._before = before if action.ending == WHOLE else None
        start = slot.start
        if self._silent_since is not None:
            # A turn that silence has cut, and that continues in the pipe, is on air again since
            # the hub is.
            start = max(start, self.hub.approximate_start or start)
        wall = moment.wall(start)
        if moment.clock is not None:
            self.pushers.item_ended(moment.clock.moment(slot.start))
        self.journal.note(
            ledger.Aired(
                channel=self.assignment.plan.pk,
                run=self.assignment.run,
                turn=slot.turn,
                at=wall,
                previous_ending=action.ending.ending,
                previous_cause=action.ending.cause
                if before is None
                else as_run_cause(before, slot),
                previous_until=self._silent_since,
            )
        )
        self._silent_since = None
        self.journal.log(now, "channel", "info", f"On air: {slot.item.title}")
        self.live.aired(slot.turn, wall, self.pushers.lag(now.mono))

    def _judge(self, now: Now) -> None:
        if now.mono < self.quiet_until and not all(role.has_moved for role in self.roles()):
            return
        self.quiet_until = 0.0
        self.incidents.outputs(self.assignment.plan.outputs, self.pushers.statuses, now)
        self.incidents.storage(self.sources.fault(), now)
        slot = self.playback.state.timeline.on_air
        state, self.cause = air_state.judge(
            air_state.Parts(
                ordered=not self._stopping,
                hub=self.hub.is_sending(now),
                window=self.window.ready,
                now=None if slot is None else slot.turn,
                outputs=[
                    self.pushers.statuses.get(output.pk, Status())
                    for output in self.assignment.plan.outputs
                ],
                been_on_air=self.on_air_since is not None,
                trouble=self.incidents.trouble or self.hub.trouble,
                storage=self.sources.fault() or "",
                slow=self.guard.slow,
                flawed=self.guard.flawed,
            )
        )
        if state is not self.state:
            log.info(
                "channel.state",
                channel=self.assignment.plan.slug,
                run=self.assignment.run,
                role="channel",
                state=state.value,
                before=self.state.value,
                cause=self.cause,
            )
            self.state, self.since = state, now.wall
        if state is AirState.FAILING and now.wall - self.since > UNEXPLAINED_AFTER_S:
            self.incidents.unexplained(self.cause, self.since)
        elif state in {AirState.ON_AIR, AirState.DEGRADED}:
            self.journal.close_incident("channel", now.wall)
            if not self.fenced and self._all_outputs_explained():
                self.journal.close_incident(FENCED, now.wall)
            if self.on_air_since is None:
                self.on_air_since = now.wall
                self.journal.note(
                    ledger.RunOnAir(self.assignment.plan.pk, self.assignment.run, now.wall)
                )

    def _all_outputs_explained(self) -> bool:
        """Whether each output is on air or has an incident of its own."""
        return all(
            self.pushers.statuses.get(output.pk, Status()).state is OutputAir.ON_AIR
            or f"output-{output.pk}" in self.journal.open
            for output in self.assignment.plan.outputs
        )

    def _relay(self, role: MonitoredProcess) -> None:
        self.journal.relay(self.now, role)


def as_run_cause(before: Slot, after: Slot) -> str:
    """Return the cause of an item's end for the as-run log, noting slow sending."""
    took = after.start - before.start
    lasted = took if before.end is None else before.end - before.start
    if took <= lasted + LATE_S:
        return before.cause
    late = f"It took {float(took):.1f} s to send {float(lasted):.1f} s of it."
    return f"{before.cause} {late}".strip()
