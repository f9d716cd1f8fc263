"""A cluster for django-q2's tasks that can be trusted day and night, in one small process.

Stock `qcluster` forks a sentinel, a pusher and a monitor beside its workers: some 25 MB each.
It hangs on SIGTERM to its group, dies silently when an idle worker is killed while it holds the
queue's lock, leaves orphans that go on consuming when its sentinel or master is killed, and
ends with status 0 whatever happened. Here one loop without threads takes tasks from the broker,
hands each to a worker by a pipe of its own, and saves the results:

- the signal handler sets a flag and does nothing else;
- every worker dies with the cluster (FFmpeg is started elsewhere, and does not);
- a worker that is killed takes nothing with it but its task;
- stopping has a bound, and so has each turn of the loop;
- a self-test distinguishes a cluster that no longer works from an idle one.
"""

from __future__ import annotations

import gc
import os
import pydoc
import signal
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import connections
from django.db.models.signals import post_save
from django_q import worker as task_loop
from django_q.brokers import get_broker
from django_q.conf import Conf
from django_q.models import Task
from django_q.monitor import save_task
from django_q.scheduler import scheduler
from django_q.signals import call_hook
from django_q.signing import BadSignature, SignedPackage

from streamsite.processes import pool, watchdog
from streamsite.processes.pool import Member, Room
from streamsite.processes.worker import Worker

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds between two checks of the heartbeats. A signal, or a worker's answer or end, wakes
#: the loop at once.
POLL_INTERVAL_S: Final = 5.0
#: Seconds between two questions to the broker, while a task may be taken.
QUEUE_INTERVAL_S: Final = 0.5
#: Seconds between two looks at the schedules.
SCHEDULE_INTERVAL_S: Final = 30.0
#: Seconds until a broker or a database that failed is asked again.
FAULT_PAUSE_S: Final = 10.0
#: Seconds that a turn of the loop may take. Each of its calls has a shorter bound, except for
#: a query that waits for a lock: then the process ends, and is started anew.
MAX_TURN_S: Final = 300
#: Seconds that workers have to end after SIGTERM.
TERMINATE_TIMEOUT_S: Final = 2.0
#: Tasks by the names that an earlier version enqueued: an upgrade finds them in the queue.
FORMER_TASKS: Final = {
    "streamsite.cluster.canary": "streamsite.processes.cluster.self_test",
    "media_library.sync.work": "media_library.sync.runner.work",
    "media_library.sync.sync_on_schedule": "media_library.sync.runner.sync_on_schedule",
    "media_library.sync.tidy": "streamsite.maintenance.tasks.prune",
    "media_library.sync.runner.tidy": "streamsite.maintenance.tasks.prune",
    "media_library.tasks.look_at_schedules": "media_library.tasks.check_schedules",
    "streams.tasks.thin_samples": "streamsite.maintenance.tasks.prune",
    "streamsite.webhooks.sender.tidy": "streamsite.maintenance.tasks.prune",
}
SELF_TEST_TASK: Final = "streamsite.processes.cluster.self_test"


@dataclass(frozen=True, slots=True)
class Lane:
    """One queue of a cluster."""

    queue: str
    #: Tasks at a time.
    tasks: int
    #: A file that is touched as long as the queue's tasks are done.
    heartbeat_file: Path
    #: The heartbeat's age in seconds after which the cluster counts as wedged.
    max_silence_s: float
    #: Whether a message is removed when its task begins: it is never handed to another worker.
    once: bool = False


@dataclass(frozen=True, slots=True)
class Supervision:
    lanes: tuple[Lane, ...]
    #: Seconds for the workers to finish their tasks at a stop.
    stop_timeout_s: float
    #: Whether it enqueues the tasks of the schedules.
    schedules: bool = False


