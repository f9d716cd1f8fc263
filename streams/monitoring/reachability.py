"""Whether destinations can be reached: their names resolve, and they take a connection."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final
from urllib.parse import urlsplit

from streams.models import Output

#: Seconds for the name, and as many for the connection.
PATIENCE: Final = 3.0
#: Asked at once; the others wait for these.
AT_ONCE: Final = 16
#: RFC 7230 names none for RTMP: 1935 is IANA's, 443 is what RTMPS is served at.
PORTS: Final = {"rtmp": 1935, "rtmps": 443, "srt": 9710}


def outputs(rows: Sequence[Output]) -> Iterator[tuple[Output, str]]:
    """Each output with what is wrong, in a sentence; empty where it can be reached."""
    pool = ThreadPoolExecutor(AT_ONCE, "reach")
    try:
        asked = [(row, pool.submit(fault, row.name, row.address)) for row in rows]
        for row, answer in asked:
            yield row, _waited(row, answer)
    finally:
        # A resolver that hangs has its own end, some 30 s: nobody waits for it.
        pool.shutdown(wait=False, cancel_futures=True)


def _waited(row: Output, answer: Future[str]) -> str:
    try:
        return answer.result(timeout=2 * PATIENCE + 1)
    except TimeoutError:
        host = urlsplit(row.address).hostname
        return f"Output “{row.name}”: whether {host} can be reached was not known in time."


def fault(name: str, address: str) -> str:
    """Why a destination can't be reached, in a sentence; empty when it can.

    SRT is UDP, which has no connection to try: there the name must do.
    """
    parts = urlsplit(address)
    host, port = parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno in {socket.EAI_NONAME, socket.EAI_NODATA}:
            return f"Output “{name}”: no name server knows {host}. See its address."
        return f"Output “{name}”: the name {host} was not found out ({error.strerror})."
    except (OSError, UnicodeError):
        return f"Output “{name}”: {host} is no name of a host. See its address."
    if parts.scheme == "srt":
        return ""
    why = ""
    for family, kind, protocol, _, where in found[:3]:
        try:
            with socket.socket(family, kind, protocol) as sock:
                sock.settimeout(PATIENCE / min(3, len(found)))
                sock.connect(where)
        except OSError as error:
            silent = isinstance(error, TimeoutError)
            why = "it does not answer" if silent else error.strerror or str(error)
        else:
            return ""
    return f"Output “{name}”: {host} takes no connection at port {port} ({why})."
