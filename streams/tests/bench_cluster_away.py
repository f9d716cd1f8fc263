"""Ends a cluster at random moments and restarts it after twenty seconds.

Runs the product's own cluster, alternately stopped as systemd does and killed, with items of 10
s and more to a recording server. Run by deploy/bench.sh.
"""

from __future__ import annotations

import random
import time
from itertools import pairwise
from pathlib import Path

import pytest

from streams.models import AsRun
from streams.tests.bench import clips
from streams.tests.bench.audit import audit
from streams.tests.bench.clips import TEST_FORMAT
from streams.tests.bench.node import Bench
from streams.tests.bench.rtmp import RtmpServer
from streamsite.tests.figures import Figures

pytestmark = [pytest.mark.slow, pytest.mark.measured]

KEY = "k-cluster-away"
#: Seconds of the items and of an absence.
LENGTHS = (10.0, 12.3, 16.1)
ABSENCE = 20


def test_twenty_absences_of_the_cluster_cost_nothing(
    bench: Bench, server: RtmpServer, tmp_path: Path, figures: Figures
) -> None:
    chance = random.Random(7)  # noqa: S311 - moments, not secrets
    items = [clips.prepared(tmp_path, n, length) for n, length in enumerate(LENGTHS, 11)]
    bench.start()
    channel = bench.channel(*(bench.item(one) for one in items))
    bench.output(channel, server.address, KEY)
    bench.air(channel, 40)
    for number in range(20):
        time.sleep(chance.uniform(2, 2 + max(LENGTHS)))  # the moment
        if number % 2:
            bench.kill_cluster()
        else:
            bench.stop()
        time.sleep(ABSENCE)
        bench.start()
    time.sleep(10)
    bench.halt(channel)
    (recording,) = server.recordings(KEY)
    result = audit(recording, TEST_FORMAT)
    titles = list(AsRun.objects.order_by("started_at", "pk").values_list("title", flat=True))
    order = [one.title for one in items]
    turns = [(a, b) for a, b in pairwise(titles) if order[(order.index(a) + 1) % 3] != b]
    figures.record("seconds recorded", round(result.video.end))
    figures.record("sessions", server.sessions(KEY))
    figures.record("anomalies", len(result.video.anomalies) + len(result.audio.anomalies))
    figures.record("items noted, out of turn", (len(titles), len(turns)))
    assert server.sessions(KEY) == 1
    assert (result.errors, result.video.anomalies, result.audio.anomalies) == ([], [], [])
    assert turns == []
