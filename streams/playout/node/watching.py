"""The watch of a node's air in a thread of its own, which the loop never waits for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import structlog

from streams.playout.contract.air_flaws import Watched
from streams.playout.contract.engine import Engine
from streams.playout.contract.ledger import Evidence, IncidentOpened, Note
from streams.playout.contract.moment import Now
from streams.playout.contract.plan import Tools
from streams.playout.ffmpeg import process
from streams.playout.node.air_watch import AirWatch
from streams.playout.node.evidence import Keeper

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Incidents that wait for their evidence; the others of a great outage have none.
MAX_EVIDENCE_WAITING: Final = 20


class Watching:
    """Has the air looked at and evidence kept. `beat` is called in the loop."""

    def __init__(self, tools: Tools, interval_s: float) -> None:
        """`interval_s`: seconds between two looks."""
        self._run_dir = tools.run_dir
        self._interval = interval_s
        self._watch = AirWatch()
        self._keeper = Keeper(self._watch.decoder, tools.evidence_dir)
        self._eyes = ThreadPoolExecutor(1, "air")
        self._inspecting: Future[dict[int, Watched]] | None = None
        self._inspected = 0.0
        self._opened: list[IncidentOpened] = []
        self._keeping: list[Future[Evidence | None]] = []

    def note(self, notes: Iterable[Note]) -> None:
        """Have evidence kept of the incidents that open with these notes."""
        self._opened += [note for note in notes if isinstance(note, IncidentOpened)]

    def beat(self, now: Now, channels: Mapping[int, Engine]) -> list[Evidence]:
        """Pass on what was seen, have looked what is due; return what was kept."""
        inspecting = self._inspecting
        if inspecting is not None and inspecting.done():
            self._inspecting = None
            if (error := inspecting.exception()) is not None:
                # What viewers see is unknown until a look succeeds.
                log.error("air.watch_failed", exc_info=error)
            else:
                for pk, watched in inspecting.result().items():
                    if pk in channels:
                        channels[pk].take_inspected(watched)
        kept = self._kept(now)
        if self._inspecting is None and now.mono - self._inspected >= self._interval:
            self._inspected = now.mono
            folders = {pk: engine.air for pk, engine in channels.items()}
            present = {pk: folder for pk, folder in folders.items() if folder is not None}
            self._inspecting = self._eyes.submit(self._watch.inspect, present)
        return kept

    def _kept(self, now: Now) -> list[Evidence]:
        kept = []
        for done in [one for one in self._keeping if one.done()]:
            self._keeping.remove(done)
            if (error := done.exception()) is not None:
                log.error("evidence.failed", exc_info=error)
            elif (evidence := done.result()) is not None:
                kept.append(evidence)
        opened, self._opened = self._opened, []
        for incident in opened[: max(0, MAX_EVIDENCE_WAITING - len(self._keeping))]:
            hls = process.channel_folder(self._run_dir, incident.channel) / "hls"
            at = now.mono - (now.wall - incident.at)
            self._keeping.append(self._eyes.submit(self._keeper.take, incident, at, hls))
        return kept

    def close(self) -> None:
        """End it at once: what waits is not done any more, for a stop has a few seconds."""
        self._eyes.shutdown(wait=False, cancel_futures=True)
        self._watch.close()
