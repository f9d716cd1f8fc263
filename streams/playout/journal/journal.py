"""What a channel tells: history for the ledger, lines for the log, each once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import structlog

from streams.playout.contract import ledger
from streams.playout.contract.moment import Now
from streams.playout.ffmpeg import diagnosis
from streams.playout.ffmpeg.monitored_process import MonitoredProcess

#: Lines of the log that one process may add in a second; the rest is counted.
MAX_LINES_PER_SECOND: Final = 20
#: Hands a process's last words to the log.
Relay = Callable[[MonitoredProcess], None]


class Report:
    """Collects the notes of one run. `notes` is taken by the supervisor."""

    def __init__(
        self, channel: int, slug: str, run: int, open_incidents: Iterable[str]
    ) -> None:
        self.channel = channel
        self.run = run
        self.notes: list[ledger.Note] = []
        #: Causes by subject; None: an earlier supervisor's, which is not known.
        self.open: dict[str, str | None] = dict.fromkeys(open_incidents)
        self._log = structlog.get_logger(__name__).bind(channel=slug, run=run)

    def note(self, note: ledger.Note) -> None:
        self.notes.append(note)

    def log(self, now: Now, role: str, level: str, text: str) -> None:
        """A line for the log and the channel's page."""
        log = self._log.bind(role=role)
        methods = {"warning": log.warning, "error": log.error, "fatal": log.error}
        methods.get(level, log.info)(text)
        self.note(ledger.Logged(self.channel, self.run, role, level, text, now.wall))

    def relay(self, now: Now, role: MonitoredProcess) -> None:
        """What FFmpeg wrote since the last time."""
        lines = [line for line in role.new_lines() if not diagnosis.harmless(line)]
        for line in lines[:MAX_LINES_PER_SECOND]:
            level, text = diagnosis.shown(line)
            self.log(now, role.name, level, f"[FFMPEG] {text}")
        if len(lines) > MAX_LINES_PER_SECOND:
            more = len(lines) - MAX_LINES_PER_SECOND
            self.log(now, role.name, "warning", f"[FFMPEG] and {more} lines more")

    def incident(
        self,
        subject: str,
        cause: str,
        at: float,
        *,
        severity: str = "lost",
        output: int | None = None,
    ) -> None:
        """Open an incident at `at` (since the epoch). Of an open one the cause follows."""
        previous = self.open.get(subject, "")
        new = subject not in self.open
        self.open[subject] = cause
        if new:
            self.note(
                ledger.IncidentOpened(
                    self.channel, self.run, subject, output, severity, cause, at
                )
            )
        elif previous != cause:
            self.note(ledger.IncidentExplained(self.channel, subject, cause, at))

    def over(self, subject: str, at: float) -> None:
        """Close the subject's incident, if one is open: also an earlier supervisor's."""
        if subject in self.open:
            del self.open[subject]
            self.note(ledger.IncidentClosed(self.channel, subject, at))
