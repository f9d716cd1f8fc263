"""Collects a channel's reports: history for the ledger and lines for the log, each once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import structlog

from streams.playout.contract import ledger
from streams.playout.contract.moment import Now
from streams.playout.ffmpeg import diagnosis
from streams.playout.ffmpeg.monitored_process import MonitoredProcess

#: Log lines that one process may add in a second; the rest is only counted.
MAX_LINES_PER_SECOND: Final = 20
#: Copies a process's remaining output to the log.
Relay = Callable[[MonitoredProcess], None]


class Journal:
    """Collects the notes of one run. The supervisor takes `notes`."""

    def __init__(
        self, channel: int, slug: str, run: int, open_incidents: Iterable[str]
    ) -> None:
        self.channel = channel
        self.run = run
        self.notes: list[ledger.Note] = []
        #: Causes by subject; None: opened by an earlier supervisor, so its cause is unknown.
        self.open: dict[str, str | None] = dict.fromkeys(open_incidents)
        self._log = structlog.get_logger(__name__).bind(channel=slug, run=run)

    def note(self, note: ledger.Note) -> None:
        self.notes.append(note)

    def log(self, now: Now, role: str, level: str, text: str) -> None:
        """Add a line to the log and to the channel's page."""
        log = self._log.bind(role=role)
        methods = {"warning": log.warning, "error": log.error, "fatal": log.error}
        methods.get(level, log.info)(text)
        self.note(ledger.Logged(self.channel, self.run, role, level, text, now.wall))

    def relay(self, now: Now, role: MonitoredProcess) -> None:
        """Copy the lines that FFmpeg wrote since the last call."""
        lines = [line for line in role.new_lines() if not diagnosis.harmless(line)]
        for line in lines[:MAX_LINES_PER_SECOND]:
            level, text = diagnosis.log_line(line)
            self.log(now, role.name, level, f"[FFMPEG] {text}")
        if len(lines) > MAX_LINES_PER_SECOND:
            more = len(lines) - MAX_LINES_PER_SECOND
            self.log(now, role.name, "warning", f"[FFMPEG] and {more} more lines")

    def open_incident(
        self,
        subject: str,
        cause: str,
        at: float,
        *,
        severity: str = "lost",
        output: int | None = None,
    ) -> None:
        """Open an incident at `at` (since the epoch), or update the cause of an open one."""
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

    def close_incident(self, subject: str, at: float) -> None:
        """Close the subject's incident if one is open, even one of an earlier supervisor."""
        if subject in self.open:
            del self.open[subject]
            self.note(ledger.IncidentClosed(self.channel, subject, at))
