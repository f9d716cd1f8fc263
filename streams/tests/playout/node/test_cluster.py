"""The cluster's master and the supervisor's alive file."""

from __future__ import annotations

import os
import time
from pathlib import Path

from streams.tests.bench.waiting import until
from streamsite.processes.cluster import GuardedCluster, Supervision


def test_a_jump_of_the_wall_clock_does_not_count_as_a_hung_cluster(tmp_path: Path) -> None:
    alive_file = tmp_path / "alive"
    alive_file.touch()
    cluster = GuardedCluster.__new__(GuardedCluster)
    cluster._supervision = Supervision(
        stop_timeout_s=0, heartbeat_file=alive_file, max_silence_s=60
    )
    cluster._heartbeat_mtime_ns, cluster._heartbeat_at = 0, 0.0
    # The state after the clock was set forward by an hour.
    an_hour_ago = time.time() - 3600
    os.utime(alive_file, (an_hour_ago, an_hour_ago))
    assert cluster.silence_s() < 60
    until(lambda: cluster.silence_s() > 0.2, 60, "silence is counted nevertheless")
    alive_file.touch()
    assert cluster.silence_s() < 0.2
