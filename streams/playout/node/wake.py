"""A knock on the supervisor's door: "look at the orders now"."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Final

NAME: Final = "wake.sock"
Socket = socket.socket


def notify(run_dir: Path) -> bool:
    """Wake this node's supervisor. False: nobody listens; the next one reads the orders."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        try:
            sock.sendto(b"!", str(run_dir / NAME))
        except OSError:
            return False
    return True


def socket_exists(run_dir: Path) -> bool:
    """Whether there is a socket to knock at."""
    return (run_dir / NAME).is_socket()


def listen(run_dir: Path) -> socket.socket:
    """The supervisor's end. Held by one process at a time: the caller has the node's lock."""
    path = run_dir / NAME
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.bind(str(path))
    path.chmod(0o660)
    return sock
