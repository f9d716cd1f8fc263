"""Checks whether destinations are reachable: name resolution and a TCP connection."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final
from urllib.parse import urlsplit

from streams.models import Output

#: Seconds for resolving the name, and the same again for the connection.
CONNECT_TIMEOUT_S: Final = 3.0
#: Destinations checked in parallel.
MAX_PARALLEL: Final = 16
#: Default ports: 1935 is IANA's port for RTMP, and RTMPS is usually served at 443.
PORTS: Final = {"rtmp": 1935, "rtmps": 443, "https": 443, "srt": 9710}


def outputs(rows: Sequence[Output]) -> Iterator[tuple[Output, str]]:
    """Yields each output with its fault in a sentence; empty: it is reachable."""
    pool = ThreadPoolExecutor(MAX_PARALLEL, "reach")
    try:
        pending = [(row, pool.submit(fault, row.name, row.address)) for row in rows]
        for row, answer in pending:
            yield row, _waited(row, answer)
    finally:
        # A hanging resolver ends by itself after some 30 s: do not wait for it.
        pool.shutdown(wait=False, cancel_futures=True)


def _waited(row: Output, answer: Future[str]) -> str:
    try:
        return answer.result(timeout=2 * CONNECT_TIMEOUT_S + 1)
    except TimeoutError:
        host = urlsplit(row.address).hostname
        return f"Output “{row.name}”: the check of {host} did not finish in time."


def fault(name: str, address: str) -> str:
    """Returns why a destination is unreachable, in a sentence; empty: it is reachable.

    SRT uses UDP, which has no connection to test: only the name is resolved.
    """
    parts = urlsplit(address)
    host, port = parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0)
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno in {socket.EAI_NONAME, socket.EAI_NODATA}:
            return f"Output “{name}”: the name {host} does not exist. Check its address."
        return f"Output “{name}”: the name {host} could not be resolved ({error.strerror})."
    except (OSError, UnicodeError):
        return f"Output “{name}”: {host} is not a valid host name. Check its address."
    if parts.scheme == "srt":
        return ""
    why = ""
    for family, kind, protocol, _, where in addresses[:3]:
        try:
            with socket.socket(family, kind, protocol) as sock:
                sock.settimeout(CONNECT_TIMEOUT_S / min(3, len(addresses)))
                sock.connect(where)
        except OSError as error:
            silent = isinstance(error, TimeoutError)
            why = "it does not answer" if silent else error.strerror or str(error)
        else:
            return ""
    return f"Output “{name}”: {host} does not accept connections at port {port} ({why})."
