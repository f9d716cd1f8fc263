"""What is kept of the air around an incident, and for how long."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import closing
from io import BytesIO
from pathlib import Path

import av
import pytest
from av.container import InputContainer

from streams.playout.contract.ledger import IncidentOpened
from streams.playout.contract.picture import Segment
from streams.playout.ffmpeg.air_probe import AirDecoder
from streams.playout.node import evidence
from streams.playout.node.evidence import Keeper
from streams.tests.bench.clips import run

AT = 1_000_000.0


def segments(count: int = 10) -> list[Segment]:
    return [Segment(Path(f"{number}.ts"), AT + 2 * number, 2.0) for number in range(count)]


@pytest.mark.parametrize(
    ("at", "kept"),
    [(AT + 9, [2, 3, 4, 5, 6]), (AT - 60, [0, 1, 2, 3, 4]), (AT + 60, [5, 6, 7, 8, 9])],
)
def test_the_seconds_around_the_moment_are_kept(at: float, kept: list[int]) -> None:
    assert [int(one.path.stem) for one in evidence.nearest(segments(), at)] == kept


def test_old_files_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "MAX_BYTES", 2500)
    for number in range(5):
        path = tmp_path / f"{number}.ts"
        path.write_bytes(b"x" * 1000)
        os.utime(path, (AT + number, AT + number))
    evidence.prune(tmp_path, AT + 10)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["3", "4"]
    evidence.prune(tmp_path, AT + 3.5 + evidence.MAX_AGE_S)
    assert [path.stem for path in tmp_path.iterdir()] == ["4"]


@pytest.fixture(scope="module")
def hls(ffmpeg: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A window of ten segments, the newest of which ends now."""
    folder = tmp_path_factory.mktemp("hls")
    run(
        *("-f", "lavfi", "-i", "testsrc2=s=320x180:r=30:d=20"),
        *("-f", "lavfi", "-i", "sine=f=440:r=48000:d=20"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-sc_threshold", "0"),
        *("-c:a", "aac", "-f", "hls", "-hls_time", "2", "-hls_list_size", "0"),
        *("-hls_segment_filename", str(folder / "a-%03d.ts"), str(folder / "live.m3u8")),
    )
    return folder


def ago(seconds: float) -> float:
    return time.monotonic() - seconds


def opened(subject: str) -> IncidentOpened:
    return IncidentOpened(3, 1, subject, None, "degraded", "The picture is black.", AT + 7)


@pytest.mark.slow
@pytest.mark.parametrize(("subject", "clip"), [("picture", True), ("output-7", False)])
def test_a_still_and_ten_seconds_are_kept(
    hls: Path, tmp_path: Path, subject: str, *, clip: bool
) -> None:
    with closing(AirDecoder()) as decoder:
        kept = Keeper(decoder, tmp_path / "kept").take(opened(subject), ago(10), hls)
    assert kept is not None
    with av.open(BytesIO(kept.still), "r", format="mjpeg") as still:
        (frame,) = still.decode(video=0)
    assert (frame.width, frame.height) == (480, 270)
    assert bool(kept.clip) is clip
    if clip:
        video = av.open(str(tmp_path / "kept" / kept.clip))
        assert isinstance(video, InputContainer)
        with video:
            assert sum(1 for _ in video.decode(video=0)) == 300


@pytest.mark.slow
def test_evidence_that_can_t_be_kept_costs_nothing_else(hls: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "hls"
    shutil.copytree(hls, damaged)
    for path in damaged.glob("*.ts"):
        path.write_bytes(b"no video" * 100)
    file_in_the_way = tmp_path / "kept"
    file_in_the_way.touch()
    with closing(AirDecoder()) as decoder:
        assert (
            Keeper(decoder, file_in_the_way).take(opened("picture"), ago(10), damaged) is None
        )
        assert Keeper(decoder, None).take(opened("picture"), ago(10), tmp_path / "gone") is None
        # The decoder lives on.
        assert Keeper(decoder, None).take(opened("picture"), ago(10), hls) is not None
