"""The hub of a channel: keeps it running and tracks its clock."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Final

from streams.playout.contract.moment import Now
from streams.playout.contract.plan import Policy, Tools
from streams.playout.ffmpeg import capability, commands, diagnosis, hls_window, mpegts, process
from streams.playout.ffmpeg.hls_window import Window
from streams.playout.ffmpeg.monitored_process import MonitoredProcess
from streams.playout.ffmpeg.pipe import FeedPipe
from streams.playout.journal.journal import Journal
from streams.playout.player.timeline import HubClock

#: Seconds without progress after which the hub counts as silent.
SILENT_S: Final = 5.0
#: Seconds between two starts, so that a hub that dies at once is not restarted in a loop.
RESTART_PAUSE_S: Final = 1.0


class Hub:
    """Starts the hub, restarts it when it dies or hangs, and knows what it sends when."""

    def __init__(
        self,
        tools: Tools,
        policy: Policy,
        folder: Path,
        feed: FeedPipe,
        window: Window,
        journal: Journal,
    ) -> None:
        self.tools = tools
        self.policy = policy
        self.folder = folder
        self.feed = feed
        self.window = window
        self.journal = journal
        self.role: MonitoredProcess | None = None
        self.clock: HubClock | None = None
        #: Position on the feed where it began, or about where the next hub continues in the
        #: waiting data. None: the next hub starts with the next item.
        self.approximate_start: Fraction | None = None
        #: Why it can't be started; empty if it can.
        self.trouble = ""
        #: Newest segment when a hub died: air is lost until there is a newer one.
        self._hole_after: str | None = None
        self._started = float("-inf")

    def adopt(self, role: MonitoredProcess) -> None:
        """Adopt a running hub.

        Raises `KeyError`, `TypeError` or `ValueError` if the record is another version's.
        """
        notes = role.process.record.notes
        at = Fraction(notes["at"])
        if "when" in notes:
            self.clock = HubClock(at, float(notes["when"]))
        self.approximate_start = at
        self.role = role

    def is_sending(self, now: Now) -> bool:
        """Whether it has moved data lately."""
        role = self.role
        return role is not None and role.has_moved and now.mono - role.moved < SILENT_S

    def beat(self, head: Fraction, now: Now) -> None:
        """Supervise the hub. `head`: where the next item starts if the feed is empty."""
        role = self.role
        if role is None:
            self._start(head, now)
            return
        role.read(now.mono)
        if role.process.exited():
            if not role.halted:
                cause = diagnosis.hub(role.process.code())
                self.journal.open_incident("hub", cause, now.at(role.moved))
            self._hole_after = self.window.newest
            self._drop(role, now)
            self._start(head, now)
        elif now.mono - role.moved > self.policy.stall and self.feed.waiting_bytes():
            # Data is waiting, but the hub sends nothing.
            cause = f"The hub sent nothing for {self.policy.stall:.0f} s and was restarted."
            self.journal.open_incident("hub", cause, now.at(role.moved))
            role.kill(now.mono)
        elif role.has_moved:
            if self.window.newest != self._hole_after:
                self.journal.close_incident("hub", now.wall)
            self._set_clock(role, now)

    def replace(self, now: Now) -> None:
        """Replace the hub by a fresh one, whose clock starts with the next item."""
        self.clock = self.approximate_start = None
        if self.role is not None:
            self.role.kill(now.mono)

    def stop(self, now: Now) -> bool:
        """End it. True once it has ended."""
        role = self.role
        if role is None:
            return True
        if role.halted:
            role.halt(now.mono, self.policy.grace)
        else:
            role.halt(now.mono, self.policy.grace)
            role.terminate_again()
        # Its read from the pipe ignores the signals until data arrives.
        self.feed.wake_reader()
        if role.process.exited():
            self._drop(role, now)
        return self.role is None

    def _drop(self, role: MonitoredProcess, now: Now) -> None:
        self.journal.relay(now, role)
        process.remove_record(self.folder, role.name)
        role.close()
        self.role = None

    def _start(self, head: Fraction, now: Now) -> None:
        if now.mono - self._started < RESTART_PAUSE_S:
            return
        self._started = now.mono
        # Kept for the next hub, in case this one dies before it reports.
        at = self.approximate_start = self._start_position(head, now)
        self.clock = None
        try:
            # Somebody may have cleared the run directory.
            hls_window.ensure_folder(self.window.folder, self.tools.hls_group)
            started = process.spawn(
                self.tools,
                self.folder,
                process.HUB,
                lambda port: commands.hub(
                    *(self.tools.ffmpeg, port, self.window.folder, str(self.journal.run)),
                    self.policy,
                    at=at,
                    resume=self.window.exists(),
                    bursts=capability.abilities(self.tools.ffmpeg).bursts,
                ),
                stdin=self.feed.fd,
                notes={"at": str(at)},
            )
        except (process.SpawnError, OSError) as error:
            self.trouble = str(error)
            return
        self.trouble = ""
        self.journal.log(now, process.HUB, "info", f"Started, process {started.pid}.")
        self.role = MonitoredProcess(started, now.mono)

    def _start_position(self, head: Fraction, now: Now) -> Fraction:
        """Return where on the feed the next hub starts: at the first waiting video frame."""
        near = self.approximate_start if self.clock is None else self.clock.position(now.mono)
        if near is None:
            return head
        waiting = mpegts.tail(self.feed.peek()).first_dts
        # The feed is empty: everything fed was taken, at least up to the start of the present
        # item.
        return max(near, head) if waiting is None else mpegts.unwrap(waiting, near)

    def _set_clock(self, role: MonitoredProcess, now: Now) -> None:
        """Derive from its first report which moment of the feed it sends when.

        The hub keeps wall-clock time, so this holds from then on. The record keeps it for the
        next supervisor.
        """
        record = role.process.record
        sent = Fraction(record.notes["at"])
        sent += Fraction(role.progress.out_time_us or 0, 1_000_000)
        if not self.policy.paced:
            self.clock = HubClock(sent, now.mono)
        elif self.clock is None:
            self.clock = HubClock(sent, now.mono)
            role.process.record = replace(record, notes={"at": str(sent), "when": now.mono})
            process.write_record(self.folder, role.process.record)
