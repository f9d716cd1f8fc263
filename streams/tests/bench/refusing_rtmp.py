"""A fake RTMP server: it accepts connections and refuses to publish, quoting the key.

Written from the protocol's contract (Adobe's RTMP 1.0, 5 and 7): nginx-rtmp never quotes a
stream name, but other servers do. It understands only the messages of a publisher up to the
refusal.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from typing import Final

_SIZE: Final = 1536
_BOUND_S: Final = 30.0


def _text(value: str) -> bytes:
    raw = value.encode()
    return b"\x02" + struct.pack(">H", len(raw)) + raw


def _number(value: float) -> bytes:
    return b"\x00" + struct.pack(">d", value)


def _object(**values: str) -> bytes:
    pairs = (
        struct.pack(">H", len(name)) + name.encode() + _text(value)
        for name, value in values.items()
    )
    return b"\x03" + b"".join(pairs) + b"\x00\x00\x09"


def _message(body: bytes, stream: int = 0) -> bytes:
    """Build a command (type 20) in chunks of 128 bytes."""
    head = b"\x03" + b"\x00" * 3 + len(body).to_bytes(3, "big") + b"\x14"
    chunks = [body[at : at + 128] for at in range(0, len(body), 128)]
    return head + struct.pack("<I", stream) + b"\xc3".join(chunks)


class RefusingServer:
    """Refuses all publishers while the block runs. `refused`: their number."""

    def __init__(self, *quotes: str) -> None:
        #: Its responses: `{key}` is replaced by the key.
        self.quotes = quotes
        self.refused = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def address(self) -> str:
        return f"rtmp://127.0.0.1:{self.port}/live"

    def __enter__(self) -> RefusingServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(_BOUND_S)

    def _serve(self) -> None:
        # Closed at the end of the block.
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with connection:
                    connection.settimeout(_BOUND_S)
                    with suppress(OSError):
                        self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        first = self._read(connection, 1 + _SIZE)
        connection.sendall(b"\x03" + bytes(_SIZE) + first[1:])
        self._read(connection, _SIZE)
        received = self._until(connection, b"connect", b"")
        answer = _object(level="status", code="NetConnection.Connect.Success")
        connection.sendall(_message(_text("_result") + _number(1) + _object() + answer))
        received = self._until(connection, b"createStream", received)
        at = received.index(b"createStream") + len(b"createStream")
        (transaction,) = struct.unpack(">d", received[at + 1 : at + 9])
        connection.sendall(
            _message(_text("_result") + _number(transaction) + b"\x05" + _number(1))
        )
        after = self._until(connection, b"publish", received[at:])
        after = self._until(connection, b"\x00\x04live", after)
        # After the command's name: a number, null, and the stream's name.
        place = after.index(b"publish") + len(b"publish") + 9 + 1 + 1
        (length,) = struct.unpack(">H", after[place : place + 2])
        key = after[place + 2 : place + 2 + length].decode()
        reply = self.quotes[self.refused % len(self.quotes)].format(key=key)
        self.refused += 1
        status = _object(level="error", code="NetStream.Publish.BadName", description=reply)
        connection.sendall(_message(_text("onStatus") + _number(0) + b"\x05" + status, 1))
        while connection.recv(65536):
            pass

    def _read(self, connection: socket.socket, count: int) -> bytes:
        received = b""
        while len(received) < count:
            if not (more := connection.recv(count - len(received))):
                raise ConnectionError
            received += more
        return received

    def _until(self, connection: socket.socket, word: bytes, received: bytes) -> bytes:
        while word not in received:
            if not (more := connection.recv(65536)):
                raise ConnectionError
            received += more
        return received
