"""Runs the outputs of a channel: carries out what `state_machine.step` decides for each.

A pusher lags behind the hub: it starts two segments behind the newest, and its own start takes
time. An item that has ended at the hub ends at a destination some seconds later, so a session
that is rolled over with an item must wait for that. The lag is calculated from how far behind
the pusher started and how much of the time since then it has sent.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, assert_never

from streams.playout.contract.ledger import OutputSnapshot
from streams.playout.contract.moment import Now
from streams.playout.contract.output_status import Status, Taken
from streams.playout.contract.plan import OutputPlan, Policy, Tools
from streams.playout.contract.states import OutputAir
from streams.playout.ffmpeg import commands, diagnosis, hls_window, process
from streams.playout.ffmpeg.connections import Connections
from streams.playout.ffmpeg.monitored_process import MonitoredProcess
from streams.playout.journal.journal import Relay
from streams.playout.outputs import state_machine, upload
from streams.playout.outputs.acknowledged import Acknowledged
from streams.playout.outputs.state_machine import Session

#: Reports to the channel that an output was lost, regained, or left for a new session.
ReportChange = Callable[[OutputPlan, state_machine.Change], None]
#: Seconds for which the end of an item is kept: no pusher lags behind by more than the hub's
#: window, which is 20 s.
ITEM_END_RETENTION_S: Final = 30.0
#: Seconds behind the hub at which a pusher of an earlier version is assumed to have started,
#: because its record lacks the value.
DEFAULT_BEHIND_S: Final = 5.0
#: Maximum seconds of a session that the destination ends right after its start.
ENDS_AT_ONCE_S: Final = 10.0
#: Seconds: better to send a few frames of the next item than to lose the last ones of this one.
MARGIN_S: Final = 0.2


def role_name(output: int) -> str:
    return f"{process.PUSHER}-{output}"


class Pushers:
    """Manages one pusher per output. `beat` is called several times a second."""

    def __init__(
        self,
        tools: Tools,
        policy: Policy,
        folder: Path,
        hls: Path,
        *,
        report: ReportChange,
        relay: Relay,
    ) -> None:
        self.tools = tools
        self.policy = policy
        self.folder = folder
        self.hls = hls
        self.report = report
        self.relay = relay
        self.plans: dict[int, OutputPlan] = {}
        self.statuses: dict[int, Status] = {}
        self.roles: dict[int, MonitoredProcess] = {}
        #: What the destinations have acknowledged.
        self.acknowledged: dict[int, Acknowledged] = {}
        self._connections = Connections()
        #: When items ended at the hub.
        self._ended: list[float] = []
        #: By output: the end of the last item that its destination has received completely.
        self._sent: dict[int, float] = {}

    def adopt(
        self, output: int, role: MonitoredProcess, plan: OutputPlan | None, now: float
    ) -> None:
        """Adopt a running pusher; one whose output was removed is ended."""
        self.roles[output] = role
        self.statuses[output] = Status()
        if plan is None or role.process.record.notes.get("edition") != plan.edition:
            self.statuses[output] = Status(running=True)
            # It was started with a key that is no longer acknowledged.
            role.secrets = None
            role.halt(now, self.policy.grace)
            return
        self.plans[output] = plan
        role.secrets = plan.secrets
        # Measured on the machine's own clock: neither a deployment nor a jump of the wall clock
        # starts a new session.
        launched = now - process.age(role.process.record)
        self.acknowledged[output] = Acknowledged(adopted=True)
        self._step(output, state_machine.Adopted(launched), now)

    def set_outputs(self, outputs: tuple[OutputPlan, ...], now: float) -> None:
        """Start, keep and end pushers so that they match `outputs`."""
        plans = {output.pk: output for output in outputs}
        for pk, status in list(self.statuses.items()):
            if pk in self.plans:
                plan = plans.get(pk)
                if plan is not None and plan.edition == self.plans[pk].edition:
                    # Perhaps only its name changed: no reason to interrupt it.
                    self.plans[pk] = plan
                else:
                    self._step(pk, state_machine.Disabled(), now)
                    del self.plans[pk]
            if pk not in plans and not status.running and pk not in self.roles:
                del self.statuses[pk]
                # What an upload has kept for the next one.
                shutil.rmtree(commands.upload_folder(self.hls, pk), ignore_errors=True)
        for pk, plan in plans.items():
            # A pusher with the old address must end first: one key, one publisher.
            if pk not in self.roles:
                self.plans[pk] = plan
                self.statuses.setdefault(pk, Status())
                self._step(pk, state_machine.Enabled(), now)

    def offer(self, now: float) -> None:
        """Report a new segment in the window to the pushers."""
        for pk in list(self.plans):
            self._step(pk, state_machine.Offered(), now)

    def beat(self, now: float) -> None:
        for pk, role in list(self.roles.items()):
            if role.read(now) and self._taken(pk, role, now):
                self._step(pk, state_machine.Moved(), now)
            if role.process.exited():
                self._exited(pk, role, now)
            elif role.halted:
                role.halt(now, self.policy.grace)
        self._ended = [at for at in self._ended if now - at < ITEM_END_RETENTION_S]
        for pk in list(self.plans):
            if self._item_sent(pk, now) and self.is_free_to_end(pk, now):
                self._step(pk, state_machine.ItemSent(), now)
            self._date(pk)
            self._step(pk, state_machine.Ticked(), now)

    def _date(self, pk: int) -> None:
        """Data last moved when the destination took it, not when FFmpeg wrote it."""
        acknowledged, status = self.acknowledged.get(pk), self.statuses[pk]
        since = None if acknowledged is None else acknowledged.refused_since()
        if since is not None and since < status.moved:
            self.statuses[pk] = replace(status, moved=since)

    def _taken(self, pk: int, role: MonitoredProcess, now: float) -> bool:
        """Whether the destination takes what FFmpeg has handed to the kernel."""
        acknowledged = self.acknowledged.setdefault(pk, Acknowledged())
        if acknowledged.due(now):
            acknowledged.add(self._connections.of(role.process.pid), now)
        return acknowledged.takes()

    def renew(self, pk: int, cause: str, now: float) -> None:
        """Start a new session of the output. `cause`: why, as a sentence."""
        self._step(pk, state_machine.RenewOrdered(cause), now)

    def item_ended(self, at: float) -> None:
        """Report that an item has ended at the hub and another has begun."""
        self._ended.append(at)

    @property
    def ending(self) -> bool:
        """Whether an item is about to end at a destination whose session is due."""
        return any(
            self._sent.get(pk, 0.0) < at
            for at in self._ended
            for pk, plan in self.plans.items()
            if plan.roll_after and self._due(pk, at)
        )

    def _due(self, pk: int, now: float) -> bool:
        status, after = self.statuses[pk], self.plans[pk].roll_after
        return (
            status.state is OutputAir.ON_AIR
            and now - status.launched >= after - ITEM_END_RETENTION_S
        )

    def _item_sent(self, pk: int, now: float) -> bool:
        """Whether an item has ended at the destination since the last call.

        Measured with nginx-rtmp and FFmpeg 5.1.9: a session ends 0 to 0.4 s after the item's
        last frame. The next one starts 0.3 to 0.7 s later and with a whole segment, so up to
        two seconds before or after the next item's first frame.
        """
        lag = self._lag(pk, now)
        if lag is None:
            return False
        lag += MARGIN_S
        before = self._sent.get(pk, now - lag)
        self._sent[pk] = max(before, now - lag)
        return any(before < at <= now - lag for at in self._ended)

    def _lag(self, pk: int, now: float, *, usual: bool = False) -> float | None:
        """Seconds behind the hub. `usual`: not what it has fallen behind just now."""
        role = self.roles.get(pk)
        if role is None:
            return None
        sent = role.due(now) if usual else role.sent(now)
        if sent is None:
            return None
        began = float(role.process.record.notes.get("behind", DEFAULT_BEHIND_S))
        return began + now - self.statuses[pk].launched - sent

    def behind(self, pk: int, now: float) -> float | None:
        """Seconds by which the destination is behind the hub; None: unknown."""
        lag = self._lag(pk, now)
        return None if lag is None else round(max(0.0, lag), 2)

    def taken(self, pk: int) -> Taken | None:
        acknowledged = self.acknowledged.get(pk)
        return None if acknowledged is None else acknowledged.taken()

    def lag(self, now: float) -> float:
        """Seconds by which the slowest destination is behind the hub; 0 without any."""
        return max((lag for pk in self.plans if (lag := self._lag(pk, now))), default=0.0)

    def usual_lag(self, now: float) -> float | None:
        """Seconds by which the slowest destination usually is behind; None: not known yet."""
        lags = (self._lag(pk, now, usual=True) for pk in self.plans)
        return max((lag for lag in lags if lag is not None), default=None)

    def is_free_to_end(self, pk: int, now: float) -> bool:
        """Whether the channel's other outputs carry it, or can't be waited for."""
        return all(
            self._carries(status, now)
            for other, status in self.statuses.items()
            if other != pk and other in self.plans
        )

    def _carries(self, status: Status, now: float) -> bool:
        match status.state:
            case OutputAir.ON_AIR:
                return status.on_air is not None and now - status.on_air >= self.policy.apart
            case OutputAir.CONNECTING | OutputAir.ROLLING | OutputAir.RETRYING:
                return False
            case _:
                return True

    def session_limits(self, pk: int, now: float) -> Session:
        """Return the session limits of an output; the latest end is staggered between outputs.

        At least one output must stay on air, so a session waits for the others. If one of them
        keeps failing, the wait ends at the platform's limit.
        """
        plan = self.plans[pk]
        if not plan.roll_by:
            return Session(plan.roll_after)
        index = sorted(self.plans).index(pk)
        by = max(plan.roll_after, plan.roll_by - index * self.policy.apart)
        return Session(
            plan.roll_after, by if self.is_free_to_end(pk, now) else by + self.policy.late
        )

    def stop(self, now: float) -> bool:
        """End all pushers. True once none is left."""
        self.set_outputs((), now)
        for role in self.roles.values():
            role.halt(now, self.policy.grace)
        return not self.roles

    def kill(self, now: float) -> None:
        """Kill all pushers at once: another node may be about to send."""
        self.set_outputs((), now)
        for role in self.roles.values():
            role.kill(now)

    def _exited(self, pk: int, role: MonitoredProcess, now: float) -> None:
        self.relay(role)
        cause = diagnosis.pusher(role.process.code(), list(role.lines))
        again = self.statuses[pk].failures > 0 and now - role.since < ENDS_AT_ONCE_S
        if again and diagnosis.hung_up(cause):
            cause = diagnosis.SESSION_ENDS_AT_ONCE
        if role.halted and pk in self.plans and self.statuses[pk].running:
            cause = f"It took no data for {self.policy.stall:.0f} seconds and was restarted."
        process.remove_record(self.folder, role.name)
        role.close()
        del self.roles[pk]
        self.acknowledged.pop(pk, None)
        self._connections.forget(role.process.pid)
        self._step(pk, state_machine.Exited(cause), now)

    def snapshots(self, now: Now) -> dict[int, OutputSnapshot]:
        """Return the measurements of each output for the ledger."""
        return {pk: self._snapshot(pk, status, now) for pk, status in self.statuses.items()}

    def _snapshot(self, pk: int, status: Status, now: Now) -> OutputSnapshot:
        on_air = status.state is OutputAir.ON_AIR
        role = self.roles.get(pk) if on_air else None
        return OutputSnapshot(
            status=status,
            since=now.at(status.since),
            retry_at=None if status.retry_at is None else now.at(status.retry_at),
            session=now.at(status.launched) if on_air else None,
            bitrate=None if role is None else role.bitrate(),
            fps=None if role is None else role.progress.fps,
            speed=None if role is None else role.progress.speed,
            lag=None if role is None else self.behind(pk, now.mono),
            taken=None if role is None else self.taken(pk),
        )

    def _step(self, pk: int, event: state_machine.Event, now: float) -> None:
        session = self.session_limits(pk, now) if pk in self.plans else state_machine.ENDLESS
        status, actions = state_machine.step(
            self.statuses[pk], event, now, self.policy, session
        )
        self.statuses[pk] = status
        for action in actions:
            match action:
                case state_machine.Launch():
                    self._launch(pk, now)
                case state_machine.Halt():
                    if pk in self.roles:
                        self.roles[pk].halt(now, self.policy.grace)
                case (
                    state_machine.Lost()
                    | state_machine.Explained()
                    | state_machine.Rolled()
                    | state_machine.Regained()
                ):
                    self.report(self.plans[pk], action)
                case _:
                    assert_never(action)

    def _launch(self, pk: int, now: float) -> None:
        plan = self.plans[pk]
        if plan.fault:
            self._step(pk, state_machine.Exited(plan.fault), now)
            return
        behind = self._behind(plan)
        try:
            started = process.spawn(
                self.tools,
                self.folder,
                role_name(pk),
                lambda port: commands.pusher(
                    self.tools.ffmpeg, port, self.hls, plan, self.policy
                ),
                notes={"edition": plan.edition, "behind": round(behind, 3)},
            )
        except (process.SpawnError, OSError) as error:
            self._step(pk, state_machine.Exited(str(error)), now)
            return
        self.roles[pk] = MonitoredProcess(started, now, plan.secrets)
        self._sent.pop(pk, None)

    def _behind(self, plan: OutputPlan) -> float:
        """Seconds behind the hub at which a new pusher starts."""
        playlist, begin = self.hls / "live.m3u8", hls_window.SEGMENTS_BEHIND
        if plan.address.startswith("https:"):
            kept = commands.upload_folder(self.hls, plan.pk)
            return upload.seconds_behind(kept, playlist, plan.edition, time.time(), begin)
        return hls_window.seconds_behind(playlist, time.time(), begin)
