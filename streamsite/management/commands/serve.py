"""`manage.py serve`: the pages and the clusters in one foreground process."""

from __future__ import annotations

import errno
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import structlog
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, SystemCheckError
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import OperationalError

from streams.playout.ffmpeg.process import stop_everything
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

SET_UP: Final = "--set-up"
MANAGE: Final = (sys.executable, str(settings.BASE_DIR / "manage.py"))
WEB: Final = "web"
COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    WEB: (sys.executable, "-m", "gunicorn", "--config", "python:streamsite.web"),
    "playout": (*MANAGE, "run_cluster", "playout"),
    "jobs": (*MANAGE, "run_cluster", "jobs"),
    "downloads": (*MANAGE, "run_cluster", "downloads"),
}
#: Key of the descriptor by which the pages show that they are open.
_OPENED: Final = object()
#: In the pages' environment: a descriptor into which they write when they are open.
READY_FD: Final = "STREAMSITE_READY_FD"
#: These let the others go first.
LATER: Final = frozenset({"jobs", "downloads"})
#: Seconds to wait for the port: workers of a server that was killed hold it for a moment.
PORT_TIMEOUT_S: Final = 3.0


class Command(BaseCommand):
    help = "Serves the pages and runs the clusters until Ctrl-C; then stops FFmpeg too."
    # They take a second or two: the pages come first.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            SET_UP,
            action="store_true",
            help="first does all that `set_up` does: loading the program takes seconds",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["set_up"]:
            call_command("set_up")
            self.stdout.write("streamsite: starting")
            self.stdout.flush()
        if not settings.SPENT_NAMES.isdisjoint(os.environ):
            # /proc/PID/environ shows what a program was started with, for as long as it runs.
            words = [word for word in sys.orig_argv if word != SET_UP]
            os.execve(sys.executable, words, lasting_environment())  # noqa: S606 - ourselves, once more
        self.demand_migrations()
        demand_port(settings.HOST, settings.PORT)
        if settings.ANY_HOST:
            self.stdout.write(
                "streamsite: other machines may reach it, by any name; name those you use in "
                "ALLOWED_HOSTS, and put HTTPS before it (deploy/README.md)."
            )
        connections.close_all()
        ProcessSupervisor(self.check_system).run()
        self.stdout.write("streamsite: the pages and clusters have ended; stopping FFmpeg.")
        ended = stop_everything(settings.RUN_DIR)
        self.stdout.write(f"streamsite: stopped. FFmpeg processes ended: {ended}.")

    def check_system(self) -> None:
        """Run the system checks, and print what they find."""
        try:
            self.check()
        except SystemCheckError as error:
            self.stderr.write(str(error))
        connections.close_all()

    def demand_migrations(self) -> None:
        """Raise `CommandError` unless the database is there and has every table."""
        try:
            executor = MigrationExecutor(connection)
        except OperationalError as error:
            raise CommandError(f"The database can't be opened: {error}") from None
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            raise CommandError("The database is not up to date. Type: manage.py migrate")


class ProcessSupervisor:
    """Carries out the decisions of `streamsite.processes.supervisor`. Sleeps in between."""

    def __init__(self, opened: Callable[[], None]) -> None:
        """`opened` is called once, when the pages answer."""
        later = time.monotonic() + HEAD_START_S
        self.group = ProcessGroup(
            tuple(Child(name, due=0.0 if name == WEB else later) for name in COMMANDS)
        )
        self.opened: Callable[[], None] | None = opened
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
        if is_open and self.opened is not None:
            opened, self.opened = self.opened, None
            self.take(Opened())
            self.take(Ticked())
            opened()

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
        environment = lasting_environment()
        inherited: tuple[int, ...] = ()
        if name == WEB:
            readable, writable = os.pipe()
            self.selector.register(readable, selectors.EVENT_READ, _OPENED)
            inherited = (writable,)
            environment[READY_FD] = str(writable)
        process = subprocess.Popen(
            COMMANDS[name],
            stdin=subprocess.DEVNULL,
            cwd=settings.BASE_DIR,
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


def lasting_environment() -> dict[str, str]:
    """The environment of lasting processes, without the names that only the first run uses."""
    return {k: v for k, v in os.environ.items() if k not in settings.SPENT_NAMES}


def demand_port(host: str, port: int) -> None:
    """Raise `CommandError` with a sentence unless the port can be had."""
    deadline = time.monotonic() + PORT_TIMEOUT_S
    while fault := port_fault(host, port):
        if time.monotonic() > deadline:
            raise CommandError(fault)
        time.sleep(0.2)


def port_fault(host: str, port: int) -> str:
    """Why the port can't be had, in a sentence; empty when it can."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except PermissionError:
        return f"Port {port} needs root's rights: set PORT to one from 1024 on."
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return (
                f"Port {port} of {host} is in use, perhaps by a streamsite that runs already: "
                "stop that, or set PORT to another."
            )
        return f"Nothing can be served at {host}, port {port}: {error.strerror}. Set HOST."
    return ""
