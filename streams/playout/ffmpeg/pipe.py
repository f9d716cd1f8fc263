"""The feed: the pipe between players and hub.

The supervisor and the hub each hold both ends open, so the pipe survives either of them. Its
contents can be inspected without removing them (tee(2)), which shows to the frame how much a
killed player really wrote.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import stat
import struct
import termios
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streams.playout.ffmpeg import mpegts

#: Bytes that an unprivileged process may request (fs.pipe-max-size).
MAX_PIPE_BYTES: Final = 1 << 20
#: Bytes that a pipe has by default (pipe(7)).
DEFAULT_PIPE_BYTES: Final = 1 << 16
SPLICE_F_NONBLOCK: Final = 2

_libc = ctypes.CDLL(None, use_errno=True)
_libc.tee.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_size_t, ctypes.c_uint]
_libc.tee.restype = ctypes.c_ssize_t


@dataclass(slots=True)
class FeedPipe:
    """An open feed. `fd` becomes stdout of a player and stdin of the hub."""

    path: Path
    fd: int

    @classmethod
    def open(cls, path: Path, requested_bytes: int = 0) -> FeedPipe:
        """Open it, or create it with `requested_bytes` of capacity. Raises `OSError`."""
        if not path.is_fifo():
            path.unlink(missing_ok=True)
            os.mkfifo(path, 0o600)
        # O_RDWR never waits for the other end and never sees end of file.
        fd = os.open(path, os.O_RDWR)
        if requested_bytes:
            # PermissionError: the user's share of pipe memory is used up; EBUSY: the pipe holds
            # more than that already. A shorter or longer buffer still plays.
            with suppress(OSError):
                size = min(max(requested_bytes, DEFAULT_PIPE_BYTES), MAX_PIPE_BYTES)
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size)
        return cls(path, fd)

    @classmethod
    def of_process(cls, path: Path, pid: int, number: int) -> FeedPipe | None:
        """The pipe that a process has open as descriptor `number`; None if it has none.

        After somebody has deleted its path, the pipe can't be opened by path any more: a new
        pipe of the same name is not the one that the process reads or writes.
        """
        try:
            fd = os.open(f"/proc/{pid}/fd/{number}", os.O_RDWR | os.O_NONBLOCK)
        except OSError:
            return None
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.close(fd)
            return None
        os.set_blocking(fd, True)
        return cls(path, fd)

    def _open(self, flags: int) -> int:
        """Open another descriptor of the same pipe: flags on `fd` would affect the children."""
        return os.open(f"/proc/self/fd/{self.fd}", flags | os.O_NONBLOCK)

    @property
    def capacity(self) -> int:
        """Capacity in bytes."""
        return fcntl.fcntl(self.fd, fcntl.F_GETPIPE_SZ)

    def waiting_bytes(self) -> int:
        """Bytes waiting to be read."""
        (count,) = struct.unpack("i", fcntl.ioctl(self.fd, termios.FIONREAD, b"\0" * 4))
        return int(count)

    def peek(self) -> bytes:
        """Return a copy of the waiting bytes, oldest first; empty if they can't be copied."""
        reader, writer = os.pipe2(os.O_NONBLOCK)
        try:
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, self.capacity)
            copied = _libc.tee(self.fd, writer, MAX_PIPE_BYTES, SPLICE_F_NONBLOCK)
            data = b""
            while len(data) < copied:
                data += os.read(reader, MAX_PIPE_BYTES)
        except PermissionError:
            return b""
        finally:
            os.close(reader)
            os.close(writer)
        return data

    def skip(self, find: Callable[[bytes], int | None]) -> bool:
        """Remove the bytes before the offset that `find` returns; None removes nothing.

        For a pipe that only one process writes and nobody else reads now. True: `find` returned
        an offset.
        """
        before = find(self.peek())
        if before is None:
            return False
        fd = self._open(os.O_RDONLY)
        try:
            while before > 0:
                before -= len(os.read(fd, before))
        except BlockingIOError:
            # A reader that is about to end has taken the bytes.
            return False
        finally:
            os.close(fd)
        return True

    def cut(self, keep: Callable[[bytes], bytes]) -> bytes:
        """Remove everything after the part that `keep` returns. Returns the kept part.

        For a pipe that nobody writes now; its reader continues. One read takes everything (the
        kernel holds the pipe meanwhile), so that nothing can come in between.
        """
        # The reader may take everything first.
        fd = self._open(os.O_RDWR)
        try:
            kept = keep(os.read(fd, MAX_PIPE_BYTES))
            rest = memoryview(kept)
            while rest:
                rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            return b""
        finally:
            os.close(fd)
        return kept

    def write_now(self, data: bytes) -> bool:
        """Write a few bytes without blocking. False: there is no room now.

        Never more than PIPE_BUF, so that the write is atomic.
        """
        try:
            fd = self._open(os.O_WRONLY)
        except OSError:
            return False
        try:
            return os.write(fd, data) == len(data)
        except BlockingIOError:
            return False
        finally:
            os.close(fd)

    def wake_reader(self) -> bool:
        """Wake a reader that was asked to end: its read ignores the signal."""
        return self.write_now(mpegts.NULL_PACKET * 8)

    def close(self) -> None:
        os.close(self.fd)
