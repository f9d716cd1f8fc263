"""The loop of a node: beats all of its channels and exchanges with the ledger every tick.

The loop never waits for the ledger, which runs in a thread of its own. If the ledger fails, the
channels keep playing with the orders they have; if other nodes may claim them, this node stops
sending them (`fence`).
"""

from __future__ import annotations

import asyncio
import errno
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

import structlog

from streams.playout.contract.engine import Engine, Handle, OpenEngine
from streams.playout.contract.fence import Fence, clock
from streams.playout.contract.ledger import (
    Evidence,
    Ledger,
    Logged,
    Note,
    Sampled,
    Snapshot,
)
from streams.playout.contract.moment import Now
from streams.playout.contract.plan import Assignment, EngineKind, Policy, Sources, Tools
from streams.playout.ffmpeg import process
from streams.playout.node import wake
from streams.playout.node.engines import ENGINES
from streams.playout.node.node_lock import NodeLock
from streams.playout.node.watching import Watching
from streams.playout.node.witness import ALIVE_FILE, FaultFile
from streamsite.processes import watchdog

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds between two polls of the processes while something is going on ...
BUSY_POLL_INTERVAL_S: Final = 0.25
#: ... and otherwise. The end of a process wakes the loop anyway; polls detect stalls.
CALM_POLL_INTERVAL_S: Final = 1.0
#: Seconds between two exchanges with the ledger.
EXCHANGE_INTERVAL_S: Final = 2.0
#: Seconds after which an unfinished exchange counts as a fault of the ledger.
EXCHANGE_OVERDUE_S: Final = 10.0
#: Seconds that the ledger has for each of the last two exchanges at shutdown.
FINAL_EXCHANGE_TIMEOUT_S: Final = 1.0
#: Seconds for which the loop may stand still. Then the process ends, and is started anew.
MAX_SILENCE_S: Final = 60
#: Seconds for a stop, of which the last two exchanges take two.
STOP_TIMEOUT_S: Final = 5
#: Notes kept while the ledger is unreachable: an hour of heavy logging, a few megabytes. The
#: limit drops only lines and samples: history is kept completely.
MAX_OUTBOX_NOTES: Final = 20_000

#: Evidence kept while the ledger is unreachable: some 5 MB.
MAX_OUTBOX_EVIDENCE: Final = 100


def trimmed(notes: Sequence[Note]) -> list[Note]:
    """Drop the oldest lines, samples and pictures until the notes fit into the outbox."""
    surplus = len(notes) - MAX_OUTBOX_NOTES
    pictures = sum(isinstance(note, Evidence) for note in notes) - MAX_OUTBOX_EVIDENCE
    kept: list[Note] = []
    for note in notes:
        if surplus > 0 and isinstance(note, Logged | Sampled):
            surplus -= 1
        elif pictures > 0 and isinstance(note, Evidence):
            pictures -= 1
        else:
            kept.append(note)
    return kept