@dataclass(slots=True)
class Heartbeat:
    """The age of a file's last change, by our own clock: the wall clock may jump."""

    file: Path
    _mtime_ns: int = 0
    _at: float = 0.0

    def touch(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.touch()

    def silence_s(self) -> float:
        """Seconds since it changed. Raises `OSError` if it can't be made again."""
        try:
            touched = self.file.stat().st_mtime_ns
        except FileNotFoundError:
            self.touch()
            return 0.0
        now = time.monotonic()
        if touched != self._mtime_ns:
            self._mtime_ns, self._at = touched, now
        return now - self._at


@dataclass(slots=True)
class Hand:
    """A worker and its place in the pool."""

    worker: Worker
    member: Member
    ack_id: object = None


@dataclass
class Cluster:
    """`guard` runs until it ends: with 0 after a signal, with 1 when it broke."""

    care: Supervision
    hands: dict[int, Hand] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._stop_event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lanes = {lane.queue: lane for lane in self.care.lanes}
        self._heartbeats = {
            q: Heartbeat(lane.heartbeat_file) for q, lane in self._lanes.items()
        }
        self._room = Room({q: lane.tasks for q, lane in self._lanes.items()})
        self._brokers: dict[str, Any] = {}
        #: When a worker was idle last, when the schedules are due, and until when the broker is
        #: not asked, by the monotonic clock.
        self._short_since = self._schedules_due = self._paused_until = 0.0
        self._checked_at = 0.0
        self._stopping = False
        #: Why the queue can't be read, as last logged.
        self._fault = ""

    def sig_handler(self, *_: object) -> None:
        os.eventfd_write(self._stop_event, 1)

    def guard(self) -> int:
        """Work until a signal comes. Returns the exit status."""
        for heartbeat in self._heartbeats.values():
            heartbeat.touch()
        status = 0
        while not status and not self._stop_requested():
            watchdog.expect(MAX_TURN_S)
            self._turn()
            self._sleep()
            status = int(self._wedged())
        self._end()
        watchdog.expect(0)
        return status

    def _stop_requested(self) -> bool:
        return bool(wait([self._stop_event], timeout=0))

    def _wedged(self) -> bool:
        now = time.monotonic()
        if now - self._checked_at < POLL_INTERVAL_S:
            return False
        self._checked_at = now
        for queue, heartbeat in self._heartbeats.items():
            try:
                silent_for = heartbeat.silence_s()
            except OSError as error:
                # The service manager makes it again at the next start (RuntimeDirectory=).
                log.critical("cluster.run_dir_gone", error=str(error), action="it ends")
                return True
            if silent_for > self._lanes[queue].max_silence_s:
                log.critical("cluster.wedged", queue=queue, silent_for=round(silent_for))
                return True
        return False

    # ---- a turn ------------------------------------------------------------------------------

    @property
    def _members(self) -> Sequence[Member]:
        return [hand.member for hand in self.hands.values()]

    def _turn(self) -> None:
        """Collect results, take tasks, and start or dismiss workers."""
        self._collect()
        now = time.monotonic()
        for pid in pool.overdue(self._members, now):
            log.critical("cluster.task_overdue", pid=pid)
            self.hands[pid].worker.kill()
        for pid in pool.surplus(self._members, now):
            self.hands[pid].worker.dismiss()
            # Not idle any more: its end is awaited.
            self.hands[pid].member = Member(pid, now, "dismissed", pool.GRACE_S)
        if now >= self._paused_until:
            try:
                self._schedule(now)
                while self._take_all():
                    pass
                self._fault = ""
            except Exception as error:
                # The database or the broker is away: no reason to end what is at work.
                self._paused_until = now + FAULT_PAUSE_S
                if self._fault != repr(error):
                    self._fault = repr(error)
                    log.exception("cluster.queue_unavailable", retry_s=FAULT_PAUSE_S)

    def _sleep(self) -> None:
        """Wait for an answer, an end, a signal, or until the broker is asked again."""
        idle = pool.waiting_queues(self._room, self._members)
        timeout = QUEUE_INTERVAL_S if idle or self.care.schedules else POLL_INTERVAL_S
        handles = [fd for hand in self.hands.values() for fd in hand.worker.handles]
        wait([self._stop_event, *handles], timeout=timeout)

    def _schedule(self, now: float) -> None:
        if self.care.schedules and now >= self._schedules_due:
            self._schedules_due = now + SCHEDULE_INTERVAL_S
            scheduler(broker=self._broker(Conf.CLUSTER_NAME))

    def _take_all(self) -> bool:
        """Take a task from each queue that has one and may. False: there was none."""
        took = False
        queues = pool.open_queues(
            self._room, self._members, self._short_since, time.monotonic()
        )
        for queue in queues:
            # The task before may have taken the only idle worker.
            if self._idle() is None and not self._may_start():
                break
            if (task := self._next_task(queue)) is not None:
                self._hand_out(queue, task)
                took = True
        return took

    def _broker(self, queue: str) -> Any:
        if queue not in self._brokers:
            self._brokers[queue] = get_broker(queue)
        return self._brokers[queue]

    def _next_task(self, queue: str) -> dict[str, Any] | None:
        broker = self._broker(queue)
        # An empty queue lets `dequeue` sleep.
        for ack_id, package in (broker.queue_size() and broker.dequeue()) or ():
            try:
                task: dict[str, Any] = SignedPackage.loads(package)
            except (TypeError, BadSignature):
                log.exception("cluster.message_refused", queue=queue)
                broker.fail(ack_id)
                continue
            if self._lanes[queue].once:
                broker.acknowledge(ack_id)
                ack_id = None  # noqa: PLW2901 - it is gone
            return task | {"cluster": queue, "ack_id": ack_id}
        return None

    # ---- workers -----------------------------------------------------------------------------

    def _idle(self) -> Hand | None:
        """The worker that was at work last, so that the others may go."""
        idle = [hand for hand in self.hands.values() if not hand.member.queue]
        return max(idle, key=lambda hand: hand.member.since, default=None)

    def _may_start(self) -> bool:
        now = time.monotonic()
        return pool.may_start(self._room, self._members, self._short_since, now)

    def _start(self) -> Hand:
        # No worker may share a connection; SQLite's locks would be void.
        connections.close_all()
        others = [hand.worker for hand in self.hands.values()]
        worker = Worker.start(self._stop_event, others)
        hand = self.hands[worker.pid] = Hand(worker, Member(worker.pid, time.monotonic()))
        self._short_since = time.monotonic()
        return hand

    def _hand_out(self, queue: str, task: dict[str, Any]) -> None:
        hand = self._idle() or self._start()
        timeout = task.get("timeout", Conf.TIMEOUT)
        bound = None if timeout in {None, -1} else float(timeout)
        hand.member = Member(hand.worker.pid, time.monotonic(), queue, bound)
        self._short_since = time.monotonic()
        hand.worker.give(task)

    def _collect(self) -> None:
        """Save what the workers answered, and forget those that have ended."""
        for hand in list(self.hands.values()):
            # Its end first: what it had answered before can be read after it.
            ended = hand.worker.ended
            while (task := hand.worker.answer()) is not None:
                hand.member = Member(hand.worker.pid, time.monotonic())
                self._short_since = time.monotonic()
                self._save(task)
            if ended:
                code = hand.worker.reap()
                del self.hands[hand.worker.pid]
                if code and not self._stopping:
                    log.critical("cluster.worker_died", pid=hand.worker.pid, code=code)

    def _save(self, task: dict[str, Any]) -> None:
        broker = self._broker(task["cluster"])
        ack_id = task.pop("ack_id", None)
        if not task["success"]:
            log.error("task.failed", func=str(task["func"]), result=task["result"])
        try:
            # Writes an error of the database into the log.
            save_task(task | {"ack_id": ack_id}, broker)
            if ack_id and (task["success"] or task.get("ack_failure", False)):
                broker.acknowledge(ack_id)
        except Exception:
            # The message is handed out again when its time is over.
            log.exception("cluster.not_acknowledged", func=str(task["func"]))

    # ---- the end -----------------------------------------------------------------------------

    def _end(self) -> None:
        """Stop in the ordinary way, but not for ever."""
        # A signal to the group ends the workers, too.
        self._stopping = True
        for hand in self.hands.values():
            if not hand.member.queue:
                hand.worker.dismiss()
        self._await_ends(self.care.stop_timeout_s)
        for hand in self.hands.values():
            hand.worker.terminate()
        self._await_ends(TERMINATE_TIMEOUT_S)
        for hand in self.hands.values():
            hand.worker.kill()
        # By their age others see that a cluster works.
        for heartbeat in self._heartbeats.values():
            with suppress(OSError):
                heartbeat.file.unlink()

    def _await_ends(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            self._collect()
            for hand in self.hands.values():
                if not hand.member.queue:
                    hand.worker.dismiss()
            left = deadline - time.monotonic()
            if not self.hands or left <= 0:
                return
            handles = [fd for hand in self.hands.values() for fd in hand.worker.handles]
            wait(handles, timeout=left)


def self_test() -> str:
    """The self-test of the jobs cluster."""
    (settings.RUN_DIR / "jobs.alive").touch()
    return "Alive."


class Registered:
    """Finds the functions that a cluster may run; stands in for `pydoc` in django-q's worker.

    A message names its function, and the worker would import whatever stands there, as
    `os.system`. A process that can write into the queue's tables could run anything.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)

    def locate(self, name: str) -> object:
        """The function; None if it is not registered: the task fails, and the log says why."""
        name = FORMER_TASKS.get(name, name)
        if name not in self.names:
            log.error("task.refused", func=name, reason="it is not registered")
            return None
        return pydoc.locate(name)


def run(care: Supervision, tasks: Iterable[str]) -> int:
    """Run the cluster to its end. It runs `tasks` alone, and loads them for its workers."""
    registered = task_loop.pydoc = Registered(tasks)
    for name in registered.names:
        if registered.locate(name) is None:
            raise LookupError(f"There is no task {name}.")
    # A hook is the name of a function too, and none is used.
    post_save.disconnect(call_hook, sender=Task)
    cluster = Cluster(care)
    watchdog.report()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, cluster.sig_handler)
    # What is loaded is shared with the workers for as long as nobody writes to it, and the
    # garbage collection would.
    gc.collect()
    gc.freeze()
    return cluster.guard()
