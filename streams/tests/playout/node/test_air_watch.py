"""What viewers see and hear: black, still, silent, and since when."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streams.playout.contract.air_flaws import (
    PATIENCE_S,
    Watched,
    advance,
    changed,
    is_black,
    is_same,
)
from streams.playout.contract.picture import Flaw, Inspection
from streams.playout.ffmpeg import air_decoder, hls_window
from streams.playout.node.air_watch import AirWatch
from streams.tests.bench.clips import run

BEGAN = 1_000_000.0
DARK = bytes([16] * 576)
NIGHT = bytes([17] * 570 + [90] * 6)
LOUD_ENOUGH = (-20.0,) * 4


def scene(number: int) -> bytes:
    return bytes((pixel * (number + 3)) % 200 + 20 for pixel in range(576))


def sequence(*parts: tuple[bytes, tuple[float, ...]], step: float = 2.0) -> Watched:
    inspections = [
        Inspection(BEGAN + step * n, luma, levels) for n, (luma, levels) in enumerate(parts)
    ]
    return advance(Watched(), inspections)


# ---- the rules -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("luma", "black"),
    [(DARK, True), (NIGHT, False), (bytes([30] * 576), False), (scene(1), False)],
)
def test_a_night_scene_is_not_black(luma: bytes, black: bool) -> None:
    assert is_black(luma) is black


@pytest.mark.parametrize(
    ("change", "same"),
    [({}, True), ({5: 1}, True), ({5: 4}, False), (dict.fromkeys(range(200), 1), False)],
)
def test_a_still_is_the_same_picture_but_for_its_compression(
    change: dict[int, int], same: bool
) -> None:
    picture = scene(1)
    other = bytes(value + change.get(number, 0) for number, value in enumerate(picture))
    assert is_same(picture, other) is same


@pytest.mark.parametrize(
    ("parts", "flaw", "since"),
    [
        # Between two keyframes.
        ([(scene(1), LOUD_ENOUGH), (DARK, LOUD_ENOUGH), (DARK, LOUD_ENOUGH)], Flaw.BLACK, 1.0),
        # The third is the same as the second, which differs from the first.
        ([(scene(n), LOUD_ENOUGH) for n in (1, 2, 2)], Flaw.FROZEN, 1.0),
        # From the second half second on.
        ([(scene(n), (-20.0, -90.0, -90.0, -90.0)) for n in (1,)], Flaw.SILENT, 0.5),
        ([(scene(n), (-55.0,) * 4) for n in (1, 2)], Flaw.QUIET, 0.0),
        ([(scene(n), (-3.0,) * 4) for n in (1, 2)], Flaw.LOUD, 0.0),
    ],
)
def test_a_flaw_begins_where_it_first_shows(
    parts: list[tuple[bytes, tuple[float, ...]]], flaw: Flaw, since: float
) -> None:
    assert sequence(*parts).since == {flaw: BEGAN + since}


def test_a_flaw_lasts_only_if_it_is_there_all_the_time() -> None:
    patience = int(PATIENCE_S[Flaw.BLACK])
    black = [(DARK, LOUD_ENOUGH)] * (patience // 2 + 1)
    before = (scene(1), LOUD_ENOUGH)
    assert sequence(before, *black).lasts(Flaw.BLACK)
    assert not sequence(before, *black[:-1]).lasts(Flaw.BLACK)
    interrupted = sequence(before, *black[:-1], before, *black[:-1])
    assert not interrupted.lasts(Flaw.BLACK)
    over = sequence(before, *black, (scene(2), LOUD_ENOUGH))
    assert not over.since
    # Between the last black keyframe and the next one.
    assert over.over[Flaw.BLACK] == (BEGAN + 1, BEGAN + 2 * len(black) + 1)


def test_what_can_t_be_seen_is_no_flaw() -> None:
    assert not sequence((b"", ()), (b"", ())).since


def test_more_is_inspected_where_a_flaw_begins_or_ends() -> None:
    state = sequence((scene(1), LOUD_ENOUGH))
    assert not changed(Watched(), Inspection(BEGAN, DARK, LOUD_ENOUGH))
    assert changed(state, Inspection(BEGAN + 10, DARK, LOUD_ENOUGH))
    assert not changed(state, Inspection(BEGAN + 10, scene(2), LOUD_ENOUGH))
    assert not changed(state, Inspection(BEGAN + 10, scene(2), (-55.0,) * 4))


# ---- real segments ---------------------------------------------------------------------------
@pytest.fixture(scope="module")
def air(ffmpeg: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 s of air: black from 21 to 45 s, still from 61 s, silent from 31 to 55 s."""
    folder = tmp_path_factory.mktemp("air")
    moving = "testsrc2=s=160x90:r=30:d=61"
    black = "drawbox=enable='between(t,21,44.99)':color=black:t=fill"
    still = "tpad=stop=-1:stop_mode=clone"
    run(
        *("-f", "lavfi", "-i", f"{moving},{black},{still}"),
        *("-f", "lavfi", "-i", "sine=f=440:r=48000"),
        *("-af", "volume=enable='between(t,31,55)':volume=0", "-t", "100"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-sc_threshold", "0"),
        *("-c:a", "aac", "-f", "hls", "-hls_time", "2", "-hls_list_size", "0"),
        *("-hls_segment_filename", str(folder / "a-%03d.ts"), str(folder / "all.m3u8")),
    )
    return folder


def windows(air: Path, folder: Path, step: int = 10) -> Iterator[float]:
    """Show the air as a hub would: ten segments, one more every two seconds."""
    text = (air / "all.m3u8").read_text()
    entries = re.findall(r"#EXTINF:[^\n]*\n[^\n]+\n", text)
    for path in air.glob("*.ts"):
        os.link(path, folder / path.name)
    for shown in range(step // 2, len(entries) + 1, step // 2):
        playlist = folder / "live.m3u8"
        playlist.write_text("#EXTM3U\n" + "".join(entries[max(0, shown - 10) : shown]))
        os.utime(playlist, (time.time(), time.time()))
        yield BEGAN + 2 * shown


@pytest.mark.slow
def test_flaws_of_real_air_are_dated_to_the_second(
    ffmpeg: str, air: Path, tmp_path: Path
) -> None:
    hls = tmp_path / "hls"
    hls.mkdir()
    clock = [BEGAN]
    with closing(AirWatch(lambda: clock[0])) as watch:
        seen = [watch.inspect({7: hls})[7] for clock[0] in windows(air, hls)]
    # The next look after 15 s shows it.
    assert {
        round(one.last.at - BEGAN) for one in seen if one.last and one.lasts(Flaw.BLACK)
    } == {38}
    watched = seen[-1]
    black, silent = watched.over[Flaw.BLACK], watched.over[Flaw.SILENT]
    assert (black[0] - BEGAN, black[1] - BEGAN) == pytest.approx((21.0, 45.0), abs=0.3)
    assert (silent[0] - BEGAN, silent[1] - BEGAN) == pytest.approx((31.0, 55.0), abs=0.6)
    # Not yet for two minutes.
    assert watched.since[Flaw.FROZEN] - BEGAN == pytest.approx(61.0, abs=0.3)


@pytest.mark.slow
def test_a_segment_that_can_t_be_decoded_hides_no_other(
    ffmpeg: str, air: Path, tmp_path: Path
) -> None:
    folders = {}
    for pk in (1, 2, 3):
        folders[pk] = tmp_path / str(pk)
        folders[pk].mkdir()
        next(windows(air, folders[pk]))
    (hls_window.listed(folders[2])[-1].path).unlink()
    (folders[3] / "live.m3u8").unlink()
    with closing(AirWatch()) as watch:
        assert watch.inspect(folders).keys() == {1}


#: A decoder that dies at the segments of one channel.
DIES = """
import importlib.util, os, pathlib
spec = importlib.util.spec_from_file_location("decoder", {path!r})
decoder = importlib.util.module_from_spec(spec)
spec.loader.exec_module(decoder)
real = decoder.inspect
decoder.inspect = lambda path: os._exit(1) if "/bad/" in path else real(path)
decoder.main()
"""


@pytest.mark.slow
def test_a_segment_at_which_the_decoder_dies_hides_no_other_channel(
    ffmpeg: str, air: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "decoder.py"
    program.write_text(DIES.format(path=air_decoder.__file__))
    monkeypatch.setattr(air_decoder, "__file__", str(program))
    folders = {}
    for pk, name in enumerate(("bad", "good", "better"), 1):
        folders[pk] = tmp_path / name
        folders[pk].mkdir()
        next(windows(air, folders[pk]))
    with closing(AirWatch()) as watch:
        watch.inspect(folders)
        assert watch.inspect(folders).keys() == {2, 3}
