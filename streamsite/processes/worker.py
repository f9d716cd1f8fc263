"""A worker of a cluster: a forked process that gets tasks and answers by its own pipe."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Any, Final, Self, cast

from django_q.conf import Conf
from django_q.worker import worker as run_tasks

from streamsite.processes.parent_death import die_with_parent

#: django-q's word for "there are no more".
STOP: Final = "STOP"


@dataclass(frozen=True, slots=True)
class Worker:
    """The cluster's end of a worker."""

    process: ForkProcess
    pipe: Connection
    pid: int

    @classmethod
    def start(cls, stop_event: int, others: Iterable[Worker]) -> Self:
        """Fork a worker. It closes what it inherits: the flag and the pipes of the others."""
        ours, its = Pipe()
        open_pipes = (other.pipe for other in others if not other.pipe.closed)
        inherited = [ours.fileno(), stop_event, *(pipe.fileno() for pipe in open_pipes)]
        process = get_context("fork").Process(
            target=_work, args=(its, inherited, os.getpid()), daemon=True
        )
        process.start()
        its.close()
        return cls(process, ours, cast("int", process.pid))

    @property
    def handles(self) -> tuple[Any, ...]:
        """What becomes readable when it has answered or ended."""
        end = self.process.sentinel
        return (end,) if self.pipe.closed else (self.pipe, end)

    @property
    def ended(self) -> bool:
        return not self.process.is_alive()

    def give(self, task: object) -> None:
        """Hand it a task. If it has died, that shows at the next look."""
        with suppress(OSError):
            self.pipe.send(task)

    def dismiss(self) -> None:
        """Let it end after its task."""
        self.give(STOP)

    def answer(self) -> dict[str, Any] | None:
        """Its next answer, if there is one."""
        try:
            if not self.pipe.closed and self.pipe.poll():
                task: dict[str, Any] = self.pipe.recv()
                return task
        except (EOFError, OSError):
            # It has ended, perhaps in the middle of an answer.
            self.pipe.close()
        return None

    def terminate(self) -> None:
        self.process.terminate()

    def kill(self) -> None:
        self.process.kill()

    def reap(self) -> int:
        """Release what belongs to one that has ended. Returns its exit status, or -signal."""
        self.process.join()
        code = self.process.exitcode or 0
        self.pipe.close()
        self.process.close()
        return code


class _Timer:
    """What django-q's worker writes into. The cluster keeps the time by itself."""

    value = -1.0

    def get_lock(self) -> AbstractContextManager[None]:
        return nullcontext()


@dataclass(frozen=True, slots=True)
class _Queue:
    """A pipe with the methods of the queues that django-q's worker takes."""

    pipe: Connection

    def get(self) -> object:
        return self.pipe.recv()

    def put(self, task: object) -> None:
        self.pipe.send(task)


def _work(pipe: Connection, inherited: Iterable[int], parent: int) -> None:
    """Runs in the worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # After the handlers: the cluster's own would take the signal and go on.
    die_with_parent(signal.SIGTERM, parent=parent)
    for fd in inherited:
        os.close(fd)
    queue = _Queue(pipe)
    # A pipe that is closed: the cluster is gone.
    with suppress(EOFError, BrokenPipeError):
        run_tasks(queue, queue, _Timer(), Conf.TIMEOUT)
