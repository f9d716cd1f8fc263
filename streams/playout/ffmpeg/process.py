"""Starts, adopts and stops FFmpeg processes; no other module does.

FFmpeg is started in a session of its own, independent of the supervisor: when the supervisor is
killed, its processes keep playing. Each has a record on disk by which the next supervisor
recognises it. A bare pid is never trusted: the start time must match.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import structlog

from streams.playout.contract.plan import Tools
from streams.playout.ffmpeg.commands import Command, Hidden
from streams.playout.ffmpeg.pipe import FeedPipe
from streams.playout.ffmpeg.timer_slack import oversleeping

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Set in the environment of every child, so that one without a record is recognised as ours.
MARK: Final = "STREAMSITE_RUN_DIR"
#: Variables inherited by children. All others, secrets above all, are removed.
INHERITED: Final = ("PATH", "HOME", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
HUB: Final = "hub"
PLAYER: Final = "player"
#: A player that waits until the one before it has ended.
QUEUED: Final = "queued"
PUSHER: Final = "pusher"
CONFORMER: Final = "conformer"
#: The order in which a channel is stopped: pushers unpublish while there is still video.
STOP_ORDER: Final = (PUSHER, QUEUED, PLAYER, CONFORMER, HUB)
#: Seconds after SIGKILL after which a process is no longer waited for.
KILL_TIMEOUT_S: Final = 2.0
#: Bytes of a process's stderr that are kept.
MAX_LOG_BYTES: Final = 1 << 20
#: Receive buffer for progress reports, in bytes. Linux limits it to net.core.rmem_max.
REPORT_BUFFER_BYTES: Final = 1 << 20


class SpawnError(Exception):
    """FFmpeg can't be started. `str()` is a sentence."""


@dataclass(frozen=True, slots=True)
class Record:
    """Identifies a process to the next supervisor. Stored beside the feed as JSON."""

    pid: int
    #: Start time in clock ticks since boot, from /proc/<pid>/stat: unique together with the
    #: pid.
    born: int
    #: hub, player, queued-<number>, pusher-<output> or conformer-<stream>.
    name: str
    #: Port of its progress socket.
    port: int
    #: Seconds since the epoch.
    started: float
    #: Notes of its role: offset, item, run.
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def role(self) -> str:
        return self.name.partition("-")[0]


def born(pid: int) -> int | None:
    """Start time of a living process, in clock ticks since boot; None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # Field 22; the name (field 2) may contain spaces and brackets, so count from its end.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def age(record: Record) -> float:
    """Seconds since the process was started, by a clock that nobody sets."""
    up = time.clock_gettime(time.CLOCK_BOOTTIME)
    return max(0.0, up - record.born / os.sysconf("SC_CLK_TCK"))


class Process:
    """A running FFmpeg, started or adopted by this supervisor."""

    def __init__(self, record: Record, pidfd: int, sock: socket.socket, log: Path) -> None:
        self.record = record
        self.pidfd = pidfd
        self.sock = sock
        self.log = log
        self._log_at = 0
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return self.record.pid

    def signal(self, number: signal.Signals) -> None:
        """Signal it through its pidfd, so that no process with a reused pid is hit."""
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            return

    def exited(self) -> bool:
        """Whether it has ended."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def code(self) -> int | None:
        """Exit status, negative for a signal; None if it was adopted or is still running."""
        return None if self._child is None else self._child.poll()

    def new_lines(self) -> list[str]:
        """Return the lines written to stderr since the last call; the file is kept short."""
        try:
            if self.log.stat().st_size == self._log_at:
                return []
            with self.log.open("rb") as log:
                log.seek(self._log_at)
                text = log.read(MAX_LOG_BYTES)
        except OSError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self._log_at += len(whole)
        if self._log_at > MAX_LOG_BYTES:
            # The process writes with O_APPEND: after truncation its next line starts at the
            # top.
            os.truncate(self.log, 0)
            self._log_at = 0
        return [line for line in whole.decode("utf-8", "replace").splitlines() if line.strip()]

    def close(self) -> None:
        """Release it. An ended child is reaped."""
        self.code()
        os.close(self.pidfd)
        self.sock.close()


