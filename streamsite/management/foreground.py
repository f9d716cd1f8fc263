"""The processes of an installation in the foreground: `manage.py serve` becomes this.

It loads neither Django nor the settings, which would hold 90 MB to watch three children.

python -m streamsite.management.foreground RUN_DIR LOG_LEVEL LOG_FORMAT PART...
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from streamsite.config.logging import configure, logging_config
from streamsite.processes.parent_death import die_with_parent
from streamsite.processes.priority import BEHIND
from streamsite.processes.supervisor import (
    HEAD_START_S,
    Child,
    Ended,
    Event,
    Opened,
    ProcessGroup,
    Send,
    Start,
    StopOrdered,
    Ticked,
    step,
)

logger = structlog.get_logger(__name__)

ROOT: Final = Path(__file__).parents[2]
MANAGE: Final = (sys.executable, str(ROOT / "manage.py"))
WEB: Final = "web"
PLAYOUT: Final = "playout"
COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    WEB: (sys.executable, "-m", "gunicorn", "--config", "python:streamsite.web"),
    PLAYOUT: (*MANAGE, "run_cluster", PLAYOUT),
    "background": (*MANAGE, "run_cluster", "background"),
}
#: Seconds at most until the playout process is started again, however often it ends.
PLAYOUT_DELAY_S: Final = 1.0
#: Key of the descriptor by which the pages show that they are open.
_OPENED: Final = object()
#: In the pages' environment: a descriptor into which they write when they are open.
READY_FD: Final = "STREAMSITE_READY_FD"
#: These let the others go first.
LATER: Final = frozenset({"background"})


class ProcessSupervisor:
    """Carries out the decisions of `streamsite.processes.supervisor`. Sleeps in between."""

    def __init__(self, parts: Sequence[str]) -> None:
        """`parts`: names of `COMMANDS`."""
        later = time.monotonic() + HEAD_START_S if WEB in parts else 0.0
        children = (
            Child(WEB),
            # Items end meanwhile, and only two wait behind the present one.
            Child(PLAYOUT, due=later, max_delay_s=PLAYOUT_DELAY_S),
            Child("background", due=later),
        )
        self.group = ProcessGroup(tuple(child for child in children if child.name in parts))
        self.opened = False
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.selector = selectors.DefaultSelector()
        self.signals, wakeup = socket.socketpair()
        for end in (self.signals, wakeup):
            end.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        signal.set_wakeup_fd(wakeup.detach(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # The wake-up descriptor carries it; the handler only keeps the default from acting.
            signal.signal(number, lambda *_: None)
        self.selector.register(self.signals, selectors.EVENT_READ)

    def run(self) -> None:
        self.take(Ticked())
        while not self.group.gone:
            wake = self.group.wakes_at
            timeout = None if wake is None else max(0.0, wake - time.monotonic())
            for key, _ in self.selector.select(timeout):
                if key.data is None:
                    for _ in self.signals.recv(64):
                        self.take(StopOrdered())
                elif key.data is _OPENED:
                    self.pages_opened(key.fd)
                else:
                    self.reap(key.data)
            self.take(Ticked())

    def pages_opened(self, fd: int) -> None:
        """Handles the pages' signal: they are open, or the server ended before."""
        is_open = bool(os.read(fd, 1))
        self.selector.unregister(fd)
        os.close(fd)
        if is_open and not self.opened:
            self.opened = True
            self.take(Opened())

    def take(self, event: Event) -> None:
        self.group, actions = step(self.group, event, time.monotonic())
        for action in actions:
            match action:
                case Start(name):
                    self.start(name)
                case Send(name, number):
                    logger.info("child is told to end", child=name, signal=number.name)
                    self.send(self.processes[name].pid, number)

    def send(self, pid: int, number: signal.Signals) -> None:
        """Signals a child; SIGKILL goes to its whole group. FFmpeg has sessions of its own."""
        if number is signal.SIGKILL:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)

    def start(self, name: str) -> None:
        environment = dict(os.environ)
        inherited: tuple[int, ...] = ()
        if name == WEB:
            readable, writable = os.pipe()
            self.selector.register(readable, selectors.EVENT_READ, _OPENED)
            inherited = (writable,)
            environment[READY_FD] = str(writable)
        process = subprocess.Popen(
            COMMANDS[name],
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            env=environment,
            pass_fds=inherited,
            # A group of its own: Ctrl-C reaches this process alone, which ends them in order.
            process_group=0,
            # There is one thread here, so code between fork and exec is safe.
            preexec_fn=partial(_begin, name, os.getpid()),  # noqa: PLW1509 - there is one thread here
        )
        for fd in inherited:
            os.close(fd)
        self.processes[name] = process
        self.selector.register(os.pidfd_open(process.pid), selectors.EVENT_READ, name)
        logger.info("child started", child=name, pid=process.pid)

    def reap(self, name: str) -> None:
        process = self.processes.pop(name)
        code = process.wait()
        for key in list(self.selector.get_map().values()):
            if key.data == name:
                self.selector.unregister(key.fileobj)
                os.close(key.fd)
        self.take(Ended(name))
        if not self.group.stopping:
            logger.error(
                "child ended; it is started again", child=name, pid=process.pid, code=code
            )


def _begin(name: str, parent: int) -> None:
    """Runs in a child before its program starts."""
    die_with_parent(signal.SIGKILL, parent=parent)
    if name in LATER:
        # Loading takes seconds of CPU: the pages and what is on air come first at a start too.
        os.nice(BEHIND)


def main(run_dir: str, level: str, form: str, *parts: str) -> None:
    configure(logging_config(level, form))
    ProcessSupervisor(parts).run()
    if PLAYOUT not in parts:
        return
    _report("the pages and clusters have ended; stopping FFmpeg.")
    # Loaded when it is used.
    from streams.playout.ffmpeg.process import stop_everything  # noqa: PLC0415 - see above

    ended = stop_everything(Path(run_dir))
    _report(f"stopped. FFmpeg processes ended: {ended}.")


def _report(text: str) -> None:
    print(f"streamsite: {text}", flush=True)  # noqa: T201 - for the operator, on the terminal


if __name__ == "__main__":
    main(*sys.argv[1:])
