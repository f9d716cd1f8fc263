"""Finding the end of a cut player's stream in real MPEG-TS."""

from __future__ import annotations

from fractions import Fraction

import pytest

from streams.playout.ffmpeg import mpegts

FRAME = Fraction(1, 30)
AUDIO_FRAME = Fraction(1024, 48_000)


def test_the_end_is_where_the_last_frame_ends(stream: bytes) -> None:
    tail = mpegts.tail(stream)
    assert tail.missing == 0
    assert tail.video_dts is not None
    assert Fraction(tail.video_dts, mpegts.CLOCK) + FRAME == 12
    end = mpegts.end(tail, Fraction(12), FRAME, AUDIO_FRAME)
    assert end is not None
    assert 12 <= end < 12 + AUDIO_FRAME


def test_a_cut_does_not_wait_for_frames_that_were_to_be_shown() -> None:
    tail = mpegts.Tail(12 * mpegts.CLOCK, 6000, None, None, 0)
    ends = [
        mpegts.end(tail, Fraction(12), FRAME, AUDIO_FRAME, cut=cut) for cut in (False, True)
    ]
    assert ends == [12 + FRAME + Fraction(1, 15), 12 + FRAME]


def test_the_end_does_not_depend_on_the_start_offset(stream: bytes) -> None:
    whole = mpegts.tail(stream)
    for front in (1, 187, 188, 1000, 5_001):
        tail = mpegts.tail(stream[front:])
        assert (tail.video_dts, tail.missing) == (whole.video_dts, 0)


def test_an_incomplete_packet_is_reported(stream: bytes) -> None:
    assert mpegts.tail(stream[:-1]).missing == 1
    assert mpegts.tail(stream[: 188 * 40 + 5]).missing == 183


def test_empty_and_random_data_have_no_timestamps() -> None:
    for data in (b"", b"\x47", bytes(5000), bytes(range(256)) * 20):
        assert mpegts.end(mpegts.tail(data), Fraction(10), FRAME, AUDIO_FRAME) is None


def test_timestamps_are_unwrapped_to_the_nearest_turn() -> None:
    turn = Fraction(mpegts.WRAP, mpegts.CLOCK)
    for near in (Fraction(10), turn - 1, turn + 5, 3 * turn + 7):
        ticks = int(near * mpegts.CLOCK) % mpegts.WRAP
        assert mpegts.unwrap(ticks, near + Fraction(1, 2)) == near


def test_the_null_packet_is_valid() -> None:
    assert len(mpegts.NULL_PACKET) == mpegts.PACKET
    assert mpegts.tail(mpegts.NULL_PACKET * 10).video_dts is None


def test_a_relay_begins_at_the_last_keyframe_and_its_tables(stream: bytes) -> None:
    """One keyframe per second: two in two seconds."""
    at = mpegts.keyframe(stream)
    assert at is not None
    first = next(mpegts.video_frames(stream[at:]))
    assert (first.keyframe, first.dts) == (True, 11 * mpegts.CLOCK)
    before = mpegts.keyframe(stream[:at])
    assert before is not None
    assert next(mpegts.video_frames(stream[before:])).dts == 10 * mpegts.CLOCK
    assert mpegts.keyframe(stream[at + mpegts.PACKET * 20 :]) is None
    assert mpegts.keyframe(b"") is None


def assert_ends_together(head: mpegts.Head) -> None:
    """The video ends where its next frame is due, and the audio hardly before it."""
    tail = mpegts.tail(head.data)
    assert head.end is not None
    assert tail.video_dts is not None
    assert tail.audio_pts is not None
    assert Fraction(head.end - tail.video_dts, mpegts.CLOCK) == FRAME
    silence = Fraction(head.end - tail.audio_pts, mpegts.CLOCK) - AUDIO_FRAME
    assert -mpegts.MAX_OVERLAP_TICKS <= silence * mpegts.CLOCK <= mpegts.MAX_GAP_TICKS
    assert tail.missing == 0


@pytest.mark.parametrize("seconds", [Fraction(1, 2), Fraction(3, 4), Fraction(1)])
@pytest.mark.parametrize("front", [0, 188, 1000, 188 * 9 + 7])
def test_the_head_ends_where_video_and_audio_end(
    stream: bytes, seconds: Fraction, front: int
) -> None:
    head = mpegts.head(stream[front:], seconds)
    assert_ends_together(head)
    shown = [picture.dts for picture in mpegts.video_frames(head.data)]
    length = Fraction(shown[-1] - shown[0], mpegts.CLOCK) + FRAME
    assert seconds <= length < seconds + 8 * FRAME


@pytest.mark.parametrize("missing", [188, 188 * 50, 188 * 51 + 3])
def test_the_head_of_a_short_piece_drops_incomplete_frames(stream: bytes, missing: int) -> None:
    data = stream[:-missing]
    head = mpegts.head(data, Fraction(60))
    assert_ends_together(head)
    shown = [picture.dts for picture in mpegts.video_frames(data)]
    assert head.end is not None
    assert 0 <= Fraction(shown[-1] - head.end, mpegts.CLOCK) <= 8 * FRAME


def test_a_broken_feed_ends_where_its_audio_ended(stream: bytes) -> None:
    """Its last frames arrived without audio."""
    sounds = [f for f in mpegts.read_frames(stream, 0) if f.kind in mpegts.AUDIO_IDS]
    last = sounds[-20]
    kept = [
        stream[at : at + mpegts.PACKET]
        for at in range(0, len(stream) - mpegts.PACKET + 1, mpegts.PACKET)
        if at < last.at or mpegts.pid_at(stream, at) != mpegts.pid_at(stream, last.at)
    ]
    assert_ends_together(mpegts.head(b"".join(kept), Fraction(60)))


def test_the_next_frame_is_due_even_if_almost_nothing_waits(
    stream: bytes,
) -> None:
    one, two, *_ = mpegts.video_frames(stream)
    assert mpegts.head(stream[: two.at], Fraction(60)) == mpegts.Head(stream[: one.at], one.dts)
    assert mpegts.head(b"", Fraction(1)) == mpegts.Head(b"", None)