def spawn(
    tools: Tools,
    folder: Path,
    name: str,
    build: Callable[[int], Command],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    notes: dict[str, Any] | None = None,
    handed: Sequence[int] = (),
) -> Process:
    """Start FFmpeg and write its record. Raises `SpawnError`, `OSError`, or what `build` does.

    `build`: makes its command for the port of its progress socket. `handed`: descriptors that
    it inherits.
    """
    log = folder / f"{name}.log"
    child: subprocess.Popen[bytes] | None = None
    sock = progress_socket()
    try:
        port = sock.getsockname()[1]
        command = build(port)
        environment = {key: os.environ[key] for key in INHERITED if key in os.environ}
        environment[MARK] = str(tools.run_dir)
        # The web server's group may read the run directory; FFmpeg may print a signed URL.
        log.touch(0o600)
        log.chmod(0o600)
        os.truncate(log, 0)
        with log.open("ab") as stderr, hand_over(command) as (argv, pipes), oversleeping():
            child = subprocess.Popen(
                argv,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=environment,
                cwd="/",
                pass_fds=(*pipes, *handed),
                start_new_session=True,
                # Only the hub writes files, and their folder decides who may read them.
                umask=0o022,
                # Our worker ignores SIGINT, and ignored signals are inherited.
                restore_signals=True,
            )
        record = Record(child.pid, born(child.pid) or 0, name, port, time.time(), notes or {})
        write_record(folder, record)
        process = Process(record, os.pidfd_open(child.pid), sock, log)
    except BaseException as error:
        if child is not None:
            # Nobody else would end it: a full disk would leave one more at every attempt.
            child.kill()
            child.wait()
        sock.close()
        if not isinstance(error, OSError):
            raise
        raise SpawnError(f"{tools.ffmpeg} can't be started: {error.strerror}.") from error
    process._child = child  # noqa: SLF001 - born here; adopted ones have none
    return process


@contextmanager
def hand_over(command: Command) -> Iterator[tuple[list[str], list[int]]]:
    """Yield the command line to execute and the pipes to pass on for hidden arguments."""
    pipes: list[int] = []
    argv: list[str] = []
    try:
        for argument in command:
            if isinstance(argument, Hidden):
                reader, writer = os.pipe()
                pipes.append(reader)
                # The text fits into the pipe (64 KiB, pipe(7)), so no reader is needed yet.
                with os.fdopen(writer, "w") as out:
                    out.write(argument.text.reveal())
                argv.append(f"/dev/fd/{reader}")
            else:
                argv.append(argument)
        yield argv, pipes
    finally:
        for pipe in pipes:
            os.close(pipe)


def adopt(folder: Path, record: Record) -> Process | None:
    """Adopt a running process. None: it has ended."""
    try:
        pidfd = os.pidfd_open(record.pid)
    except OSError:
        return None
    # The pidfd is open, so it can't refer to another process any more and the check holds.
    if born(record.pid) != record.born:
        os.close(pidfd)
        return None
    try:
        sock = progress_socket(record.port)
    except OSError:
        # Its port is taken: without reports it can't be supervised, so it must not continue.
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)
        return None
    log = folder / f"{record.name}.log"
    process = Process(record, pidfd, sock, log)
    with suppress(FileNotFoundError):
        process._log_at = log.stat().st_size  # noqa: SLF001 - what is there was read before
    return process


def progress_socket(port: int = 0) -> socket.socket:
    """Open a socket for progress reports. Port 0: a free one. Raises `OSError`."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        # Holds some seconds of a relay's reports; if the buffer overflows, the newest are lost.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, REPORT_BUFFER_BYTES)
        sock.bind(("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    return sock


def write_record(folder: Path, record: Record) -> None:
    """Write the record atomically: a reader never sees half of it."""
    draft = folder / f".{record.name}.draft"
    draft.write_text(json.dumps(asdict(record)))
    draft.replace(folder / f"{record.name}.json")


def restore_record(folder: Path, record: Record) -> bool:
    """Write the record again if somebody has deleted it. True: it was missing."""
    if (folder / f"{record.name}.json").exists():
        return False
    write_record(folder, record)
    return True


def remove_record(folder: Path, name: str) -> None:
    (folder / f"{name}.json").unlink(missing_ok=True)


def rename(folder: Path, process: Process, name: str) -> None:
    """Rename a process in its record and its log; it continues to write to the log."""
    before, process.record = process.record, replace(process.record, name=name)
    write_record(folder, process.record)
    remove_record(folder, before.name)
    log = folder / f"{name}.log"
    with suppress(OSError):
        process.log.replace(log)
        process.log = log


def read_records(folder: Path) -> Iterator[Record]:
    """Yield the readable records of a channel's folder; for those who only watch."""
    for path in sorted(folder.glob("*.json")):
        with suppress(OSError, ValueError, TypeError):
            yield Record(**json.loads(path.read_text()))


