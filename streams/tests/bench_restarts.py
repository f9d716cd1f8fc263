"""Measures a channel while its supervisor is away at random moments.

python -m streams.tests.bench_restarts [TIMES [SECONDS]]

A channel with items of 10 to 16 s plays to a recording server; TIMES (20) times its supervisor
leaves at a random moment and returns after SECONDS (20). Prints the decoder's findings in the
recording, and whether each item was recorded in order.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from streams.tests.bench import clips
from streams.tests.bench.restarts import KEY, Away
from streams.tests.bench.rtmp import RtmpServer

#: Seconds of the items.
LENGTHS = (10.0, 12.3, 16.1)
#: Debian's path.
MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")


def main(times: int = 20, seconds: float = 20.0) -> int:
    """Return the number of anomalies."""
    chance = random.Random(7)  # noqa: S311 - moments, not secrets
    with tempfile.TemporaryDirectory(prefix="bench-restarts-") as name:
        folder = Path(name)
        items = [clips.prepared(folder, n, length) for n, length in enumerate(LENGTHS, 1)]
        server = RtmpServer(folder / "rtmp", MODULE)
        server.start()
        away = Away.of(folder, server, *items, slate=items[0])
        try:
            away.start()
            for number in range(times):
                time.sleep(chance.uniform(2, 2 + max(LENGTHS)))  # the moment
                left = away.left()
                away.engine.leave()
                time.sleep(seconds)  # the absence
                away.restart()
                print(f"{number + 1}: left {left:.1f} s before an item's end", flush=True)
            away.stop()
            result = away.audited()
            aired = away.aired()
        finally:
            away.engine.end()
            server.stop()
        order = [item.title for item in items]
        out_of_turn = sum(
            order[(order.index(before) + 1) % 3] != after for before, after in pairwise(aired)
        )
        anomalies = result.video.anomalies + result.audio.anomalies
        for line in (
            f"{times} absences of {seconds:.0f} s, {result.video.end:.0f} s recorded",
            f"sessions: {server.sessions(KEY)}",
            f"anomalies: {len(anomalies)} {anomalies}",
            f"decoder's complaints: {len(result.errors)}",
            f"items noted: {len(aired)}, out of turn: {out_of_turn}, slates: {away.slates()}",
        ):
            print(line)
        return len(anomalies) + len(result.errors)


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in sys.argv[1:])) > 0)
