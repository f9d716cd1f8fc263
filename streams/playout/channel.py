"""One channel on this node: its feed, its hub, its player and its pushers.

Nothing here waits: `beat` is called several times a second, looks at what happened, and does
what follows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

import structlog

from streams.playout import air, commands, diagnosis, ledger, mpegts, process
from streams.playout.feed import Feed
from streams.playout.machine import Status
from streams.playout.plan import Assignment, Locate, OutputPlan, Policy, Tools
from streams.playout.playback import AUDIO_FRAME, Playback, item_of
from streams.playout.pushers import Pushers
from streams.playout.role import Role
from streams.playout.states import AirState, OutputAir
from streams.playout.timeline import HubClock, on_frame
from streams.playout.window import Window

#: Seconds without progress after which the hub counts as silent.
HUB_SILENT: Final = 5.0
#: Seconds for which the hub may be left without food. After more, FFmpeg takes the step in the
#: timestamps for a fault (-dts_delta_threshold, 10 s), removes it, and rushes ever after.
STARVED: Final = 8.0
#: Lines of the log that one process may add in a second; the rest is counted.
LINES_PER_SECOND: Final = 20


@dataclass(frozen=True, slots=True)
class Now:
    """A moment on both clocks: `mono` for spans, `wall` (seconds since the epoch) for history."""

    mono: float
    wall: float

    @classmethod
    def read(cls) -> Now:
        return cls(time.monotonic(), time.time())

    def at(self, mono: float) -> float:
        """The wall clock's reading of another moment."""
        return self.wall + (mono - self.mono)


