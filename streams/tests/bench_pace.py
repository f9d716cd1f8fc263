"""Measures how evenly a destination receives a programme and a live feed.

Run by deploy/bench.sh.
"""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest

from streams.playout.contract.ledger import Aired
from streams.playout.contract.plan import OutputPlan
from streams.tests.bench import clips
from streams.tests.bench.clips import Clip
from streams.tests.bench.engine import Engine, assignment
from streams.tests.bench.feeds import LiveLedger, NginxFeeds
from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.waiting import until
from streams.tests.bench.watch import Watch
from streamsite.security.secret import Secret
from streamsite.tests.figures import Figures

pytestmark = [pytest.mark.slow, pytest.mark.measured]

KEY = "k-pace"
#: Seconds of observation: pauses between bursts grow by at most 0.1 s per segment.
SPAN = 40
#: Maximum seconds of a pause: a quarter of a segment.
LONGEST = 0.5

SOURCES = {
    "still": ("color=c=blue:s=640x360:r=30", "anullsrc=r=44100:cl=stereo"),
    "moving": ("testsrc2=s=640x360:r=30", "sine=r=44100"),
}


def longest(watch: Watch, since: float) -> float:
    """Seconds of the longest pause in the data that arrived since that moment."""
    seen = [(moment, reached) for moment, reached in watch.seen if moment >= since]
    moments = [moment for (_, before), (moment, reached) in pairwise(seen) if reached > before]
    return max(after - before for before, after in pairwise(moments))


@pytest.mark.parametrize("kind", SOURCES)
def test_programme_and_feed_arrive_evenly(
    kind: str,
    shelf: dict[int, Clip],
    server: RtmpServer,
    nginx_rtmp: Path,
    tmp_path: Path,
    figures: Figures,
) -> None:
    picture, sound = SOURCES[kind]
    show = tmp_path / "show.ts"
    clips.run(
        *("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, "-t", "120"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-b:v", "800k"),
        *("-c:a", "aac", "-f", "mpegts", str(show)),
    )
    output = OutputPlan(7, "Main", server.address, Secret(KEY), "1")
    book = LiveLedger({1: assignment(shelf[4], slate=shelf[2], outputs=(output,))})
    engine = Engine(tmp_path / "run", book)
    engine.run_dir.mkdir()
    feeds = NginxFeeds(tmp_path / "ingest", nginx_rtmp, book)
    try:
        engine.start()
        engine.until_state("on_air", 40)
        with Watch(server, KEY) as watch:
            watch.until_more(2)
            began = time.monotonic()
            time.sleep(SPAN)
            figures.record("longest pause of the programme", round(longest(watch, began), 2))
            owner = feeds.publish(show)
            until(lambda: "Live: Ada" in titles(book), 40, "the feed is on")
            # Data sent by the hub now reaches the destination after its lag.
            watch.until_more(6)
            live = time.monotonic()
            time.sleep(SPAN)
            figures.record(f"longest pause of a {kind} feed", round(longest(watch, live), 2))
            owner.end()
        assert longest(watch, began) < LONGEST
    finally:
        engine.end()
        feeds.stop()


def titles(book: LiveLedger) -> list[str]:
    return [note.turn.item.title for note in list(book.notes) if isinstance(note, Aired)]
