"""Uploads the hub's segments to a platform that takes HLS: a process like FFmpeg's pushers.

Started by `process.spawn`; the supervisor may end and be replaced while it runs. It sends
FFmpeg's progress reports, and its last line says why it ended (`diagnosis`). It imports neither
Django nor the engine: the standard library alone, to stay small.

A thread takes segments from the hub's window into a folder of its own by hard link, so they
outlive the window while the network is slow or away. All that is needed to continue stands in
that folder.
"""

from __future__ import annotations

import argparse
import fcntl
import http.client
import json
import os
import secrets
import signal
import socket
import ssl
import struct
import sys
import termios
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import quote, urlsplit

from streams.playout.outputs import upload_queue as queues
from streams.playout.outputs.upload_queue import Queue
from streamsite.security import tls

#: Seconds between two looks at the window.
POLL_S: Final = 0.25
#: Seconds between two progress reports.
REPORT_S: Final = 1.0
#: Longest pause between two attempts, in seconds. The first one is repeated at once.
MAX_PAUSE_S: Final = 2.0
CHUNK_BYTES: Final = 1 << 16
#: Bytes read of an answer; a longer one ends the connection. No answer is shown.
MAX_ANSWER_BYTES: Final = 1 << 16
#: Answers that acknowledge. 202: the playlist with the segment has not been handled yet.
ACCEPTED: Final = range(200, 300)
#: Answers after which the same request may succeed: timeout, too many requests, server errors.
RETRIED: Final = frozenset({408, 429, *range(500, 600)})
#: Codes of OpenSSL's X509_verify_cert for a certificate of another name or address.
WRONG_NAME_CODES: Final = frozenset({62, 64})
#: Marks the line that says why the upload ended.
ENDED: Final = "upload ended"
STATE: Final = "state"


class StatusError(Exception):
    """The server answered with an error. `str()` is its status alone."""


def load(folder: Path, edition: str) -> Queue | None:
    """Return the stored queue; None: there is none for this edition."""
    try:
        queue = queues.decode(json.loads((folder / STATE).read_text()))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return queue if queue.edition == edition else None


def seconds_behind(
    folder: Path, playlist: Path, edition: str, wall: float, begin: int
) -> float:
    """Seconds of air from where an upload would continue to what the hub sends now."""
    try:
        age = wall - playlist.stat().st_mtime
        window = queues.listed(playlist.read_text())
    except OSError:
        return 0.0
    return max(0.0, age) + queues.behind(load(folder, edition), window, begin)


def words(error: Exception) -> str:
    """Return what happened, in the words that `diagnosis` knows, without any address."""
    match error:
        case ssl.SSLCertVerificationError():
            named = error.verify_code in WRONG_NAME_CODES
            return tls.WRONG_NAME if named else "certificate verify failed"
        case TimeoutError():
            return "Connection timed out"
        case socket.gaierror():
            return "Failed to resolve hostname"
        case StatusError():
            return f"HTTP status {error}"
        case ConnectionResetError():
            return "Connection reset by peer"
        case OSError(strerror=str() as reason) if not isinstance(error, ssl.SSLError):
            return reason
        case _:
            # Its text may quote the address, which holds the key.
            return f"Input/output error ({type(error).__name__})"