def records(folder: Path) -> list[Record]:
    """Return the records of a channel's folder. Unreadable ones are removed."""
    existing = []
    for path in sorted(folder.glob("*.json")):
        try:
            existing.append(Record(**json.loads(path.read_text())))
        except (OSError, ValueError, TypeError):
            path.unlink(missing_ok=True)
    return existing


def open_feed(folder: Path, existing: Sequence[Record], requested_bytes: int = 0) -> FeedPipe:
    """Open a channel's feed, or create it for `requested_bytes`. Raises `OSError`.

    If a hub is running, this is the pipe that the hub reads, whatever happened to its path.
    """
    path = folder / "feed.fifo"
    for record in existing:
        if record.role == HUB and born(record.pid) == record.born:
            held = FeedPipe.of_process(path, record.pid, 0)
            if held is not None:
                return held
    return FeedPipe.open(path, requested_bytes)


def channel_folders(run_dir: Path) -> dict[int, Path]:
    """Return the channel folders, by the channel's number."""
    return {
        int(path.name.removeprefix("channel-")): path
        for path in run_dir.glob("channel-*")
        if path.name.removeprefix("channel-").isdigit()
    }


def channel_folder(run_dir: Path, channel: int) -> Path:
    return run_dir / f"channel-{channel}"


def remove_folder(folder: Path) -> None:
    """Remove a channel's files. None of its processes may be running any more."""
    shutil.rmtree(folder, ignore_errors=True)


def marked_pids(run_dir: Path) -> Iterator[int]:
    """Yield the living processes started for this run directory, with or without a record."""
    mark = f"{MARK}={run_dir}".encode()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            environment = (path / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if mark in environment:
            yield int(path.name)


def terminate_all(pids: list[int], feeds: list[FeedPipe], within: float) -> None:
    """End unsupervised processes: SIGTERM, then SIGKILL after `within` seconds."""
    left: dict[int, int] = {}
    watched = select.poll()
    for pid in pids:
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            continue
        left[pidfd] = pid
        watched.register(pidfd, select.POLLIN)
    deadline = time.monotonic() + within
    while left and time.monotonic() < deadline + KILL_TIMEOUT_S:
        late = time.monotonic() > deadline
        for pidfd in left:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL if late else signal.SIGTERM)
        for feed in feeds:
            feed.wake_reader()
        for pidfd, _ in watched.poll(200):
            watched.unregister(pidfd)
            os.close(pidfd)
            del left[pidfd]
    if left:
        # They wait for a disk that does not respond: the kernel ends them when it is back.
        log.error("process.unkillable", pids=sorted(left.values()))
        for pidfd in left:
            os.close(pidfd)


def stop_everything(run_dir: Path) -> int:
    """End every process of this run directory, pushers first. Returns their number.

    For the end of the service, when no supervisor is running any more. Takes at most 6 s.
    """
    count = 0
    feeds = []
    by_role: dict[str, list[int]] = {role: [] for role in STOP_ORDER}
    for folder in channel_folders(run_dir).values():
        existing = records(folder)
        with suppress(OSError):
            feeds.append(open_feed(folder, existing))
        for record in existing:
            if born(record.pid) == record.born:
                by_role[record.role].append(record.pid)
            remove_record(folder, record.name)
    for role in STOP_ORDER:
        count += len(by_role[role])
        terminate_all(by_role[role], feeds, within=2)
    strays = list(marked_pids(run_dir))
    terminate_all(strays, feeds, within=0)
    # Nothing is left to guard (`fence`).
    (run_dir / "fence").unlink(missing_ok=True)
    for feed in feeds:
        feed.close()
    return count + len(strays)
