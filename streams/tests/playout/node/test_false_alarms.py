"""An hour of ordinary material raises no alarm at the shipped thresholds."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from streams.playout.contract.air_flaws import PATIENCE_S
from streams.playout.contract.picture import Flaw
from streams.playout.node.air_watch import AirWatch
from streams.tests.bench import ordinary

BEGAN = 1_000_000.0


@pytest.mark.slow
def test_an_hour_of_ordinary_material_raises_no_alarm(ffmpeg: str, tmp_path: Path) -> None:
    material, hls = tmp_path / "material", tmp_path / "hls"
    material.mkdir()
    hls.mkdir()
    seconds = ordinary.made(material, rounds=3)
    assert seconds >= 3600
    longest = dict.fromkeys(Flaw, 0.0)
    clock = [BEGAN]
    with closing(AirWatch(lambda: clock[0])) as watch:
        for clock[0] in ordinary.windows(material, hls, BEGAN, rounds=3):
            seen = watch.inspect({1: hls})[1]
            assert seen.last is not None
            for flaw, since in seen.since.items():
                longest[flaw] = max(longest[flaw], seen.last.at - since)
            for flaw, (began, ended) in seen.over.items():
                longest[flaw] = max(longest[flaw], ended - began)
    assert {flaw: s for flaw, s in longest.items() if s >= PATIENCE_S[flaw]} == {}
    # The material has what might be mistaken: it would not pass thresholds of no use.
    assert longest[Flaw.BLACK] > 4
    assert longest[Flaw.SILENT] > 8
    assert longest[Flaw.FROZEN] > 60
    assert longest[Flaw.QUIET] > 60