class Channel:
    """Plays one assignment until it is told to stop. `notes` is what the ledger shall hear."""

    def __init__(
        self, tools: Tools, policy: Policy, assignment: Assignment, locate: Locate, now: Now
    ) -> None:
        plan = assignment.plan
        self.tools = tools
        self.policy = policy
        self.assignment = assignment
        self.notes: list[ledger.Note] = []
        self.ended = False
        self.folder = process.channel_folder(tools.run_dir, plan.pk)
        self.hls = self.folder / "hls"
        self.hls.mkdir(parents=True, exist_ok=True, mode=0o750)
        self.window = Window(self.hls)
        # Long enough to hide a player's start, short enough for a skip to be seen soon.
        self.feed = Feed.open(
            self.folder / "feed.fifo", int(plan.house.bytes_per_second * policy.lead)
        )
        self.hub: Role | None = None
        self.clock: HubClock | None = None
        self.now = now
        #: Newest segment when a hub died: until there is another, air is lost.
        self._hole_after: str | None = None
        #: Since when (seconds since the epoch) nothing was played, where that was found out later.
        self._silent_since: float | None = None
        self._log = structlog.get_logger(__name__).bind(channel=plan.slug, run=assignment.run)
        self.playback = Playback(
            tools, policy, self.folder, self.feed, locate, self._programme_trouble
        )
        self.playback.last_entry = assignment.last_entry
        self.playback.troubled = "programme" in assignment.open_incidents
        self.pushers = Pushers(tools, policy, self.folder, self.hls, self._output_air)
        self.state = assignment.state
        self.since = now.wall if assignment.since is None else assignment.since
        self.cause = ""
        self.on_air_since = assignment.on_air_since
        self.restarts_done = assignment.restarts_done
        self.skips_done = assignment.skips_done
        self._trouble = ""
        self._stopping = ""
        self._sampled = now.mono
        self._logged = now.mono
        self._open = set(assignment.open_incidents)
        #: Until then nothing is judged: what was taken over has not reported yet.
        self._quiet_until = 0.0
        self._adopt(now)

    # ---- orders

    def update(self, assignment: Assignment) -> None:
        """Take new orders. They are carried out by the next beat."""
        self.assignment = assignment
        if assignment.restarts > self.restarts_done and not self._stopping:
            self.stop("restarted")
        if assignment.skips > self.skips_done:
            self.skips_done = assignment.skips
            self.playback.cut(self.now.mono, "cut", "Skipped.")

    def stop(self, reason: str) -> None:
        """End the run: pushers first, so that they unpublish, then player and hub."""
        if not self._stopping:
            self._stopping = reason
            self._say("channel", "info", f"Stopping: {reason}.")

    # ---- the loop

    def beat(self, now: Now) -> None:
        self.now = now
        if self._stopping:
            self._beat_stopping(now)
        else:
            self._beat_hub(now)
            self._beat_starved(now)
            self.playback.beat(self.assignment.plan, self.clock, now.mono)
            self.window.look()
            wanted = self.assignment.plan.outputs if self.window.ready else ()
            if wanted or self.pushers.plans:
                self.pushers.want(self.assignment.plan.outputs, now.mono)
            self.pushers.beat(now.mono)
            self._air(now)
        self._judge(now)
        if now.mono - self._logged >= 1 or self.ended:
            self._logged = now.mono
            self._read_logs()
        if now.mono - self._sampled >= self.policy.sample:
            self._sampled = now.mono
            self._sample(now)

    def roles(self) -> Iterator[Role]:
        """What runs now."""
        if self.hub is not None:
            yield self.hub
        if self.playback.player is not None:
            yield self.playback.player
        yield from self.pushers.roles.values()

    def snapshot(self) -> ledger.Snapshot:
        now, timeline = self.now, self.playback.timeline
        slot = timeline.on_air
        until = None if slot is None else timeline.until(slot)
        if slot is not None and until is None:
            length = slot.item.length(self.assignment.plan.house)
            until = None if length is None else slot.start + length

        def wall(at: Fraction | None) -> float | None:
            return None if at is None or self.clock is None else now.at(self.clock.moment(at))

        return ledger.Snapshot(
            channel=self.assignment.plan.pk,
            run=self.assignment.run,
            state=self.state,
            cause=self.cause,
            since=self.since,
            on_air_since=self.on_air_since,
            now=None if slot is None or self._stopping else slot.item,
            now_since=None if slot is None else wall(slot.start),
            now_until=wall(until),
            next=self.playback.coming(self.assignment.plan),
            bitrate=self.window.bitrate(),
            restarts_done=self.restarts_done,
            skips_done=self.skips_done,
            last_entry=self.playback.last_entry,
            outputs={
                pk: self._output_snapshot(pk, status, now)
                for pk, status in self.pushers.statuses.items()
            },
        )

    def close(self) -> None:
        """Let go of a channel whose processes play on (another supervisor adopts them)."""
        for role in self.roles():
            role.close()
        self.feed.close()

    # ---- adoption

    def _adopt(self, now: Now) -> None:
        plans = {output.pk: output for output in self.assignment.plan.outputs}
        adopted = []
        for record in process.records(self.folder):
            found = process.adopt(self.folder, record)
            if found is None:
                process.forget(self.folder, record.name)
                continue
            role = Role(found, now.mono)
            adopted.append(record.name)
            if record.role == process.HUB:
                self.hub = role
                if "when" in record.notes:
                    self.clock = HubClock(
                        Fraction(record.notes["at"]), float(record.notes["when"])
                    )
            elif record.role == process.PLAYER:
                self.playback.adopt(role, item_of(record.notes), now.mono)
            else:
                pk = int(record.name.partition("-")[2])
                self.pushers.adopt(pk, role, plans.get(pk), now.mono)
        if self.hub is not None:
            self._quiet_until = now.mono + HUB_SILENT
            self._resume(now)
            self._say("channel", "info", f"Took over {', '.join(sorted(adopted))}.")
            return
        for role in self.roles():
            # Without a hub there is nothing to take over: begin anew, in the same playlist
            # where a pusher still reads it.
            if role.process.record.role == process.PLAYER:
                role.kill(now.mono)
        if self.assignment.measured_at is not None:
            self._nothing_played(
                "the machine or its playout processes had stopped.", self.assignment.measured_at
            )
        self.state, self.since = AirState.STARTING, now.wall
        if not self.pushers.roles:
            self.window.clear()

    def _resume(self, now: Now) -> None:
        """The hub plays, but its player ended unseen: go on where the feed ends."""
        if self.playback.player is not None or self.clock is None:
            return
        position = self.clock.position(now.mono)
        house = self.assignment.plan.house
        found = mpegts.end(mpegts.tail(self.feed.peek()), position, house.frame, AUDIO_FRAME)
        if found is None:
            # Empty, since about the last segment: told by its age, the wall clock by itself.
            idle = self.window.age(now.wall)
            found = position - Fraction(round(idle)) if idle > STARVED else position
        self.playback.resume(found)

    # ---- the hub

    def _beat_hub(self, now: Now) -> None:
        hub = self.hub
        if hub is None:
            self._start_hub(now, resume=self.window.exists())
            return
        hub.read(now.mono)
        if hub.process.exited():
            if not hub.halted:
                cause = diagnosis.hub(hub.process.code())
                self._incident("hub", None, "lost", cause, now.at(hub.moved))
            self._drop(hub)
            self.hub = None
            self._hole_after = self.window.newest
            self._start_hub(now, resume=True)
            return
        if now.mono - hub.moved > self.policy.stall and self.feed.level():
            cause = f"The hub sent nothing for {self.policy.stall:.0f} s and was started again."
            self._incident("hub", None, "lost", cause, now.at(hub.moved))
            hub.kill(now.mono)
            return
        if hub.has_moved:
            if self.window.newest != self._hole_after:
                self._close_incident("hub", now.wall)
            self._keep_time(hub, now)

    def _beat_starved(self, now: Now) -> None:
        """Nobody fed the hub while there was no supervisor: go on with a fresh one."""
        if self.clock is None or self.hub is None or self.playback.player is not None:
            return
        starved = self.playback.buffered(self.clock, now.mono)
        if not self.policy.paced or starved is None or starved > -STARVED:
            return
        self._nothing_played(
            "an item ended while no supervisor was there.",
            now.at(self.clock.moment(self.playback.timeline.head)),
        )
        frame = self.assignment.plan.house.frame
        self.playback.resume(on_frame(self.clock.position(now.mono), frame))
        self.clock = None
        self.hub.kill(now.mono)

    def _start_hub(self, now: Now, *, resume: bool) -> None:
        at = self.playback.timeline.head
        if resume and self.clock is not None:
            found = mpegts.tail(self.feed.peek())
            at = self.clock.position(now.mono)
            if found.first_dts is not None:
                at = mpegts.unwrap(found.first_dts, at)
        self.clock = None
        try:
            sock = process.progress_socket()
            started = process.spawn(
                self.tools,
                self.folder,
                process.HUB,
                commands.hub(
                    self.tools.ffmpeg,
                    sock.getsockname()[1],
                    self.hls,
                    f"{self.assignment.run}",
                    self.policy,
                    resume=resume,
                ),
                sock=sock,
                stdin=self.feed.fd,
                notes={"at": str(at)},
            )
        except (process.SpawnError, OSError) as error:
            self._trouble = str(error)
            return
        self.hub = Role(started, now.mono)

    def _keep_time(self, hub: Role, now: Now) -> None:
        """Know which moment of the feed is sent when. The hub keeps wall-clock time, so its first
        report says it; the record keeps it for the next supervisor.
        """
        at = Fraction(hub.process.record.notes["at"])
        sent = at + Fraction(hub.progress.out_time_us or 0, 1_000_000)
        if not self.policy.paced:
            self.clock = HubClock(sent, now.mono)
            return
        if self.clock is not None:
            return
        self.clock = HubClock(sent, now.mono)
        notes = {"at": str(sent), "when": now.mono}
        hub.process.record = replace(hub.process.record, notes=notes)
        process.write_record(self.folder, hub.process.record)

    # ---- stopping

    def _beat_stopping(self, now: Now) -> None:
        self.pushers.beat(now.mono)
        if not self.pushers.stop(now.mono):
            return
        player, hub = self.playback.player, self.hub
        if player is not None:
            player.halt(now.mono, 1)
            if player.process.exited():
                self._drop(player)
                self.playback.player = None
        if hub is not None:
            if hub.halted:
                hub.halt(now.mono, self.policy.grace)
            else:
                hub.halt(now.mono, self.policy.grace)
                hub.again()
            # Its read from the pipe ignores the signal until something comes.
            self.feed.nudge()
            if hub.process.exited():
                self._drop(hub)
                self.hub = None
        if self.hub is None and self.playback.player is None:
            self._finish(now)

    def _finish(self, now: Now) -> None:
        for subject in list(self._open):
            self._close_incident(subject, now.wall)
        run = self.assignment.run
        self.restarts_done = self.assignment.restarts
        self.notes.append(
            ledger.RunEnded(self.assignment.plan.pk, run, now.wall, self._stopping)
        )
        self._say("channel", "info", "Off air.")
        self.feed.close()
        process.remove_folder(self.folder)
        self.ended = True

    def _drop(self, role: Role) -> None:
        self._log_lines(role)
        process.forget(self.folder, role.name)
        role.close()

    # ---- what is on air

    def _air(self, now: Now) -> None:
        if self.clock is None:
            return
        position = self.clock.position(now.mono)
        timeline, changes = self.playback.timeline.air(position)
        self.playback.timeline = timeline
        for before, slot in changes:
            self.notes.append(
                ledger.Aired(
                    channel=self.assignment.plan.pk,
                    run=self.assignment.run,
                    item=slot.item,
                    at=now.at(self.clock.moment(slot.start)),
                    previous_ending="whole" if before is None else before.ending or "whole",
                    previous_cause="" if before is None else before.cause,
                    previous_until=self._silent_since,
                )
            )
            self._silent_since = None
            self._say("channel", "info", f"On air: {slot.item.title}")
            self.playback.aired(slot.item)

    def _judge(self, now: Now) -> None:
        if now.mono < self._quiet_until and not all(role.has_moved for role in self.roles()):
            return
        self._quiet_until = 0.0
        slot = self.playback.timeline.on_air
        hub = self.hub
        for pk, status in self.pushers.statuses.items():
            if status.state is OutputAir.ON_AIR:
                # Also one that an earlier supervisor has opened.
                self._close_incident(f"output-{pk}", now.wall)
        state, cause = air.judge(
            air.Parts(
                ordered=not self._stopping,
                hub=hub is not None and hub.has_moved and now.mono - hub.moved < HUB_SILENT,
                window=self.window.ready,
                now=None if slot is None else slot.item.kind,
                outputs=[
                    self.pushers.statuses.get(output.pk, Status())
                    for output in self.assignment.plan.outputs
                ],
                been_on_air=self.on_air_since is not None,
                trouble=self._trouble,
            )
        )
        if state is not self.state:
            self._log.info("channel.state", state=state.value, before=self.state.value)
            self.since = now.wall
        self.state, self.cause = state, cause
        if state in {AirState.ON_AIR, AirState.DEGRADED}:
            self._close_incident("channel", now.wall)
            if self.on_air_since is None:
                self.on_air_since = now.wall
                self.notes.append(
                    ledger.RunOnAir(self.assignment.plan.pk, self.assignment.run, now.wall)
                )

    # ---- incidents

    def _programme_trouble(self, cause: str) -> None:
        self._trouble = cause
        if cause:
            self._say("player", "warning", cause)
            self._incident("programme", None, "degraded", cause, self.now.wall)
        else:
            self._close_incident("programme", self.now.wall)

    def _output_air(self, output: OutputPlan, cause: str | None, at: float) -> None:
        subject = f"output-{output.pk}"
        if cause is None:
            self._say(subject, "info", f"{output.name} is on air again.")
            self._close_incident(subject, self.now.at(at))
            return
        self._say(subject, "warning", f"{output.name} is off air: {cause}")
        self._incident(subject, output.pk, "lost", f"{output.name}: {cause}", self.now.at(at))

    def _incident(
        self, subject: str, output: int | None, severity: str, cause: str, at: float
    ) -> None:
        if subject in self._open:
            return
        self._open.add(subject)
        plan, run = self.assignment.plan, self.assignment.run
        self.notes.append(
            ledger.IncidentOpened(plan.pk, run, subject, output, severity, cause, at)
        )

    def _nothing_played(self, reason: str, since: float) -> None:
        self._silent_since = since
        self._incident("channel", None, "lost", f"Nothing was playing: {reason}", since)

    def _close_incident(self, subject: str, at: float) -> None:
        if subject in self._open:
            self._open.discard(subject)
            self.notes.append(ledger.IncidentClosed(self.assignment.plan.pk, subject, at))

    # ---- log and samples

    def _read_logs(self) -> None:
        for role in self.roles():
            self._log_lines(role)

    def _log_lines(self, role: Role) -> None:
        lines = [line for line in role.new_lines() if not diagnosis.harmless(line)]
        for line in lines[:LINES_PER_SECOND]:
            level, text = diagnosis.shown(line)
            self._say(role.name, level, f"[FFMPEG] {text}")
        if len(lines) > LINES_PER_SECOND:
            more = len(lines) - LINES_PER_SECOND
            self._say(role.name, "warning", f"[FFMPEG] and {more} lines more")

    def _say(self, role: str, level: str, text: str) -> None:
        log = self._log.bind(role=role)
        known = {"warning": log.warning, "error": log.error, "fatal": log.error}
        known.get(level, log.info)(text)
        plan, run = self.assignment.plan, self.assignment.run
        self.notes.append(ledger.Logged(plan.pk, run, role, level, text, self.now.wall))

    def _sample(self, now: Now) -> None:
        for role in self.roles():
            load = role.load(now.mono)
            output = None
            bitrate = self.window.bitrate()
            state = self.state.value
            if role.process.record.role == process.PUSHER:
                output = int(role.name.partition("-")[2])
                bitrate = role.bitrate()
                state = self.pushers.statuses[output].state.value
            self.notes.append(
                ledger.Sampled(
                    channel=self.assignment.plan.pk,
                    output=output,
                    role=role.process.record.role,
                    at=now.wall,
                    state=state,
                    bitrate=bitrate,
                    fps=role.progress.fps,
                    speed=role.progress.speed,
                    lag=None if role is self.playback.player else role.lag(),
                    cpu=load.cpu,
                    memory=load.memory,
                )
            )

    def _output_snapshot(self, pk: int, status: Status, now: Now) -> ledger.OutputSnapshot:
        role = self.pushers.roles.get(pk)
        on_air = status.state is OutputAir.ON_AIR and role is not None
        return ledger.OutputSnapshot(
            status=status,
            since=now.at(status.since),
            retry_at=None if status.retry_at is None else now.at(status.retry_at),
            bitrate=role.bitrate() if on_air and role else None,
            fps=role.progress.fps if on_air and role else None,
            speed=role.progress.speed if on_air and role else None,
        )