class Upload:
    """Sends what waits. `watch` runs in a thread beside `run`."""

    def __init__(self, options: argparse.Namespace, key: str) -> None:
        self.window: Path = options.window
        self.folder: Path = options.folder
        self.begin: int = options.begin
        self.timeout: float = options.timeout
        parts = urlsplit(options.address)
        self.host, self.port = parts.hostname or "", parts.port or 443
        copy = f"&{parts.query}" if parts.query else ""
        self._target = f"{parts.path}?cid={quote(key, safe='')}{copy}&file="
        # SSL_CERT_FILE names the authorities, as for all programs on this machine.
        self._tls = ssl.create_default_context(cafile=tls.certificates() or None)
        if options.unverified:
            self._tls.check_hostname = False
            self._tls.verify_mode = ssl.CERT_NONE
        self._connection: http.client.HTTPSConnection | None = None
        self._agent = f"streamsite / upload / {options.version}"
        self._lock = threading.Lock()
        self._reports = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._reports.connect(("127.0.0.1", options.progress))
        self._began = time.monotonic()
        #: Seconds of air and bytes of segments that this process has sent.
        self._seconds = 0.0
        self._bytes = 0
        #: Bytes of the current segment's file, and those given to the socket.
        self._size, self._written = 0, 0
        #: Most seconds reported: a segment that is sent again takes none back.
        self._reported = 0.0
        #: When the receiver's machine last took bytes, and how many there were in all.
        self._moved, self._taken = self._began, 0
        self._given = 0
        #: Since when attempts have failed, and why the last one did.
        self._failing: float | None = None
        self._cause = ""
        self.queue = self._open(options.edition)

    def _open(self, edition: str) -> Queue:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        queue = load(self.folder, edition) or Queue(secrets.token_hex(6), edition)
        # A process that was killed may have left a file that is not in the queue.
        kept = {STATE, *(segment.file for segment in queue.waiting)}
        for path in self.folder.iterdir():
            if path.name not in kept:
                path.unlink(missing_ok=True)
        return queue

    def _store(self, queue: Queue) -> None:
        # No fsync: after a crash of the machine the folder, which is on tmpfs, is empty.
        draft = self.folder / f".{STATE}"
        draft.write_text(json.dumps(queues.encode(queue)))
        draft.replace(self.folder / STATE)
        self.queue = queue

    # ---- the window

    def take(self) -> None:
        """Take the new segments of the window."""
        with self._lock:
            try:
                window = queues.listed(self.window.read_text())
            except OSError:
                # Somebody cleared the run directory, or the hub has not begun.
                return
            new, missed = queues.news(self.queue, window, self.begin)
            if missed:
                count = "Some" if missed < 0 else str(missed)
                write_line(
                    "warning",
                    f"{count} segments left the window before they could be taken: the "
                    "destination is told of a gap.",
                )
            queue = self.queue
            for segment in new:
                file = f"{queue.taken:08d}.ts"
                path = self.folder / file
                path.unlink(missing_ok=True)
                try:
                    os.link(self.window.parent / segment.file, path)
                except FileNotFoundError:
                    # It just left the window; the next look finds the gap.
                    break
                queue = queues.take(queue, segment, file=file)
            if queue is not self.queue:
                self._store(queue)

    def watch(self) -> None:
        """Take segments, report progress and end an upload that moves nothing, for ever."""
        reported = 0.0
        try:
            while True:
                self.take()
                now = time.monotonic()
                self._check(now)
                if now - reported >= REPORT_S:
                    reported = now
                    self.report(now)
                time.sleep(POLL_S)
        except Exception as error:  # noqa: BLE001 - a thread that ends alone would be silence
            self.end(words(error))

    def _check(self, now: float) -> None:
        taken = self._given - self._unsent()
        if taken != self._taken or not self.queue.waiting:
            self._moved, self._taken = now, taken
        failing = self._failing
        if failing is not None and now - failing > self.timeout:
            self.end(self._cause)
        if now - self._moved > self.timeout:
            self.end(self._cause or "Connection timed out")

    def _unsent(self) -> int:
        """Bytes that the receiver's machine has not acknowledged (tcp(7), SIOCOUTQ)."""
        connection = self._connection
        sock = None if connection is None else connection.sock
        if sock is not None:
            with suppress(OSError, ValueError):
                raw = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
                return int(struct.unpack("i", raw)[0])
        return 0

    def report(self, now: float) -> None:
        """Send a report as FFmpeg does."""
        seconds = self._seconds
        if seconds and self._size and self.queue.waiting:
            # What a receiver took before it has acknowledged anything says nothing.
            share = max(0, self._written - self._unsent()) / self._size
            seconds += self.queue.waiting[0].seconds * min(share, 0.95)
        self._reported = max(self._reported, seconds)
        speed = self._reported / max(now - self._began, 0.001)
        report = (
            f"total_size={self._bytes}\nout_time_us={round(self._reported * 1_000_000)}\n"
            f"speed={speed:.3f}x\nprogress=continue\n"
        )
        with suppress(OSError):
            # No supervisor listens just now.
            self._reports.send(report.encode())

    # ---- the receiver

    def run(self) -> NoReturn:
        """Send one segment after the other, for ever."""
        failures = 0
        while True:
            if not self.queue.waiting:
                self.take()
            if not self.queue.waiting:
                time.sleep(POLL_S / 2)
                continue
            try:
                self.send()
            except FileNotFoundError:
                write_line(
                    "warning", "A segment's file is gone: the destination is told of a gap."
                )
                with self._lock:
                    self._store(queues.lost(self.queue))
            except (OSError, http.client.HTTPException, StatusError) as error:
                self.disconnect()
                self._failed(error)
                time.sleep(min(failures * 0.25, MAX_PAUSE_S))
                failures = failures * 2 or 1
            else:
                failures, self._failing, self._cause = 0, None, ""

    def _failed(self, error: Exception) -> None:
        cause = words(error)
        if isinstance(error, ssl.SSLCertVerificationError) or (
            isinstance(error, StatusError) and int(str(error)) not in RETRIED
        ):
            self.end(cause)
        if cause != self._cause:
            write_line("warning", f"{cause}: sent again.")
        self._cause = cause
        if self._failing is None:
            self._failing = time.monotonic()

    def send(self) -> None:
        """Announce and send the first segment that waits."""
        segment, name = self.queue.waiting[0], self.queue.name(self.queue.sent)
        path = self.folder / segment.file
        size = path.stat().st_size
        text = queues.playlist(self.queue).encode()
        self._put(queues.PLAYLIST_NAME, "application/vnd.apple.mpegurl", len(text), [text])
        with path.open("rb") as file:
            chunks = iter(lambda: file.read(CHUNK_BYTES), b"")
            self._size = size
            self._put(name, "video/mp2t", size, chunks)
        with self._lock:
            self._size = 0
            self._store(queues.acknowledged(self.queue))
        self._seconds += segment.seconds
        self._bytes += size
        path.unlink(missing_ok=True)

    def _put(self, name: str, kind: str, size: int, chunks: Iterable[bytes]) -> None:
        connection = self._connection
        if connection is None:
            connection = http.client.HTTPSConnection(
                self.host, self.port, timeout=self.timeout, context=self._tls
            )
            self._connection = connection
        self._written = 0
        connection.putrequest("PUT", f"{self._target}{name}", skip_accept_encoding=True)
        connection.putheader("User-Agent", self._agent)
        connection.putheader("Content-Type", kind)
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        for chunk in chunks:
            connection.send(chunk)
            self._given += len(chunk)
            self._written += len(chunk)
        answer = connection.getresponse()
        whole = len(answer.read(MAX_ANSWER_BYTES)) < MAX_ANSWER_BYTES
        if answer.status not in ACCEPTED:
            raise StatusError(str(answer.status))
        if not whole:
            self.disconnect()

    def disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError):
                connection.close()

    def end(self, cause: str) -> NoReturn:
        write_line("fatal", f"{ENDED}: https://{self.host}:{self.port} {cause}")
        sys.stderr.flush()
        # From a thread, sys.exit would end the thread alone.
        os._exit(1)


def write_line(level: str, text: str) -> None:
    sys.stderr.write(f"[{level}] {text}\n")
    sys.stderr.flush()


def main() -> NoReturn:
    parser = argparse.ArgumentParser()
    parser.add_argument("--progress", type=int, required=True)
    parser.add_argument("--window", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--edition", required=True)
    parser.add_argument("--begin", type=int, required=True)
    parser.add_argument("--timeout", type=float, required=True)
    parser.add_argument("--unverified", action="store_true")
    parser.add_argument("--version", default="1")
    parser.add_argument("key", type=Path)
    parser.add_argument("address")
    options = parser.parse_args()
    # What waits is stored, so the end may come at any moment.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        upload = Upload(options, options.key.read_text())
        threading.Thread(target=upload.watch, daemon=True).start()
        upload.run()
    except Exception as error:  # noqa: BLE001 - a traceback may quote the address with the key
        write_line("fatal", f"{ENDED}: {words(error)}")
        sys.exit(1)


if __name__ == "__main__":
    main()
