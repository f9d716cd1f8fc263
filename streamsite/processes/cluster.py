"""A django-q2 cluster that can be trusted day and night.

Stock `qcluster` hangs on SIGTERM to its group, dies silently when an idle worker is killed
while it holds the queue's lock, leaves orphans that go on consuming when its sentinel or master
is killed, and ends with status 0 whatever happened. Here:

- the signal handler sets a flag and does nothing else;
- every Python child dies with its parent (FFmpeg is started elsewhere, and does not);
- the master watches the sentinel, and ends with status 1 when that is gone;
- stopping has a bound, after which it is no longer asked for;
- a self-test distinguishes a cluster that no longer works from an idle one.
"""

from __future__ import annotations

import os
import pydoc
import signal
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Final

import structlog
from django.conf import settings
from django.db.models.signals import post_save
from django_q import worker
from django_q.cluster import Cluster
from django_q.models import Task
from django_q.signals import call_hook

from streamsite.processes.parent_death import die_with_parent

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds between two checks of the heartbeat. A signal, or the end of the sentinel,
#: wakes it at once.
POLL_INTERVAL_S: Final = 5.0
#: Tasks by the names that an earlier version enqueued: an upgrade finds them in the queue.
FORMER_TASKS: Final = {
    "streamsite.cluster.canary": "streamsite.processes.cluster.self_test",
    "media_library.sync.work": "media_library.sync.runner.work",
    "media_library.sync.sync_on_schedule": "media_library.sync.runner.sync_on_schedule",
    "media_library.sync.tidy": "media_library.sync.runner.tidy",
    "media_library.tasks.look_at_schedules": "media_library.tasks.check_schedules",
}
SELF_TEST_TASK: Final = "streamsite.processes.cluster.self_test"


@dataclass(frozen=True, slots=True)
class Supervision:
    """The supervision of a cluster. Times in seconds."""

    #: For its workers to finish their tasks at a stop.
    stop_timeout_s: float
    #: A file that is touched as long as the cluster works.
    heartbeat_file: Path
    #: The heartbeat's age after which the cluster counts as wedged.
    max_silence_s: float


class GuardedCluster(Cluster):  # type: ignore[misc]  # the parent has no types
    """`start`, then `guard` until it ends: with 0 after a signal, with 1 when it broke."""

    def __init__(self, care: Supervision) -> None:
        # Shared by every fork, for each inherits the handler, and made before that is set.
        self._stop_event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._supervision = care
        self._heartbeat_mtime_ns = 0
        self._heartbeat_at = 0.0
        super().__init__()
        os.register_at_fork(after_in_child=_die_with_parent)

    def sig_handler(self, *_: object) -> None:
        os.eventfd_write(self._stop_event, 1)

    def guard(self) -> int:
        """Wait for a signal, or for the end of the sentinel. Returns the exit status."""
        self._touch()
        while not self._stop_requested():
            wait([self._stop_event, self.sentinel.sentinel], timeout=POLL_INTERVAL_S)
            if not self.sentinel.is_alive():
                if self._stop_requested():
                    # The signal went to the whole group.
                    return 0
                log.critical("cluster.sentinel_died", code=self.sentinel.exitcode)
                return 1
            try:
                silent_for = self.silence_s()
            except OSError as error:
                # The service manager makes it again at the next start (RuntimeDirectory=).
                log.critical("cluster.run_dir_gone", error=str(error), action="it ends")
                self._end()
                return 1
            if silent_for > self._supervision.max_silence_s:
                log.critical("cluster.wedged", silent_for=round(silent_for))
                self._end()
                return 1
        self._end()
        return 0

    def _stop_requested(self) -> bool:
        """Whether a stop was requested."""
        return bool(wait([self._stop_event], timeout=0))

    def _end(self) -> None:
        """Stop in the ordinary way, but not for ever."""
        stopping = threading.Thread(target=self.stop, daemon=True)
        stopping.start()
        stopping.join(self._supervision.stop_timeout_s)
        # The remaining workers die with the sentinel.
        self.sentinel.kill()

    def _touch(self) -> None:
        self._supervision.heartbeat_file.parent.mkdir(parents=True, exist_ok=True)
        self._supervision.heartbeat_file.touch()

    def silence_s(self) -> float:
        """Seconds since the heartbeat changed, by our own clock: the wall clock may jump."""
        try:
            touched = self._supervision.heartbeat_file.stat().st_mtime_ns
        except FileNotFoundError:
            self._touch()
            return 0.0
        now = time.monotonic()
        if touched != self._heartbeat_mtime_ns:
            self._heartbeat_mtime_ns, self._heartbeat_at = touched, now
        return now - self._heartbeat_at


def _die_with_parent() -> None:
    """Runs first in each forked child."""
    die_with_parent(signal.SIGTERM, parent=os.getppid())


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
    """Run the cluster that Q_CLUSTER_NAME selects, to its end. It runs `tasks` alone."""
    worker.pydoc = Registered(tasks)
    # A hook is the name of a function too, and none is used.
    post_save.disconnect(call_hook, sender=Task)
    cluster: Any = GuardedCluster(care)
    cluster.start()
    status: int = cluster.guard()
    return status
