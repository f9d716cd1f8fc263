"""Where a cut player's stream ends: read from real MPEG-TS."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import pytest

from streams.playout import mpegts

FRAME = Fraction(1, 30)
AUDIO_FRAME = Fraction(1024, 48_000)


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two seconds at 30 fps from 10 s on, without B-frames, as the house has it."""
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


def test_the_end_is_where_the_last_frame_ends(stream: bytes) -> None:
    found = mpegts.tail(stream)
    assert found.missing == 0
    assert found.video_dts is not None
    assert Fraction(found.video_dts, mpegts.CLOCK) + FRAME == 12
    end = mpegts.end(found, Fraction(12), FRAME, AUDIO_FRAME)
    assert end is not None
    assert 12 <= end < 12 + AUDIO_FRAME


def test_a_cut_does_not_wait_for_frames_that_were_to_be_shown() -> None:
    found = mpegts.Tail(12 * mpegts.CLOCK, 6000, None, None, 0)
    ends = [
        mpegts.end(found, Fraction(12), FRAME, AUDIO_FRAME, cut=cut) for cut in (False, True)
    ]
    assert ends == [12 + FRAME + Fraction(1, 15), 12 + FRAME]


def test_it_is_found_from_any_cut_of_the_front(stream: bytes) -> None:
    whole = mpegts.tail(stream)
    for front in (1, 187, 188, 1000, 5_001):
        found = mpegts.tail(stream[front:])
        assert (found.video_dts, found.missing) == (whole.video_dts, 0)


def test_a_packet_cut_short_is_told(stream: bytes) -> None:
    assert mpegts.tail(stream[:-1]).missing == 1
    assert mpegts.tail(stream[: 188 * 40 + 5]).missing == 183


def test_nothing_is_made_of_nothing_and_of_noise() -> None:
    for data in (b"", b"\x47", bytes(5000), bytes(range(256)) * 20):
        assert mpegts.end(mpegts.tail(data), Fraction(10), FRAME, AUDIO_FRAME) is None


def test_timestamps_are_unwrapped_to_the_turn_that_is_meant() -> None:
    turn = Fraction(mpegts.WRAP, mpegts.CLOCK)
    for near in (Fraction(10), turn - 1, turn + 5, 3 * turn + 7):
        ticks = int(near * mpegts.CLOCK) % mpegts.WRAP
        assert mpegts.unwrap(ticks, near + Fraction(1, 2)) == near


def test_a_null_packet_is_one() -> None:
    assert len(mpegts.NULL_PACKET) == mpegts.PACKET
    assert mpegts.tail(mpegts.NULL_PACKET * 10).video_dts is None


def test_a_relay_begins_at_the_last_keyframe_and_its_tables(stream: bytes) -> None:
    """One a second: in two seconds there are two."""
    at = mpegts.keyframe(stream)
    assert at is not None
    first = next(mpegts.pictures(stream[at:]))
    assert (first.keyframe, first.dts) == (True, 11 * mpegts.CLOCK)
    before = mpegts.keyframe(stream[:at])
    assert before is not None
    assert next(mpegts.pictures(stream[before:])).dts == 10 * mpegts.CLOCK
    assert mpegts.keyframe(stream[at + mpegts.PACKET * 20 :]) is None
    assert mpegts.keyframe(b"") is None


@pytest.mark.parametrize("seconds", [Fraction(1, 2), Fraction(3, 4), Fraction(1)])
@pytest.mark.parametrize("front", [0, 188, 1000])
def test_the_beginning_ends_with_a_whole_frame(
    stream: bytes, seconds: Fraction, front: int
) -> None:
    kept = mpegts.head(stream[front:], seconds)
    assert stream[front:].startswith(kept)
    shown = [picture.dts for picture in mpegts.pictures(kept)]
    (start, *_), end = shown, shown[-1]
    more = (1 + mpegts.CHOICE) * FRAME
    assert seconds <= Fraction(end - start, mpegts.CLOCK) + FRAME < seconds + more
    found = mpegts.tail(kept)
    assert found.missing == 0
    last = mpegts.end(found, Fraction(10), FRAME, AUDIO_FRAME)
    assert last is not None
    # Picture and sound end within a frame of each other, and the sound is hardly behind.
    assert abs(last - Fraction(end, mpegts.CLOCK) - FRAME) < FRAME
    assert found.audio_pts is not None
    heard = Fraction(found.audio_pts, mpegts.CLOCK) + AUDIO_FRAME
    assert last - heard <= AUDIO_FRAME / 4


def test_of_less_than_is_asked_for_the_last_frame_is_left_out(stream: bytes) -> None:
    """It may not be whole."""
    kept = mpegts.head(stream[:-188], Fraction(60))
    *others, last = mpegts.pictures(stream)
    assert [picture.dts for picture in mpegts.pictures(kept)] == [p.dts for p in others]
    assert len(kept) == last.at
    assert mpegts.head(b"", Fraction(1)) == b""
