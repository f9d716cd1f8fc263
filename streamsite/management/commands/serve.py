"""`manage.py serve`: the pages and the clusters in one foreground process."""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import OperationalError

SET_UP: Final = "--set-up"
PARTS: Final = ("web", "playout", "background")
FOREGROUND: Final = "streamsite.management.foreground"
#: Seconds to wait for the port: workers of a server that was killed hold it for a moment.
PORT_TIMEOUT_S: Final = 3.0


class Command(BaseCommand):
    help = "Serves the pages and runs the clusters until Ctrl-C; then stops FFmpeg too."
    # They take a second or two: the pages come first, and the clusters run them.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            SET_UP,
            action="store_true",
            help="first does all that `set_up` does: loading the program takes seconds",
        )
        parser.add_argument(
            "--only",
            nargs="+",
            choices=PARTS,
            default=PARTS,
            metavar="PART",
            help=f"runs these parts alone, as a container does: {', '.join(PARTS)}",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["set_up"]:
            call_command("set_up")
            self.stdout.write("streamsite: starting")
            self.stdout.flush()
        self.demand_migrations()
        if "web" in options["only"]:
            demand_port(settings.HOST, settings.PORT)
            if settings.ANY_HOST:
                self.stdout.write(
                    "streamsite: other machines may reach it, by any name; name those you use "
                    "in ALLOWED_HOSTS, and put HTTPS before it (deploy/README.md)."
                )
        self.stdout.flush()
        connections.close_all()
        become_light(options["only"])

    def demand_migrations(self) -> None:
        """Raise `CommandError` unless the database is there and has every table."""
        try:
            executor = MigrationExecutor(connection)
        except OperationalError as error:
            raise CommandError(f"The database can't be opened: {error}") from None
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            raise CommandError("The database is not up to date. Type: manage.py migrate")


def become_light(parts: Sequence[str]) -> NoReturn:
    """Go on as `streamsite.management.foreground`, in this process, without all of this.

    /proc/PID/environ shows what a program was started with, for as long as it runs: that holds
    no name that only the first run uses.
    """
    os.chdir(settings.BASE_DIR)
    what = (str(settings.RUN_DIR), settings.LOG_LEVEL, settings.LOG_FORMAT, *parts)
    command = (sys.executable, "-m", FOREGROUND, *what)
    os.execve(sys.executable, command, lasting_environment())  # noqa: S606 - our own program


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
