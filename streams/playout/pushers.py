"""The outputs of a channel: carries out what `machine.step` decides for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import assert_never

from streams.playout import commands, diagnosis, machine, process
from streams.playout.plan import OutputPlan, Policy, Tools
from streams.playout.playback import Relay
from streams.playout.role import Role

#: Tells the channel of lost (a cause) or regained (None) air: output, cause, monotonic seconds.
Report = Callable[[OutputPlan, str | None, float], None]


def role_name(output: int) -> str:
    return f"{process.PUSHER}-{output}"


class Pushers:
    """One pusher per output. `beat` is called several times a second."""

    def __init__(
        self,
        tools: Tools,
        policy: Policy,
        folder: Path,
        hls: Path,
        *,
        report: Report,
        relay: Relay,
    ) -> None:
        self.tools = tools
        self.policy = policy
        self.folder = folder
        self.hls = hls
        self.report = report
        self.relay = relay
        self.plans: dict[int, OutputPlan] = {}
        self.statuses: dict[int, machine.Status] = {}
        self.roles: dict[int, Role] = {}

    def adopt(self, output: int, role: Role, plan: OutputPlan | None, now: float) -> None:
        """Take over a running pusher; one whose output is gone is ended."""
        self.roles[output] = role
        self.statuses[output] = machine.Status()
        if plan is None or role.process.record.notes.get("edition") != plan.edition:
            self.statuses[output] = machine.Status(running=True)
            role.halt(now, self.policy.grace)
            return
        self.plans[output] = plan
        self._step(output, machine.Adopted(), now)

    def want(self, outputs: tuple[OutputPlan, ...], now: float) -> None:
        """Bring what runs in line with what is wanted."""
        wanted = {output.pk: output for output in outputs}
        for pk, status in list(self.statuses.items()):
            if pk in self.plans:
                plan = wanted.get(pk)
                if plan is not None and plan.edition == self.plans[pk].edition:
                    # Another name, perhaps: no reason to cut it.
                    self.plans[pk] = plan
                else:
                    self._step(pk, machine.Unwanted(), now)
                    del self.plans[pk]
            if pk not in wanted and not status.running and pk not in self.roles:
                del self.statuses[pk]
        for pk, plan in wanted.items():
            # A pusher with the old address must be gone first: one key, one publisher.
            if pk not in self.roles:
                self.plans[pk] = plan
                self.statuses.setdefault(pk, machine.Status())
                self._step(pk, machine.Wanted(), now)

    def beat(self, now: float) -> None:
        for pk, role in list(self.roles.items()):
            if role.read(now):
                self._step(pk, machine.Moved(), now)
            if role.process.exited():
                self._exited(pk, role, now)
            elif role.halted:
                role.halt(now, self.policy.grace)
        for pk in list(self.plans):
            self._step(pk, machine.Ticked(), now)

    def stop(self, now: float) -> bool:
        """End them all. True when none is left."""
        self.want((), now)
        for role in self.roles.values():
            role.halt(now, self.policy.grace)
        return not self.roles

    def _exited(self, pk: int, role: Role, now: float) -> None:
        self.relay(role)
        cause = diagnosis.pusher(role.process.code(), list(role.lines))
        if role.halted and pk in self.plans and self.statuses[pk].running:
            cause = f"It took no data for {self.policy.stall:.0f} seconds and was started anew."
        process.forget(self.folder, role.name)
        role.close()
        del self.roles[pk]
        self._step(pk, machine.Exited(cause), now)

    def _step(self, pk: int, event: machine.Event, now: float) -> None:
        status, actions = machine.step(self.statuses[pk], event, now, self.policy)
        self.statuses[pk] = status
        for action in actions:
            match action:
                case machine.Launch():
                    self._launch(pk, now)
                case machine.Halt():
                    if pk in self.roles:
                        self.roles[pk].halt(now, self.policy.grace)
                case machine.Lost(at, cause):
                    self.report(self.plans[pk], cause, at)
                case machine.Regained(at):
                    self.report(self.plans[pk], None, at)
                case _:
                    assert_never(action)

    def _launch(self, pk: int, now: float) -> None:
        plan = self.plans[pk]
        try:
            sock = process.progress_socket()
            port = sock.getsockname()[1]
            started = process.spawn(
                self.tools,
                self.folder,
                role_name(pk),
                commands.pusher(self.tools.ffmpeg, port, self.hls, plan, self.policy),
                sock=sock,
                notes={"edition": plan.edition},
            )
        except (process.SpawnError, OSError) as error:
            self._step(pk, machine.Exited(str(error)), now)
            return
        self.roles[pk] = Role(started, now)
