"""`manage.py COMMAND` without its start of seconds: a loaded process forks for each command.

python -m streamsite.tests.documents.preloaded SOCKET serves; `CLIENT` is the program that asks.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
from typing import Final

import django
from django.core.management import execute_from_command_line
from django.db import connections

#: Hands its folder, arguments, input and outputs over; ends with the command's status.
CLIENT: Final = """#!{python} -S
import os, socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect({place!r})
    socket.send_fds(sock, ["\\0".join((os.getcwd(), *sys.argv[1:])).encode()], [0, 1, 2])
    sys.exit(int(sock.recv(16) or b"70"))
"""


def serve(place: str) -> None:
    django.setup()
    # One that loads most of the program.
    execute_from_command_line(["manage.py", "check"])
    connections.close_all()
    # Nobody waits for the children.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(place)
        server.listen()
        while True:
            request, _ = server.accept()
            with request:
                if os.fork() == 0:
                    server.close()
                    run(request)


def run(request: socket.socket) -> None:
    """Runs the command in this process, which is a child of its own."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    text, descriptors, _, _ = socket.recv_fds(request, 65536, 3)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    folder, *arguments = text.decode().split("\0")
    os.chdir(folder)
    status: object = 0
    try:
        execute_from_command_line(["manage.py", *arguments])
    except SystemExit as ended:
        status = ended.code or 0
    except BaseException:  # noqa: BLE001 - it is what a command's own process would do
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    request.sendall(str(status).encode())
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
