"""Wakes the supervisor so that it reads its orders at once."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Final

NAME: Final = "wake.sock"
Socket = socket.socket
KIND: Final = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK


def socket_exists(run_dir: Path) -> bool:
    """Whether the supervisor's socket exists."""
    return (run_dir / NAME).is_socket()


def listen(run_dir: Path) -> socket.socket:
    """Open the supervisor's end. Only the process that holds the node's lock calls this."""
    path = run_dir / NAME
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, KIND)
    sock.bind(str(path))
    path.chmod(0o660)
    return sock