class Supervisor:
    """Runs the node's channels as the ledger orders. `run` ends when `stop` is called."""

    def __init__(
        self,
        tools: Tools,
        policy: Policy,
        ledger: Ledger,
        sources: Sources,
        lock: NodeLock | None = None,
        engines: Mapping[EngineKind, OpenEngine] = ENGINES,
        *,
        alive: Callable[[], object] = lambda: None,
    ) -> None:
        """`alive` is called every two seconds, as long as the loop turns."""
        self.tools = tools
        self.lock = lock
        self.policy = policy
        self.ledger = ledger
        self.sources = sources
        self.engines = engines
        self.alive = alive
        #: The engine of each channel.
        self.channels: dict[int, Engine] = {}
        self._outbox: list[Note] = []
        self._wake = asyncio.Event()
        self._wake_requested = False
        self._stopped = False
        self._watched: dict[int, Handle] = {}
        self._swept = False
        #: Channels that ended since the last exchange began: its assignments are older than
        #: that.
        self._just_ended: set[int] = set()
        #: Why each channel fails, as last logged.
        self._faults: dict[int, str] = {}
        self.fence = Fence(tools.run_dir)
        self._watching = Watching(tools, policy.sample)
        self._fault_file = FaultFile(tools.run_dir)

    def stop(self) -> None:
        """Leave the loop; the channels keep playing."""
        self._stopped = True
        self._wake.set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        wake_socket = wake.listen(self.tools.run_dir)
        loop.add_reader(wake_socket, self._on_wake, wake_socket)
        with ThreadPoolExecutor(1, "ledger") as thread:
            exchange: asyncio.Future[dict[int, Assignment]] | None = None
            sent: list[Note] = []
            due = touched = began = 0.0
            try:
                while not self._stopped:
                    now = self._now()
                    if now.mono - touched >= EXCHANGE_INTERVAL_S:
                        touched = now.mono
                        self.alive()
                        wake_socket = self._keep_folder(wake_socket)
                        late = clock() - began
                        if exchange is not None and late > EXCHANGE_OVERDUE_S:
                            self._fault_file.failed(now.wall - late, "")
                    if exchange is not None and exchange.done():
                        self._apply_exchange(exchange, sent, now, began)
                        exchange = None
                    if kept := self._watching.beat(now, self.channels):
                        self._outbox = trimmed([*self._outbox, *kept])
                    changed = self._beat(now)
                    if exchange is None and (
                        now.mono >= due or self._wake_requested or changed
                    ):
                        self._wake_requested = False
                        due = now.mono + EXCHANGE_INTERVAL_S
                        self._just_ended.clear()
                        began = clock()
                        sent, self._outbox = self._outbox, []
                        snapshots = self._snapshots()
                        exchange = loop.run_in_executor(
                            thread, self.ledger.exchange, now.wall, snapshots, sent
                        )
                        exchange.add_done_callback(lambda _: self._wake.set())
                    await self._sleep()
                await self._final_exchange(thread, exchange, sent)
            finally:
                self._watching.close()
                loop.remove_reader(wake_socket)
                wake_socket.close()
                for fd in self._watched:
                    loop.remove_reader(fd)
                for channel in self.channels.values():
                    channel.close()
                with suppress(OSError):
                    (self.tools.run_dir / ALIVE_FILE).unlink()

    def _now(self) -> Now:
        return Now.read(self.ledger.claims.wall_offset)

    def _keep_folder(self, wake_socket: wake.Socket) -> wake.Socket:
        """Recreate what somebody deleted from the run directory. Returns the wake socket."""
        run_dir = self.tools.run_dir
        try:
            run_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
            (run_dir / ALIVE_FILE).touch()
            if self.lock is not None and not self.lock.keep():
                log.critical(
                    "supervisor.replaced", reason="another supervisor holds the run directory"
                )
                self.stop()
            elif not wake.socket_exists(run_dir):
                loop = asyncio.get_running_loop()
                loop.remove_reader(wake_socket)
                wake_socket.close()
                wake_socket = wake.listen(run_dir)
                loop.add_reader(wake_socket, self._on_wake, wake_socket)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                log.exception("run_dir.full")
            else:
                # The service can't recreate it, but systemd does when the service starts.
                log.critical("run_dir.gone", error=str(error), action="the supervisor ends")
                self.stop()
        return wake_socket

    async def _final_exchange(
        self,
        thread: ThreadPoolExecutor,
        exchange: asyncio.Future[dict[int, Assignment]] | None,
        sent: list[Note],
    ) -> None:
        """Hand in the notes since the last exchange, if the ledger answers in time."""
        if exchange is not None:
            await asyncio.wait([exchange], timeout=FINAL_EXCHANGE_TIMEOUT_S)
            if not exchange.done():
                return
            if exchange.exception() is not None:
                self._outbox = sent + self._outbox
        snapshots = self._snapshots()
        last = asyncio.get_running_loop().run_in_executor(
            thread, self.ledger.exchange, self._now().wall, snapshots, self._outbox
        )
        await asyncio.wait([last], timeout=FINAL_EXCHANGE_TIMEOUT_S)
        if last.done() and (error := last.exception()) is not None:
            log.error("ledger.failed", error=str(error), lost=len(self._outbox))

    def _snapshots(self) -> list[Snapshot]:
        snapshots = []
        for pk, channel in self.channels.items():
            try:
                snapshots.append(channel.snapshot())
            except Exception as error:  # noqa: BLE001 - one channel must not end the others
                self._fault(pk, channel.assignment.plan.slug, error)
        return snapshots

    def _apply_exchange(
        self,
        exchange: asyncio.Future[dict[int, Assignment]],
        sent: list[Note],
        now: Now,
        began: float,
    ) -> None:
        """Act on the ledger's assignments, or keep the notes for the next exchange.

        `began`: when the exchange began, by the fence's clock.
        """
        if (error := exchange.exception()) is not None:
            log.error("ledger.failed", error=str(error), kept=len(sent))
            self._fault_file.failed(now.wall, str(error))
            self._outbox = sent + self._outbox
            return
        self._fault_file.answered()
        assignments = exchange.result()
        claims = self.ledger.claims
        self.fence.renewed(began, shared=claims.shared)
        for pk, channel in list(self.channels.items()):
            if pk in claims.lost:
                channel.claim_lost(now)
            elif pk not in assignments:
                channel.stop("stopped")
            elif assignments[pk].run == channel.assignment.run:
                channel.update(assignments[pk])
            else:
                channel.stop("ended elsewhere")
        for pk, assignment in assignments.items():
            if pk not in self.channels and pk not in self._just_ended:
                self._open_engine(assignment, now)
        if not self._swept:
            self._swept = True
            self._sweep()

    def _open_engine(self, assignment: Assignment, now: Now) -> None:
        plan = assignment.plan
        try:
            engine = self.engines[plan.engine]
            channel = engine(self.tools, self.policy, assignment, self.sources, now)
        except Exception as error:  # noqa: BLE001 - must not end the other channels
            self._fault(plan.pk, plan.slug, error)
        else:
            self.channels[plan.pk] = channel

    def _fault(self, pk: int, slug: str, error: Exception) -> None:
        """Log a channel's error once for as long as it stays the same."""
        if self._faults.get(pk) != repr(error):
            self._faults[pk] = repr(error)
            log.error("channel.failed", channel=slug, exc_info=error)

    def _beat(self, now: Now) -> bool:
        """Beat every channel. True: something happened that the page should show."""
        changed = False
        closed = self.fence.closed
        for pk, channel in list(self.channels.items()):
            before = channel.state
            channel.fenced = closed
            try:
                channel.beat(now)
            except OSError as error:
                # An error of one channel (disk full, folder gone) must not end the others.
                self._fault(pk, channel.assignment.plan.slug, error)
                channel.cause = f"The operating system reports: {error.strerror}."
            except Exception as error:  # noqa: BLE001 - as little must what nobody thought of
                self._fault(pk, channel.assignment.plan.slug, error)
                # Its processes keep playing. If it is still ordered it is opened again from
                # their records; otherwise the processes are swept.
                channel.close()
                del self.channels[pk]
                self._swept = False
            else:
                self._faults.pop(pk, None)
            changed = changed or channel.state is not before or channel.ended
            notes = channel.drain()
            self._outbox += notes
            if not channel.assignment.second:
                # History is the owner's.
                self._watching.note(notes)
            if channel.ended:
                del self.channels[pk]
                self._just_ended.add(pk)
        if len(self._outbox) > MAX_OUTBOX_NOTES:
            self._outbox = trimmed(self._outbox)
        self._watch()
        return changed

    def _watch(self) -> None:
        """Wake the loop at the end of any process."""
        loop = asyncio.get_running_loop()
        current = {
            handle.pidfd: handle
            for channel in self.channels.values()
            for handle in channel.handles()
        }
        for fd, watched in self._watched.items():
            # The descriptor number may have been reused for the next process.
            if current.get(fd) is not watched:
                loop.remove_reader(fd)
        for fd, handle in current.items():
            if self._watched.get(fd) is not handle:
                loop.add_reader(fd, self._ended, fd)
        self._watched = current

    def _ended(self, fd: int) -> None:
        # The pidfd stays readable: stop watching it; the next beat handles the exit.
        asyncio.get_running_loop().remove_reader(fd)
        self._wake.set()

    def _on_wake(self, wake_socket: wake.Socket) -> None:
        while True:
            try:
                wake_socket.recv(16)
            except BlockingIOError:
                break
        self._wake_requested = True
        self._wake.set()

    async def _sleep(self) -> None:
        try:
            calm = all(channel.calm for channel in self.channels.values())
            async with asyncio.timeout(CALM_POLL_INTERVAL_S if calm else BUSY_POLL_INTERVAL_S):
                await self._wake.wait()
        except TimeoutError:
            return
        finally:
            self._wake.clear()

    def _sweep(self) -> None:
        """End processes of this run directory that belong to none of our channels."""
        supervised = {
            handle.pid for channel in self.channels.values() for handle in channel.handles()
        }
        strays = [
            pid for pid in process.marked_pids(self.tools.run_dir) if pid not in supervised
        ]
        if strays:
            log.warning("strays.ended", count=len(strays))
            process.terminate_all(strays, [], within=1)
        for pk, folder in process.channel_folders(self.tools.run_dir).items():
            if pk not in self.channels:
                process.remove_folder(folder)


def supervise(tools: Tools, policy: Policy, ledger: Ledger, sources: Sources) -> None:
    """Run a node's supervisor until SIGTERM."""
    stopping = False

    def alive() -> None:
        if not stopping:
            watchdog.expect(MAX_SILENCE_S)

    async def main(lock: NodeLock) -> None:
        supervisor = Supervisor(tools, policy, ledger, sources, lock, alive=alive)

        def stop() -> None:
            nonlocal stopping
            stopping = True
            # FFmpeg plays on, so a stop need not wait for a database that hangs.
            watchdog.expect(STOP_TIMEOUT_S)
            supervisor.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop)
        await supervisor.run()

    watchdog.report()
    # Also while it waits for the lock.
    alive()
    with NodeLock(tools.run_dir) as lock:
        asyncio.run(main(lock))
