from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_library.ffmpeg.probe import Probe
from media_library.house_format import AAC_FRAME, RATES, SAMPLE_RATE, HouseFormat, Logo, lacks

PLAIN = Probe(
    seconds=Fraction(10),
    width=1280,
    height=720,
    fps=Fraction(30),
    video_codec="h264",
    pixel_format="yuv420p",
    audio_codec="aac",
    sample_rate=48_000,
    channels=2,
    keyframe_seconds=5.4,
)


@pytest.mark.parametrize(("fps", "grid"), [(24, 64), (25, 8), (30, 16), (50, 16), (60, 32)])
def test_the_grid_is_the_shortest_span_of_whole_frames_of_both_kinds(
    fps: int, grid: int
) -> None:
    assert HouseFormat(fps=fps).grid == grid


@given(st.sampled_from(RATES), st.fractions(min_value=0, max_value=100_000))
def test_a_length_on_the_grid_is_whole_in_video_and_audio(fps: int, seconds: Fraction) -> None:
    house_format = HouseFormat(fps=fps)
    frames = house_format.frames_on_grid(seconds)
    assert Fraction(frames, fps) * SAMPLE_RATE / AAC_FRAME % 1 == 0
    assert house_format.samples(frames) == Fraction(frames, fps) * SAMPLE_RATE
    assert house_format.seconds(frames) >= seconds
    assert (
        frames == house_format.grid
        or house_format.seconds(frames - house_format.grid) < seconds
    )


def test_a_signature_identifies_the_house_format() -> None:
    house_format = HouseFormat(640, 360, 25, 800_000, 96_000)
    assert HouseFormat.of(house_format.signature) == house_format
    assert house_format.signature == "640x360p25-800k-96k"


def test_a_logo_is_named_in_the_signature_which_fits_its_column() -> None:
    for corner, width in (("tl", 1), ("br", 50)):
        house_format = HouseFormat(
            3840, 2160, 60, 51_000_000, 320_000, Logo("0123456789abcdef", corner, width)
        )
        assert HouseFormat.of(house_format.signature) == house_format
        assert len(house_format.signature) <= 64
        assert house_format.signature != house_format.bare.signature


@pytest.mark.parametrize("wrong", ["", "1280x720", "1280x720p30-3000k-128k.mp4", "axbpc-dk-ek"])
def test_an_invalid_signature_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="not a house format"):
        HouseFormat.of(wrong)


def test_a_file_that_can_be_copied_lacks_nothing_whatever_its_size_and_rate() -> None:
    assert lacks(PLAIN) == ()
    assert lacks(replace(PLAIN, width=854, height=480, fps=Fraction(24000, 1001))) == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"video_codec": "hevc"}, "its video is hevc, not H.264"),
        ({"pixel_format": "yuv420p10le"}, "its video is yuv420p10le, not 8 bit 4:2:0"),
        ({"audio_codec": "mp3"}, "its audio is mp3, not AAC"),
        ({"sample_rate": 44_100}, "its audio has 44100 Hz, not 48000"),
        ({"channels": 6}, "its audio has 6 channels, not 2"),
        ({"audio_codec": "", "sample_rate": 0, "channels": 0}, "it has no audio"),
        # x264's default at 5 and at 25 frames per second, as visible in one window.
        ({"keyframe_seconds": 20.4}, "its keyframes are 20.4 s apart, more than 5.5 s"),
        ({"keyframe_seconds": 10.0}, "its keyframes are 10.0 s apart, more than 5.5 s"),
        ({"keyframe_seconds": None}, "the distance of its keyframes is unknown"),
        ({"trimmed": True}, "its first frames must not be displayed"),
    ],
)
def test_every_problem_of_a_file_has_a_sentence(change: dict[str, object], words: str) -> None:
    assert lacks(replace(PLAIN, **change)) == (words,)  # type: ignore[arg-type]  # fields of any type, or wrong on purpose
