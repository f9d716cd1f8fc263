"""Wakes the supervisor so that it reads its orders at once."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Final

NAME: Final = "wake.sock"
Socket = socket.socket


def notify(run_dir: Path) -> bool:
    """Wake this node's supervisor. False: none is listening; the next one reads the orders."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        try:
            sock.sendto(b"!", str(run_dir / NAME))
        except OSError:
            return False
    return True


def socket_exists(run_dir: Path) -> bool:
    """Whether the supervisor's socket exists."""
    return (run_dir / NAME).is_socket()


def listen(run_dir: Path) -> socket.socket:
    """Open the supervisor's end. Only the process that holds the node's lock calls this."""
    path = run_dir / NAME
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.bind(str(path))
    path.chmod(0o660)
    return sock
