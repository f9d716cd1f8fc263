"""The client of endpoints: judges their address, and sends one POST there.

A name is resolved once, each of its addresses is judged, and one of those very addresses is
connected to (streamsite.security.ssrf). Redirections are not followed, and no proxy is asked.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from threading import Timer
from typing import Final
from urllib.parse import urlsplit

from django.conf import settings

from streamsite.security.ssrf import (
    NoAddressError,
    Rules,
    connected,
    may_reach,
    own_addresses,
    resolve,
)

#: Seconds to connect, and for each part of the answer.
TIMEOUT_S: Final = 10.0
#: Seconds of a whole attempt: a receiver that answers a byte at a time is cut off.
WHOLE: Final = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    """status: HTTP; None: none came. `fault`: why it counts as failed, empty: it does not."""

    status: int | None
    fault: str


def post(url: str, body: bytes, headers: Mapping[str, str], *, private: bool) -> Answer:
    """One attempt. `private`: addresses that are not of the open internet may be asked."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    try:
        addresses = resolve(host, port)
    except NoAddressError:
        return Answer(None, f"No name server says where {host} is.")
    own = Rules(frozenset(), own=own_addresses(settings.ALLOWED_HOSTS))
    if not private and (inside := [one for one in addresses if not may_reach(one, own)]):
        return Answer(
            None,
            f"{host} is at {inside[0]}, which is this machine or not on the open internet. "
            "If that is intended, set WEBHOOK_PRIVATE_TARGETS=true.",
        )
    connection = _Pinned(host, addresses, port, tls=tls)
    path = parts.path or "/"
    if parts.query:
        path += f"?{parts.query}"
    late = Timer(WHOLE, connection.cut)
    late.daemon = True
    late.start()
    try:
        connection.request("POST", path, body, dict(headers))
        status = connection.getresponse().status
    except ssl.SSLError as error:
        return Answer(None, f"{host} can't be trusted: {error.reason or 'TLS failed'}.")
    except TimeoutError:
        return Answer(None, f"{host} did not answer within {TIMEOUT_S:.0f} s.")
    except (OSError, HTTPException, ValueError) as error:
        # Its words may hold the address.
        return Answer(None, f"{host} could not be told ({type(error).__name__}).")
    finally:
        late.cancel()
        connection.close()
    good = 200 <= status < 300  # noqa: PLR2004 - HTTP's own classes
    return Answer(status, "" if good else f"{host} answered {status}.")


class _Pinned(HTTPConnection):
    """To addresses that were judged; the name is for the certificate and the Host header."""

    def __init__(self, host: str, addresses: list[str], port: int, *, tls: bool) -> None:
        # The port of a scheme's own is not part of its Host header.
        self.default_port = 443 if tls else 80
        super().__init__(host, port, timeout=TIMEOUT_S)
        self._addresses = addresses
        self._tls = ssl.create_default_context() if tls else None

    def connect(self) -> None:
        self.sock = connected(self._addresses, self.port, TIMEOUT_S)
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)

    def cut(self) -> None:
        if self.sock is not None:
            try:
                self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                # It has ended meanwhile.
                return
