"""Fixtures of the playout tests: clips, a recording server, a node."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from pytest_django import Settings

from streams.tests.bench import clips
from streams.tests.bench.clips import TEST_FORMAT, Clip
from streams.tests.bench.engine import Engine, MemoryLedger, assignment
from streams.tests.bench.node import Bench
from streams.tests.bench.rtmp import RtmpServer
from streamsite.tests.once import Once


@pytest.fixture(scope="session")
def shelf(once: Once, ffmpeg: str) -> dict[int, Clip]:
    """Prepared clips: 1 to 3 are short and differ in length, 4 is long."""
    lengths = {1: Fraction("2.1"), 2: Fraction(3), 3: Fraction("2.5"), 4: Fraction(25)}
    frames = {n: TEST_FORMAT.frames_on_grid(seconds) for n, seconds in lengths.items()}

    def make(folder: Path) -> None:
        for number, seconds in lengths.items():
            assert clips.prepared(folder, number, float(seconds)).frames == frames[number]

    folder = once("shelf", make)
    return {n: Clip(n, folder / f"clip-{n}.mp4", count) for n, count in frames.items()}


@pytest.fixture(scope="session")
def stream(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two seconds at 30 fps from 10 s on, without B-frames, as in the house format."""
    path: Path = tmp_path_factory.mktemp("mpegts") / "two.ts"
    subprocess.run(
        [
            *("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=96x64:r=30:d=2"),
            *("-f", "lavfi", "-i", "sine=r=48000:d=2", "-c:v", "libx264", "-bf", "0"),
            *("-g", "30", "-c:a", "aac", "-output_ts_offset", "10", "-muxdelay", "0"),
            *("-muxpreload", "0", "-pes_payload_size", "0", "-f", "mpegts", str(path)),
        ],
        check=True,
    )
    return path.read_bytes()


@pytest.fixture
def server(tmp_path: Path, nginx_rtmp: Path) -> Iterator[RtmpServer]:
    """A recording RTMP server."""
    rtmp = RtmpServer(tmp_path / "rtmp", nginx_rtmp)
    rtmp.start()
    yield rtmp
    rtmp.stop()


@pytest.fixture
def bench(
    transactional_db: None, settings: Settings, tmp_path: Path, ffmpeg: str
) -> Iterator[Bench]:
    """A node whose playout cluster is not started yet."""
    made = Bench(tmp_path / "run", tmp_path / "media", tmp_path)
    made.run_dir.mkdir()
    made.media.mkdir()
    settings.RUN_DIR = made.run_dir
    settings.MEDIA_ROOT = made.media
    # Assigned anew, so that Django drops its open storage.
    settings.STORAGES = dict(settings.STORAGES)
    yield made
    made.end()


@pytest.fixture
def node(bench: Bench) -> Bench:
    """A node whose playout cluster runs."""
    bench.start()
    return bench


@pytest.fixture
def book(request: pytest.FixtureRequest, shelf: dict[int, Clip]) -> MemoryLedger:
    """A ledger with one channel; `clips(4, 1, slate=2)` names its items and its slate."""
    named = request.node.get_closest_marker("clips") or pytest.mark.clips(1, slate=2).mark
    items = (shelf[number] for number in named.args)
    return MemoryLedger({1: assignment(*items, slate=shelf[named.kwargs["slate"]])})


@pytest.fixture
def engine(tmp_path: Path, book: MemoryLedger) -> Iterator[Engine]:
    """A supervisor without a database. It is not started yet."""
    made = Engine(tmp_path / "run", book)
    made.run_dir.mkdir()
    yield made
    made.end()
