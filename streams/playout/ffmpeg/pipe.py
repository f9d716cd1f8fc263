"""The pipe between players and hub: the one door to it.

Both ends are open in the supervisor and in the hub, so it survives either of them. What waits
in it can be looked at without taking it out (tee(2)): the end of what a killed player really
wrote is read from there, to the frame.
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

#: Bytes. What an unprivileged process may ask for (fs.pipe-max-size).
MAX_PIPE_BYTES: Final = 1 << 20
#: Bytes. What a pipe has when nobody asks (pipe(7)).
DEFAULT_PIPE_BYTES: Final = 1 << 16
SPLICE_F_NONBLOCK: Final = 2

_libc = ctypes.CDLL(None, use_errno=True)
_libc.tee.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_size_t, ctypes.c_uint]
_libc.tee.restype = ctypes.c_ssize_t


@dataclass(slots=True)
class FeedPipe:
    """An open feed. `fd` is what a player gets as stdout and a hub as stdin."""

    path: Path
    fd: int

    @classmethod
    def open(cls, path: Path, requested_bytes: int = 0) -> FeedPipe:
        """Open it, making it where it is missing, for `wanted` bytes. Raises `OSError`."""
        if not path.is_fifo():
            path.unlink(missing_ok=True)
            os.mkfifo(path, 0o600)
        # O_RDWR: never waits for the other end, and never sees end of file.
        fd = os.open(path, os.O_RDWR)
        if requested_bytes:
            # PermissionError: the user's share of pipe memory is used up; EBUSY: more than that
            # is in it already. A shorter or longer buffer still plays.
            with suppress(OSError):
                size = min(max(requested_bytes, DEFAULT_PIPE_BYTES), MAX_PIPE_BYTES)
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size)
        return cls(path, fd)

    @classmethod
    def held(cls, path: Path, pid: int, number: int) -> FeedPipe | None:
        """The pipe that a process has open as descriptor `number`; None: it has none.

        By its path it can't be found any more once somebody has deleted that: another one of
        the same name is not the one that the process reads or writes.
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
        """Another descriptor of the same pipe: flags on `fd` would reach the children's."""
        return os.open(f"/proc/self/fd/{self.fd}", flags | os.O_NONBLOCK)

    @property
    def capacity(self) -> int:
        """Bytes."""
        return fcntl.fcntl(self.fd, fcntl.F_GETPIPE_SZ)

    def level(self) -> int:
        """Bytes that wait to be read."""
        (count,) = struct.unpack("i", fcntl.ioctl(self.fd, termios.FIONREAD, b"\0" * 4))
        return int(count)

    def peek(self) -> bytes:
        """A copy of what waits, oldest first. Empty when the copy can't be made."""
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
        """Take out what waits before the place that `find` tells; None: leave everything.

        For a pipe that only one process writes and nobody else reads now. True: there was one.
        """
        before = find(self.peek())
        if before is None:
            return False
        fd = self._open(os.O_RDONLY)
        try:
            while before > 0:
                before -= len(os.read(fd, before))
        except BlockingIOError:
            # One that is on its way out has read on: what waited is gone.
            return False
        finally:
            os.close(fd)
        return True

    def shorten(self, keep: Callable[[bytes], bytes]) -> bytes:
        """Take out all that waits but its beginning, as `keep` tells. Returns what is kept.

        For a pipe that nobody writes now; whoever reads it goes on reading. One read takes all
        (the kernel holds the pipe meanwhile), so that nothing can come between.
        """
        # The reader may take it all before us.
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
        """Write a few bytes without waiting. False: there is no room now.

        Never more than PIPE_BUF, so that it goes in whole or not at all.
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

    def nudge(self) -> bool:
        """Wake a reader that has been asked to end: its read ignores the signal."""
        return self.write_now(mpegts.NULL_PACKET * 8)

    def close(self) -> None:
        os.close(self.fd)
