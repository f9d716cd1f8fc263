"""Brings faults about, and ends them. Only processes of this node's run directory are hit.

A process is signalled through its pidfd after its start time has been compared, so that no
process with a reused pid is hit.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from django.db import connections

from streams.drill import watch
from streams.drill.promises import DATABASE_S, STALL_S, Fault
from streams.models import AsRun, Channel, ChannelState, Incident, Output, OutputState
from streams.playout.contract.states import OutputAir
from streams.playout.ffmpeg import process
from streams.playout.ffmpeg.process import Record
from streams.playout.node import node_lock

#: Seconds until the database must have let the drill lock it.
LOCK_TIMEOUT_S: Final = 15.0
#: Stops a process, and continues it after some seconds or when the drill ends, killed or not:
#: then its end of the pipe is closed. Arguments: pidfd, pipe, seconds.
_STALL: Final = """\
import select, signal, sys
pidfd, pipe, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, lambda *_: sys.exit())
try:
    signal.pidfd_send_signal(pidfd, signal.SIGSTOP)
    print(flush=True)
    select.select([pipe], [], [], seconds)
finally:
    signal.pidfd_send_signal(pidfd, signal.SIGCONT)
"""


class NotPossibleError(Exception):
    """The fault can't be brought about here. `str()` of it is a sentence."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The channel that is drilled, and where its processes are."""

    channel: Channel
    run_dir: Path
    #: Lowest output that is on air; None: the channel has the preview only.
    output: Output | None

    @property
    def folder(self) -> Path:
        return process.channel_folder(self.run_dir, self.channel.pk)


@dataclass(frozen=True, slots=True)
class Applied:
    """A fault that was brought about."""

    #: When the part worked again, in seconds since the epoch; None: not yet.
    recovered: Callable[[float], float | None]
    #: Pushers whose session the fault is expected to end.
    ends: frozenset[str] = frozenset()
    detail: Callable[[], str] = str


def scene(channel: Channel, run_dir: Path) -> Scene:
    on_air = channel.outputs.filter(enabled=True, state__state=OutputAir.ON_AIR.value)
    return Scene(channel, run_dir, on_air.order_by("pk").defer("key", "secret_query").first())


@contextmanager
def applied(fault: Fault, at: Scene) -> Iterator[Applied]:
    """Bring the fault about, and end it with the block. Raises `NotPossibleError`."""
    with _FAULTS[fault](at) as made:
        yield made


# ---- FFmpeg ----------------------------------------------------------------------------------
def _record(at: Scene, name: str) -> Record:
    record = watch.living(at.folder).get(name)
    if record is None:
        raise NotPossibleError(
            f"No running {name.partition('-')[0]} of this channel can be seen from this "
            "process. In containers, run the drill in the one of the playout service."
        )
    return record


