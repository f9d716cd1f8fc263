"""gunicorn's ASGI worker, with bounds on what a client may do to a connection.

gunicorn 27 bounds the pauses of a body and of a connection that is kept open. It has no bound
for the first request's headers, nor for the last bytes of a connection that it closes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, Final

from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers import gasgi

#: Seconds from the connection to the end of the first request's headers.
HEAD_SECONDS: Final = 20.0
#: Seconds for the last bytes of an answer whose connection is being closed.
LAST_SECONDS: Final = 30.0
#: Connections of one address to one worker. nginx comes over a unix socket, which has no
#: address, and bounds its visitors itself.
PER_ADDRESS: Final = 256

_open: Final[Counter[str]] = Counter()


class Connection(ASGIProtocol):  # type: ignore[misc]  # gunicorn has no types
    """One connection."""

    _address = ""
    _head_timer: asyncio.TimerHandle | None = None
    _last_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if isinstance(peer, tuple) else ""
        _open[self._address] += 1
        crowded = self._address and _open[self._address] > PER_ADDRESS
        if crowded or self.worker.nr_conns > self.worker.worker_connections:
            transport.abort()
            return
        self._head_timer = self.worker.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._conn_lost_handled:
            _open[self._address] -= 1
            if not _open[self._address]:
                del _open[self._address]
        for timer in (self._head_timer, self._last_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def _head_is_late(self) -> None:
        if self.req_count <= 1 and self._current_request is None:
            # As for a connection that was kept open for too long.
            self._keepalive_timeout()

    def _close_transport(self) -> None:
        super()._close_transport()
        if self._last_timer is None and self.transport is not None:
            self._last_timer = self.worker.loop.call_later(LAST_SECONDS, self.transport.abort)


class Worker(gasgi.ASGIWorker):  # type: ignore[misc]  # the parent has no types
    """Serves such connections. gunicorn has no setting for the class."""

    def init_process(self) -> None:
        gasgi.ASGIProtocol = Connection
        super().init_process()
