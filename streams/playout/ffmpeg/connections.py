"""What the kernel knows about the connection of a process: what the destination acknowledged.

FFmpeg counts what it has handed to the kernel, and several megabytes fit between it and a
destination that reads nothing. Asked by netlink (sock_diag(7)), which needs no privilege.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# linux/netlink.h, linux/sock_diag.h and linux/inet_diag.h.
_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_REQUEST, _DUMP = 0x1, 0x300
_DONE, _ERROR = 3, 2
_INET_DIAG_INFO: Final = 2
_ESTABLISHED, _CLOSE_WAIT = 1, 8
_HEADER: Final = struct.Struct("=IHHII")
_REQUEST_HEAD: Final = struct.Struct("=BBBBI")
#: Family, state, timer, retransmits; the socket's identity; expiry, queues, user, inode.
_ANSWER: Final = struct.Struct("=BBBB48sIIIII")
_ATTRIBUTE: Final = struct.Struct("=HH")
#: In `struct tcp_info` of linux/tcp.h: bytes_acked, and from Linux 4.19 on sent, retransmitted.
_ACKED: Final = struct.Struct("=120xQ")
_SENT: Final = struct.Struct("=200xQQ")
#: Seconds that the kernel has for an answer.
TIMEOUT_S: Final = 0.5
#: Seconds until a process without a connection is looked at again: at first, and at most. A
#: list of 4,000 connections takes 40 ms.
MIN_PAUSE_S: Final = 2.0
MAX_PAUSE_S: Final = 60.0
#: Bytes of one message: the kernel writes at most 32 KiB.
MESSAGE_BYTES: Final = 1 << 16
#: Every identity: the kernel lists all connections.
_ANY: Final = bytes(48)


@dataclass(frozen=True, slots=True)
class Connection:
    """Bytes since the connection began."""

    #: Acknowledged by the destination's kernel.
    acked: int
    #: Written by the process, and not acknowledged yet.
    queued: int
    #: Sent, and of them sent again. 0: the kernel is older than 4.19.
    sent: int
    resent: int


@dataclass(frozen=True, slots=True)
class _Row:
    family: int
    identity: bytes
    inode: int
    connection: Connection


class Connections:
    """Asks for the connections of processes; each process here has one that counts."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: By pid: family, identity and inode of its socket.
        self._sockets: dict[int, tuple[int, bytes, int]] = {}
        #: By pid of those without any: when to look again, and after how long once more.
        self._without: dict[int, tuple[float, float]] = {}

    def of(self, pid: int) -> Connection | None:
        """Return the connection that has taken most; None: it has none, or it is unknown."""
        again, pause = self._without.get(pid, (0.0, MIN_PAUSE_S))
        if self._clock() < again:
            return None
        try:
            if pid in self._sockets:
                family, identity, inode = self._sockets[pid]
                rows = next(iter(_query(family, identity)), None)
                if rows is not None and rows.inode == inode:
                    return rows.connection
                del self._sockets[pid]
            inodes = _inodes(pid)
            mine = [
                one
                for family in (socket.AF_INET, socket.AF_INET6)
                for one in _query(family)
                if one.inode in inodes
            ]
        except (OSError, struct.error):
            # Without the kernel's module, or in a sandbox: unknown.
            return None
        if not mine:
            # SRT, for example: all connections of the machine are not listed each second.
            longer = min(2 * pause, MAX_PAUSE_S)
            self._without[pid] = self._clock() + pause, longer
            return None
        self._without.pop(pid, None)
        best = max(mine, key=lambda one: one.connection.acked + one.connection.queued)
        self._sockets[pid] = best.family, best.identity, best.inode
        return best.connection

    def forget(self, pid: int) -> None:
        self._sockets.pop(pid, None)
        self._without.pop(pid, None)


def _inodes(pid: int) -> set[int]:
    """Return the inodes of a process's sockets."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            name = str(entry.readlink())
            if name.startswith("socket:["):
                inodes.add(int(name[8:-1]))
    return inodes


def _query(family: int, identity: bytes = _ANY) -> list[_Row]:
    """Return the TCP connections of a family, or the one with that identity."""
    exact = identity is not _ANY
    states = 1 << _ESTABLISHED | 1 << _CLOSE_WAIT
    head = _REQUEST_HEAD.pack(family, socket.IPPROTO_TCP, 1 << (_INET_DIAG_INFO - 1), 0, states)
    body = head + identity
    flags = _REQUEST if exact else _REQUEST | _DUMP
    message = _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, flags, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(TIMEOUT_S)
        netlink.sendto(message, (0, 0))
        rows: list[_Row] = []
        while True:
            for kind, payload in _messages(netlink.recv(MESSAGE_BYTES)):
                if kind in {_DONE, _ERROR}:
                    # An error: there is no such connection any more.
                    return rows
                rows += _parsed(payload)
                if exact:
                    return rows


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        yield kind, data[at + _HEADER.size : at + length]
        at += max(_HEADER.size, (length + 3) & ~3)


def _parsed(payload: bytes) -> Iterator[_Row]:
    family, _, _, _, identity, _, _, queued, _, inode = _ANSWER.unpack_from(payload)
    at = _ANSWER.size
    while at + _ATTRIBUTE.size <= len(payload):
        length, kind = _ATTRIBUTE.unpack_from(payload, at)
        info = payload[at + _ATTRIBUTE.size : at + length]
        if kind == _INET_DIAG_INFO and len(info) >= _ACKED.size:
            sent, resent = _SENT.unpack_from(info) if len(info) >= _SENT.size else (0, 0)
            connection = Connection(_ACKED.unpack_from(info)[0], queued, sent, resent)
            yield _Row(family, identity, inode, connection)
        at += max(_ATTRIBUTE.size, (length + 3) & ~3)
