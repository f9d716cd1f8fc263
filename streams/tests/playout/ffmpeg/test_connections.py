"""The kernel's figures of real connections."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from streams.playout.ffmpeg import connections
from streams.playout.ffmpeg.connections import Connection, Connections
from streams.tests.bench.waiting import until


@pytest.fixture(params=[(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    family, host = request.param
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server((host, 0), family=family))
        client = stack.enter_context(socket.create_connection(server.getsockname()[:2]))
        taken, _ = server.accept()
        yield client, stack.enter_context(taken)


def test_what_a_reader_does_not_read_is_not_acknowledged_for_long(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    client, reader = pair
    requests, pid = Connections(), os.getpid()
    client.sendall(b"x" * 1000)

    def connection() -> Connection:
        one = requests.of(pid)
        assert one is not None
        return one

    until(lambda: not connection().queued, 5, "the first bytes are acknowledged")
    written = 1000 + filled(client)
    seen = [connection()]

    def stands() -> bool:
        seen.append(connection())
        return seen[-1] == seen[-2]

    until(stands, 10, "the buffers of the reader are full")
    # All of it has left the process, and the destination's machine has a part.
    assert seen[-1].queued > 100_000
    assert abs(seen[-1].acked + seen[-1].queued - written) <= 2
    got = 0
    while got < written:
        got += len(reader.recv(1 << 20))
    until(lambda: not connection().queued, 5, "everything is acknowledged")


def filled(client: socket.socket) -> int:
    """Write until nothing more fits. Return the bytes written."""
    client.settimeout(0)
    written = 0
    with suppress(BlockingIOError):
        while True:
            written += client.send(b"y" * 65536)
    return written


def test_a_connection_that_is_gone_is_unknown(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    client, reader = pair
    requests, pid = Connections(), os.getpid()
    client.sendall(b"x")
    assert requests.of(pid) is not None
    client.close()
    reader.close()
    until(lambda: requests.of(pid) is None, 5, "the connection is gone")


def test_a_process_that_is_not_there_has_none() -> None:
    assert Connections().of(2**22 - 1) is None


def test_a_process_without_a_connection_is_polled_rarely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lists: list[int] = []
    query = connections._query

    def counted(family: int, *identity: bytes) -> list[connections._Row]:
        lists.append(family)
        return query(family, *identity)

    monkeypatch.setattr(connections, "_query", counted)
    clock = [0.0]
    requests = Connections(lambda: clock[0])
    with subprocess.Popen(["sleep", "60"]) as process:
        for second in range(300):
            clock[0] = 1000.0 + second
            assert requests.of(process.pid) is None
        # After 2, 4, 8, ... and at most 60 seconds, of two families.
        assert len(lists) <= 2 * 12
        # Another process with this number is another one.
        requests.forget(process.pid)
        lists.clear()
        assert requests.of(process.pid) is None
        assert lists
        process.kill()
