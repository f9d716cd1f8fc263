"""A destination that accepts and ends every session, as with an unknown key."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from streams.playout.contract.ledger import IncidentExplained, IncidentOpened
from streams.playout.contract.plan import OutputPlan
from streams.playout.ffmpeg import diagnosis
from streams.tests.bench.clips import Clip
from streams.tests.bench.engine import Engine, MemoryLedger, assignment
from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.waiting import until
from streamsite.security.secret import Secret

pytestmark = pytest.mark.slow


class DroppingProxy:
    """Forwards bytes to a real server and disconnects after so many per connection."""

    def __init__(self, port: int, most: int) -> None:
        self._to, self._most = port, most
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        serving = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to = await asyncio.open_connection("127.0.0.1", self._to)
        back = asyncio.ensure_future(self._pass(there, writer, 1 << 40))
        try:
            await self._pass(reader, to, self._most)
        finally:
            back.cancel()
            writer.close()
            to.close()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int
    ) -> None:
        with suppress(ConnectionError):
            while most > 0 and (data := await reader.read(min(most, 4096))):
                most -= len(data)
                writer.write(data)
                await writer.drain()

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        # The connections are closed in the next iteration of the loop.
        await asyncio.sleep(0)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()


@pytest.fixture(params=[4_000, 600_000], ids=["at once", "after some seconds"])
def cutter(request: pytest.FixtureRequest, server: RtmpServer) -> Iterator[DroppingProxy]:
    made = DroppingProxy(server.port, request.param)
    yield made
    made.close()


def test_a_destination_that_ends_every_session_is_reported_as_such(
    tmp_path: Path, shelf: dict[int, Clip], cutter: DroppingProxy
) -> None:
    """The incident shows it from the second attempt on, whatever the first one's cause."""
    address = f"rtmp://127.0.0.1:{cutter.port}/live"
    output = OutputPlan(1, "Main", address, Secret("k-wrong"), edition="1")
    book = MemoryLedger({1: assignment(shelf[4], slate=shelf[2], outputs=(output,))})
    engine = Engine(tmp_path / "run", book)
    engine.run_dir.mkdir()
    try:
        engine.start()
        expected = f"Main: {diagnosis.SESSION_ENDS_AT_ONCE}"

        def causes() -> list[str]:
            return [
                note.cause
                for note in list(book.notes)
                if isinstance(note, IncidentOpened | IncidentExplained)
                and note.subject == "output-1"
            ]

        until(
            lambda: engine.alive() and causes()[-1:] == [expected], 60, "the cause is reported"
        )
    finally:
        engine.end()
