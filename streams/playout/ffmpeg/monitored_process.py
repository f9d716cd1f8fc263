"""Monitors one process of a channel: player, hub, pusher or conformer."""

from __future__ import annotations

import signal
from collections import deque
from dataclasses import dataclass
from typing import Final

import psutil

from streams.playout.ffmpeg.process import Process
from streams.playout.ffmpeg.progress import Progress, parse
from streamsite.security.secret import Secret, masked

#: Lines of stderr kept to explain why a process ended.
MAX_STDERR_LINES: Final = 30
#: Seconds from the first to the second SIGTERM.
SECOND_SIGTERM_S: Final = 1.0
#: Seconds within which a healthy process has sent a report and the report was read.
REPORT_S: Final = 2.5
#: Seconds over which the pace of a process is measured.
PACE_SPAN_S: Final = 30.0
#: Seconds by which a report of a healthy process may be late.
STEADY_S: Final = 0.5
#: Seconds over which a pusher's bit rate is measured.
RATE_WINDOW_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Load:
    """CPU in percent of one core since the last sample; resident memory in bytes."""

    cpu: float | None
    memory: int | None


class MonitoredProcess:
    """Reads the progress, the log and the load of one process, and ends it on request."""

    def __init__(
        self, process: Process, now: float, secrets: tuple[Secret, ...] | None = ()
    ) -> None:
        """Monitor `process`.

        `secrets`: texts that its lines must not show. None: unknown, so no line is shown.
        """
        self.process = process
        self.secrets = secrets
        self.since = now
        self.progress = Progress()
        #: When output last advanced.
        self.moved = now
        #: Whether its output has advanced since we started or adopted it.
        self.has_moved = False
        #: Microseconds of output when its byte count last grew: the muxer holds video back
        #: until its audio has arrived.
        self.written = 0
        self.lines: deque[str] = deque(maxlen=MAX_STDERR_LINES)
        self._sizes: deque[tuple[float, int]] = deque()
        self._first: tuple[float, int] | None = None
        #: Time of each report and its output in seconds, for as long as the pace is measured.
        self._reports: deque[tuple[float, float]] = deque()
        #: Time of each report, and seconds by which its output was ahead of our clock then.
        self._leads: deque[tuple[float, float]] = deque()
        #: The largest of all.
        self._lead: float | None = None
        self._halted: float | None = None
        self._insisted = False
        self._cpu: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        return self.process.record.name

    @property
    def halted(self) -> bool:
        return self._halted is not None

    def read(self, now: float) -> bool:
        """Read its pending reports. True: its output has advanced."""
        advanced = False
        while True:
            try:
                datagram = self.process.sock.recv(4096)
            except (BlockingIOError, ConnectionError):
                return advanced
            report = parse(datagram)
            before = self.progress.out_time_us
            if report.out_time_us is not None and report.out_time_us > max(before or 0, 0):
                advanced = self.has_moved = True
                self.moved = now
                self._first = self._first or (now, report.out_time_us)
                self._reports.append((now, report.out_time_us / 1_000_000))
                while now - self._reports[0][0] > PACE_SPAN_S:
                    self._reports.popleft()
                self._leads.append((now, report.out_time_us / 1_000_000 - now))
                lead = self._leads[-1][1]
                self._lead = lead if self._lead is None else max(self._lead, lead)
                while now - self._leads[0][0] > RATE_WINDOW_S:
                    self._leads.popleft()
            if (report.total_size or 0) > (self.progress.total_size or 0):
                self.written = report.out_time_us or 0
            self.progress = report
            if report.total_size is not None:
                self._sizes.append((now, report.total_size))
                while now - self._sizes[0][0] > RATE_WINDOW_S:
                    self._sizes.popleft()

    def new_lines(self) -> list[str]:
        # A server may quote what it received.
        read = self.process.new_lines()
        secrets = self.secrets
        lines = [] if secrets is None else [masked(line, secrets) for line in read]
        self.lines.extend(lines)
        return lines

    def bitrate(self) -> int | None:
        """bit/s over the last ten seconds; None without enough reports."""
        if not self._sizes:
            return None
        (start, before), (end, after) = self._sizes[0], self._sizes[-1]
        return max(0, round((after - before) * 8 / (end - start))) if end > start else None

    def sent(self, now: float) -> float | None:
        """Seconds of air that it has output by now, from its reports of the last ten seconds.

        A report is read up to a second late, so the largest value is the most accurate.
        """
        if not self._leads:
            return None
        return now + max(lead for _, lead in self._leads)

    def due(self, now: float) -> float | None:
        """Seconds of air that it has output by now unless it has fallen behind.

        From all of its reports, and so more accurate than `sent`: FFmpeg catches up.
        """
        return None if self._lead is None else now + self._lead

    def pace(self, now: float) -> float | None:
        """Seconds of output per second over the last `PACE_SPAN_S`; None if it is younger."""
        if now - self.since < PACE_SPAN_S or not self._reports:
            return None
        began, first = self._reports[0]
        _, last = self._reports[-1]
        # It reports once a second, and is read up to a second late: longer silence counts as
        # missing.
        elapsed = max(self._reports[-1][0], now - REPORT_S) - began
        return (last - first) / elapsed if elapsed > PACE_SPAN_S / 2 else None

    def slowed_at(self) -> float | None:
        """When it began to fall behind, within the span of the pace; None: it has not."""
        slowed = None
        behind = [at - output for at, output in self._reports]
        for number, (at, _) in enumerate(self._reports):
            least = min(behind[: number + 1])
            if behind[number] - least <= STEADY_S:
                slowed = at
        return slowed

    def lag(self) -> float | None:
        """Seconds that its output fell behind the wall clock since its first report."""
        if self._first is None or self.progress.out_time_us is None:
            return None
        began, first = self._first
        sent = (self.progress.out_time_us - first) / 1_000_000
        return round(max(0.0, self.moved - began - sent), 3)

    def halt(self, now: float, grace: float) -> None:
        """Send SIGTERM; on later calls SIGTERM again after a second, SIGKILL after `grace`."""
        if self._halted is None:
            self._halted = now
            self.process.signal(signal.SIGTERM)
        elif now - self._halted > grace:
            self.process.signal(signal.SIGKILL)
        elif now - self._halted > SECOND_SIGTERM_S and not self._insisted:
            self.terminate_again()

    def terminate_again(self) -> None:
        """Send a second SIGTERM: FFmpeg's reads and waits ignore the first."""
        self._insisted = True
        self.process.signal(signal.SIGTERM)

    def kill(self, now: float) -> None:
        self._halted = now if self._halted is None else self._halted
        self.process.signal(signal.SIGKILL)

    def load(self, now: float) -> Load:
        try:
            process = psutil.Process(self.process.pid)
            times = process.cpu_times()
            memory = process.memory_info().rss
        except psutil.Error:
            return Load(None, None)
        used = times.user + times.system
        before, self._cpu = self._cpu, (now, used)
        if before is None or now <= before[0]:
            return Load(None, memory)
        return Load(round((used - before[1]) / (now - before[0]) * 100, 2), memory)

    def close(self) -> None:
        self.process.close()
