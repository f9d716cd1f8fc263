"""Two hours of an upload by HLS, many times faster than real time, with all that goes wrong.

Run by deploy/bench.sh.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from media_library.house_format import HouseFormat
from streams.playout.outputs import pushers
from streams.tests.bench import clips, hls_receiver
from streams.tests.bench.engine import Engine
from streams.tests.bench.hls_receiver import Receiver
from streams.tests.bench.tls import HERE, Authority
from streams.tests.bench.uploads import KEY, kill, playing
from streams.tests.bench.waiting import until
from streamsite.tests.figures import Figures

pytestmark = [pytest.mark.slow, pytest.mark.measured]

SPEED = 30
#: Few bytes: the names and the order of segments are what counts.
SMALL = HouseFormat(96, 64, 25, 10_000, 16_000)
#: Seconds by the clock between two troubles.
PAUSE_S = 6


class Troubles:
    """What goes wrong, one after the other."""

    def __init__(self, engine: Engine, receiver: Receiver) -> None:
        self.engine = engine
        self.receiver = receiver
        self.kills = {"upload": 0, "hub": 0}
        self.replaced = 0

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        engine = self.engine
        until(lambda: engine.alive() and time.monotonic() >= end, seconds + 5, "time")

    def upload_killed(self) -> None:
        kill(self.engine, pushers.role_name(1))
        self.kills["upload"] += 1

    def hub_killed(self) -> None:
        kill(self.engine, "hub")
        self.kills["hub"] += 1

    def supervisor_replaced(self) -> None:
        self.engine.leave()
        time.sleep(2)
        self.engine.start()
        self.replaced += 1

    def errors(self) -> None:
        """Errors, answers that are lost after the segment was taken, broken connections."""
        self.receiver.trouble = lambda _name, count: {3: 500, 5: 0, 7: -1}.get(count % 9)
        self.wait(2)
        self.receiver.trouble = lambda _name, _count: None

    def slow(self) -> None:
        self.receiver.slow = 0.1
        self.wait(2)
        self.upload_killed()
        self.receiver.slow = 0

    def late_answers(self) -> None:
        def late(_name: str, _count: int) -> int:
            time.sleep(2)
            return 0

        self.receiver.trouble = late
        self.wait(4)
        self.receiver.trouble = lambda _name, _count: None

    def cycle(self) -> Iterator[Callable[[], None]]:
        return itertools.cycle(
            (
                *(self.upload_killed, self.errors, self.slow),
                *(self.hub_killed, self.supervisor_replaced, self.late_answers),
            )
        )


def test_two_hours_arrive_once(
    tmp_path: Path,
    ffmpeg: str,
    monkeypatch: pytest.MonkeyPatch,
    figures: Figures,
) -> None:
    goal = 3600 if figures.exact else 300
    show = clips.prepared(tmp_path, 1, 60, SMALL)
    authority = Authority(tmp_path, "trusted")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with hls_receiver.serve(Receiver(KEY), authority.certificate(*HERE)) as receiver:
        engine, _ = playing(tmp_path / "run", show, show, receiver.address, speed=SPEED)
        troubles = Troubles(engine, receiver)
        began = time.monotonic()
        try:
            engine.start()
            for trouble in troubles.cycle():
                troubles.wait(PAUSE_S)
                if len(receiver.parts) >= goal:
                    break
                trouble()
        finally:
            engine.end()
        # A hub that is killed leaves a gap, which it announces.
        counts = receiver.check(gaps=troubles.kills["hub"])
    figures.record("hours of air", round(counts["segments"] * 2 / 3600, 2))
    figures.record("minutes by the clock", round((time.monotonic() - began) / 60, 1))
    for what, count in {**troubles.kills, "supervisors": troubles.replaced, **counts}.items():
        figures.record(what, count)
    assert (counts["missing"], counts["doubled"]) == (0, 0)