@contextmanager
def _opened(pid: int, born: int | None, what: str) -> Iterator[int]:
    """Open the process's pidfd, if it is still the one that was meant."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        raise NotPossibleError(f"The {what} ended by itself just now.") from None
    try:
        if born is None or process.born(pid) != born:
            raise NotPossibleError(f"The {what} ended by itself just now.")
        yield pidfd
    except PermissionError:
        raise NotPossibleError(
            f"The {what} belongs to another user. Run the drill as the playout service's user."
        ) from None
    finally:
        os.close(pidfd)


def _kill(pid: int, born: int | None, what: str) -> None:
    with _opened(pid, born, what) as pidfd, suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)


@contextmanager
def _player(at: Scene) -> Iterator[Applied]:
    record = _record(at, process.PLAYER)
    entries = AsRun.objects.filter(run__channel=at.channel)
    last = entries.order_by("-pk").values_list("pk", flat=True).first() or 0
    _kill(record.pid, record.born, process.PLAYER)
    later = entries.filter(pk__gt=last).order_by("pk")

    def recovered(_: float) -> float | None:
        # The node notes an item when it has left the hub; what was buffered plays before it.
        aired = later.filter(kind=AsRun.Kind.ITEM).first()
        return None if aired is None else aired.started_at.timestamp()

    def detail() -> str:
        titles = list(later.values_list("title", flat=True)[:3])
        return f"On air afterwards: {', '.join(titles)}." if titles else ""

    yield Applied(recovered, detail=detail)


@contextmanager
def _hub(at: Scene) -> Iterator[Applied]:
    record = _record(at, process.HUB)
    segments = watch.Segments(at.folder / "hls")
    segments.poll()
    _kill(record.pid, record.born, process.HUB)

    def recovered(_: float) -> float | None:
        present = watch.living(at.folder).get(process.HUB)
        if present is None or present.pid == record.pid:
            # Segments up to now are the old hub's.
            segments.poll()
            segments.seen.clear()
            return None
        segments.poll()
        return segments.seen[0].at if segments.seen else None

    yield Applied(recovered)


def _pusher_of(at: Scene) -> Record:
    if at.output is None:
        raise NotPossibleError("No output of the channel is on air.")
    return _record(at, f"{process.PUSHER}-{at.output.pk}")


@contextmanager
def _pusher(at: Scene) -> Iterator[Applied]:
    record = _pusher_of(at)
    killed = watch.now()
    _kill(record.pid, record.born, process.PUSHER)

    def recovered(now: float) -> float | None:
        session = watch.sessions(at.folder).get(record.name)
        if session is None or session.pid == record.pid or not _on_air(at, killed):
            return None
        # The node has noted the moment; the poll only saw the row a little later.
        incident = Incident.objects.filter(
            channel=at.channel, subject=f"output-{_pk(at)}", closed_at__gt=_when(killed)
        ).first()
        return incident.closed_at.timestamp() if incident and incident.closed_at else now

    def detail() -> str:
        return f"Output {_name(at)}, whose session had to end."

    yield Applied(recovered, frozenset({record.name}), detail)


@contextmanager
def _uplink(at: Scene) -> Iterator[Applied]:
    record = _pusher_of(at)
    with _opened(record.pid, record.born, process.PUSHER) as pidfd:
        reader, writer = os.pipe()
        stopped, report = os.pipe()
        stalled = subprocess.Popen(
            [sys.executable, "-I", "-c", _STALL, str(pidfd), str(reader), str(2 * STALL_S)],
            stdin=subprocess.DEVNULL,
            stdout=report,
            stderr=subprocess.DEVNULL,
            pass_fds=(pidfd, reader),
            start_new_session=True,
        )
        os.close(reader)
        os.close(report)
        read_before: list[int] = []

        def recovered(now: float) -> float | None:
            count = watch.bytes_read(record.pid)
            if count is None:
                return None
            if not read_before:
                read_before.append(count)
            # It reads segments again, and its session is the one from before.
            return now if count > read_before[0] and _on_air(at, None) else None

        try:
            if not os.read(stopped, 1):
                raise NotPossibleError(
                    "The pusher can't be stopped: it has ended, or belongs to another user."
                )
            yield Applied(recovered, detail=lambda: f"Output {_name(at)}.")
        finally:
            # The end of the pipe: it sends SIGCONT.
            os.close(writer)
            stalled.wait()
            os.close(stopped)


def _on_air(at: Scene, since: float | None) -> bool:
    """Whether the output is on air, in a session that began after `since`."""
    states = OutputState.objects.filter(output=_pk(at), state=OutputAir.ON_AIR.value)
    if since is not None:
        states = states.filter(session_since__gt=_when(since))
    return states.exists()


def _pk(at: Scene) -> int:
    return at.output.pk if at.output is not None else 0


def _name(at: Scene) -> str:
    return at.output.name if at.output is not None else ""


def _when(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


# ---- the supervisor and the database ---------------------------------------------------------
@contextmanager
def _supervisor(at: Scene) -> Iterator[Applied]:
    pid = node_lock.holder(at.run_dir)
    if pid is None:
        raise NotPossibleError(
            "This process can't see the supervisor. In containers, run the drill in the one of "
            "the playout service."
        )
    born = process.born(pid)
    if node_lock.holder(at.run_dir) != pid:
        raise NotPossibleError("The supervisor ended by itself just now.")
    _kill(pid, born, "supervisor")

    def recovered(now: float) -> float | None:
        present = node_lock.holder(at.run_dir)
        if present in {None, pid}:
            return None
        state = ChannelState.objects.filter(pk=at.channel.pk, measured_at__gt=_when(taken(now)))
        return now if state.exists() else None

    #: When the next one was first seen: what it writes after that is its own.
    seen: list[float] = []

    def taken(now: float) -> float:
        seen.append(now)
        return seen[0]

    yield Applied(recovered)


@contextmanager
def _database(at: Scene) -> Iterator[Applied]:
    """Hold a lock that lets others read, but not write.

    SQLite: the writer's lock. PostgreSQL: the tables of the state. The server drops it with
    the connection, so also if the drill is killed.
    """
    held, release = threading.Event(), threading.Event()
    errors: list[Exception] = []

    def hold() -> None:
        connection = connections["default"]
        try:
            with connection.cursor() as cursor:
                if connection.vendor == "sqlite":
                    cursor.execute("BEGIN EXCLUSIVE")
                else:
                    tables = ", ".join(
                        connection.ops.quote_name(model._meta.db_table)
                        for model in (ChannelState, OutputState)
                    )
                    cursor.execute("BEGIN")
                    cursor.execute(f"SET LOCAL lock_timeout = {int(LOCK_TIMEOUT_S * 1000)}")
                    cursor.execute(f"LOCK TABLE {tables} IN EXCLUSIVE MODE")
                held.set()
                release.wait(2 * DATABASE_S)
                cursor.execute("ROLLBACK")
        except Exception as error:  # noqa: BLE001 - the drill reports it
            errors.append(error)
        finally:
            held.set()
            connection.close()

    thread = threading.Thread(target=hold, name="database-lock")
    thread.start()
    released: list[float] = []

    def recovered(now: float) -> float | None:
        if not released:
            released.append(now)
        later = _when(released[0])
        written = ChannelState.objects.filter(pk=at.channel.pk, measured_at__gt=later)
        return now if written.exists() else None

    try:
        if not held.wait(2 * LOCK_TIMEOUT_S):
            raise NotPossibleError("The database is too busy to be locked.")
        if errors:
            raise NotPossibleError(f"The database can't be locked: {errors[0]}")
        yield Applied(recovered)
    finally:
        release.set()
        thread.join()


_FAULTS: Final = {
    Fault.PLAYER: _player,
    Fault.HUB: _hub,
    Fault.PUSHER: _pusher,
    Fault.UPLINK: _uplink,
    Fault.SUPERVISOR: _supervisor,
    Fault.DATABASE: _database,
}
