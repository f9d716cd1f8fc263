"""In- and out-points: a turn is cut to the frame, both from disk and from the storage."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from media_library.location import LocalFile, Location, SignedUrl
from streams.playout.contract.turn import Turn
from streams.playout.ffmpeg import commands, process
from streams.programme.item import Item, Mode
from streams.tests.bench.audit import TS_ROUNDING, audit, marks
from streams.tests.bench.bucket import BucketServer
from streams.tests.bench.clips import TEST_FORMAT, Clip

pytestmark = pytest.mark.slow

#: Seconds: an AAC frame.
AAC = 1024 / 48_000
STEP = TEST_FORMAT.seconds(TEST_FORMAT.grid)
HEAD = Fraction(100)


@pytest.fixture(scope="module")
def places(
    tmp_path_factory: pytest.TempPathFactory, shelf: dict[int, Clip]
) -> Iterator[dict[str, Location]]:
    """The long clip on the disk and in a bucket."""
    bucket = BucketServer(tmp_path_factory.mktemp("bucket"))
    bucket.start()
    bucket.put(shelf[4].path, "clip.mp4")
    yield {"disk": LocalFile(shelf[4].path), "bucket": SignedUrl(bucket.sign("clip.mp4"))}
    bucket.stop()


def played(turn: Turn, location: Location, path: Path) -> Path:
    command = commands.player("ffmpeg", 4000, turn, location, TEST_FORMAT, HEAD)
    with process.hand_over(command) as (argv, pipes), path.open("wb") as out:
        subprocess.run(argv, stdout=out, check=True, timeout=60, pass_fds=pipes)
    return path


@pytest.mark.parametrize("place", ["disk", "bucket"])
@pytest.mark.parametrize("into", [0, 8, 14, 16])
@pytest.mark.parametrize("limit", [None, 9 * STEP])
def test_a_turn_shows_its_part_of_the_item_and_no_more(
    places: dict[str, Location],
    shelf: dict[int, Clip],
    tmp_path: Path,
    place: str,
    into: int,
    limit: Fraction | None,
) -> None:
    item = Item("Clip 4", "clip.mp4", Mode.PREPARED, frames=shelf[4].frames)
    turn = Turn(item, into=Fraction(into), limit=limit)
    length = turn.length(TEST_FORMAT)
    assert length is not None
    path = played(turn, places[place], tmp_path / "out.ts")

    result = audit(path, TEST_FORMAT, rounding=TS_ROUNDING)
    assert result.video.anomalies == result.audio.anomalies == []
    frames = round(length * TEST_FORMAT.fps)
    assert result.frames == frames
    seen = list(marks(path))
    # The last frame is held to the end of the grid.
    last = min(into * TEST_FORMAT.fps + frames, 25 * TEST_FORMAT.fps) - 1
    assert (seen[0].frame, seen[-1].frame) == (into * TEST_FORMAT.fps, last)
    assert seen[0].at == pytest.approx(float(HEAD), abs=0.001)
    assert result.video.end == pytest.approx(float(HEAD + length), abs=0.001)
    # The audio fills the same span; if it starts between two of its frames, the first one is
    # missing.
    missing = frames / TEST_FORMAT.fps / AAC - result.audio.packets
    exact = into % commands.AUDIO_SPAN_S == 0
    assert abs(missing) < 0.01 if exact else 0 <= missing < 1.01
    assert result.audio.end == pytest.approx(float(HEAD + length), abs=0.001 if exact else AAC)
