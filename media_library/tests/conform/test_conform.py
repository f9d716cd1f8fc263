"""Prepared copies join seamlessly: made and played here by the real FFmpeg."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import pytest

from media_library.conform import commands, conform, slate
from media_library.conform.conform import (
    EncodingFailedError,
    Stage,
    TransientError,
    WrongOutputError,
)
from media_library.conform.loudness import Correction
from media_library.ffmpeg.probe import probe
from media_library.ffmpeg.runner import Source
from media_library.house_format import SAMPLE_RATE, HouseFormat, lacks
from media_library.location import LocalFile
from media_library.tests.clips import hdr, lavfi, make, read, turned

TOOLS = conform.Tools()

pytestmark = pytest.mark.usefixtures("ffmpeg")


def small(fps: int = 30) -> HouseFormat:
    return HouseFormat(96, 64, fps, 100_000, 64_000)


#: Videos, audio and encoders of strangers, all outside the house format.
ODD = {
    "wide, mono, 44.1 kHz": (
        *lavfi("testsrc2=s=160x68:r=25:d=1.9", "sine=r=44100:d=1.9"),
        *("-c:v", "libx264", "-c:a", "aac", "-ac", "1"),
    ),
    "no sound, odd rate": (
        *lavfi("testsrc2=s=64x96:r=24000/1001:d=1.3"),
        *("-c:v", "mpeg4"),
    ),
    "audio longer than video, 5.1": (
        *lavfi("smptebars=s=96x64:r=50:d=0.7", "aevalsrc=0.1*sin(880*t):c=5.1:d=2.2"),
        *("-c:v", "libx264", "-c:a", "ac3"),
    ),
    "video longer than audio": (
        *lavfi("testsrc2=s=96x64:r=30:d=2.4", "anoisesrc=r=32000:d=0.4"),
        *("-c:v", "libx264", "-pix_fmt", "yuv444p", "-c:a", "libmp3lame"),
    ),
}


@pytest.fixture(scope="module", params=ODD)
def odd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LocalFile:
    path = tmp_path_factory.mktemp("odd") / "clip.mkv"
    return LocalFile(make(path, *ODD[request.param]))


def test_a_copy_is_exactly_on_the_grid_whatever_the_source(
    odd: LocalFile, tmp_path: Path
) -> None:
    house_format, target = small(), tmp_path / "copy.mp4"
    probed = probe(odd)
    reports: list[tuple[Stage, int]] = []
    frames = conform.conform(
        odd, probed, house_format, target, tools=TOOLS, progress=lambda *at: reports.append(at)
    ).frames
    assert frames % house_format.grid == 0
    assert probed.seconds is not None
    assert house_format.seconds(frames) >= probed.seconds - conform.DURATION_ROUNDING_S
    assert house_format.seconds(frames - house_format.grid) < probed.seconds
    made = read(target)
    assert made.frames["video"] == frames
    assert made.sizes == {(96, 64)}
    assert made.seconds["audio"] == house_format.seconds(frames)
    assert all(0 <= percent < 100 for _, percent in reports)
    stages = list(Stage)
    assert reports == sorted(reports, key=lambda at: stages.index(at[0]))
    assert {stage for stage, _ in reports} == {Stage.MEASURING, Stage.ENCODING, Stage.VERIFYING}
    assert [path.name for path in tmp_path.iterdir()] == ["copy.mp4"]


def play(items: list[tuple[Path, int]], house_format: HouseFormat, target: Path) -> None:
    """Joins items like the engine's players: one FFmpeg each, into one transport stream."""
    offset = Fraction(10)
    with target.open("wb") as feed:
        for path, frames in items:
            subprocess.run(
                (
                    *("ffmpeg", "-v", "error", "-nostdin", "-i", path),
                    *("-map", "0:v:0", "-map", "0:a:0", "-c", "copy"),
                    *("-bsf:a", "noise=amount=0:drop=not(n)"),
                    *("-output_ts_offset", f"{float(offset):.6f}"),
                    *("-muxdelay", "0", "-muxpreload", "0"),
                    *("-mpegts_flags", "+initial_discontinuity+resend_headers"),
                    *("-f", "mpegts", "pipe:1"),
                ),
                stdout=feed,
                check=True,
                timeout=60,
            )
            offset += house_format.seconds(frames)


@pytest.mark.parametrize("fps", [24, 25, 30, 50, 60])
def test_two_copies_and_the_slate_join_without_a_timestamp_jump(
    fps: int, tmp_path: Path
) -> None:
    house_format = small(fps)
    items = []
    for name, video, audio in (
        ("a", "testsrc2=s=160x90:r=30:d=3.1", "sine=440:r=44100:d=3.1"),
        ("b", "mandelbrot=s=96x96:r=25", "sine=880:d=2"),
    ):
        clip = make(tmp_path / f"{name}.mkv", *lavfi(video, audio), "-t", "2.6")
        frames = conform.conform(
            LocalFile(clip),
            probe(LocalFile(clip)),
            house_format,
            tmp_path / f"{name}.mp4",
            tools=TOOLS,
        ).frames
        items.append((tmp_path / f"{name}.mp4", frames))
    frames = house_format.frames_on_grid(slate.DURATION_S)
    path = tmp_path / "slate.mp4"
    conform.write(
        slate.command("ffmpeg", house_format, frames), house_format, frames, path, tools=TOOLS
    )
    items.append((path, frames))

    feed = tmp_path / "feed.ts"
    play(items * 3, house_format, feed)
    played = read(feed)
    # The time base of MPEG-TS is 1/90000 s.
    assert set(played.steps["video"]) == {90_000 // fps}
    assert set(played.steps["audio"]) == {90_000 * 1024 // SAMPLE_RATE}
    assert played.frames["video"] == 3 * sum(frames for _, frames in items)
    assert played.sizes == {(96, 64)}


def test_a_still_picture_takes_as_many_bytes_as_any_other(tmp_path: Path) -> None:
    # Otherwise the feed's pipe would hold minutes of it, and a cut would come minutes late.
    house_format = HouseFormat(160, 90, 30, 300_000, 64_000)
    frames = house_format.frames_on_grid(Fraction(6))
    path = tmp_path / "slate.mp4"
    conform.write(
        slate.command("ffmpeg", house_format, frames), house_format, frames, path, tools=TOOLS
    )
    picture_bits = path.stat().st_size * 8 / float(house_format.seconds(frames))
    assert picture_bits > 0.9 * house_format.video_bitrate


def test_a_copy_with_a_missing_frame_is_discarded(tmp_path: Path) -> None:
    house_format, target = small(), tmp_path / "copy.mp4"
    clip = make(tmp_path / "clip.mkv", *lavfi("testsrc2=s=96x64:r=30:d=1", "sine=d=1"))
    one_less = commands.conforming(
        "ffmpeg", Source(("-i", str(clip))), house_format, 31, correction=Correction()
    )
    with pytest.raises(WrongOutputError, match="is not as requested"):
        conform.write(one_less, house_format, 32, target, tools=TOOLS)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mkv"]


def test_a_damaged_file_is_reported_and_leaves_no_draft(tmp_path: Path) -> None:
    clip = make(tmp_path / "clip.mp4", *lavfi("testsrc2=s=96x64:r=30:d=1", "sine=d=1"))
    probed = probe(LocalFile(clip))
    clip.write_bytes(b"\0" * 5000)
    with pytest.raises(EncodingFailedError, match="FFmpeg could not convert it"):
        conform.conform(LocalFile(clip), probed, small(), tmp_path / "copy.mp4", tools=TOOLS)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_missing_ffmpeg_is_no_fault_of_the_file(tmp_path: Path) -> None:
    clip = make(tmp_path / "clip.mp4", *lavfi("testsrc2=s=96x64:r=30:d=1", "sine=d=1"))
    tools = conform.Tools(ffmpeg="/nowhere/ffmpeg")
    with pytest.raises(TransientError, match="apt install ffmpeg"):
        conform.conform(
            LocalFile(clip), probe(LocalFile(clip)), small(), tmp_path / "c.mp4", tools=tools
        )


def test_an_error_of_the_progress_callback_stops_the_work(tmp_path: Path) -> None:
    clip = make(tmp_path / "clip.mkv", *lavfi("testsrc2=s=96x64:r=30:d=60", "sine=d=60"))

    def enough(*_: object) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        conform.conform(
            LocalFile(clip),
            probe(LocalFile(clip)),
            small(),
            tmp_path / "copy.mp4",
            tools=TOOLS,
            progress=enough,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mkv"]


def colours(path: Path, x: int, y: int) -> tuple[int, int, int]:
    """Returns red, green and blue of a pixel, in a frame of the middle."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    frame = frames[len(frames) // 2].reformat(format="rgb24")
    plane = frame.planes[0]
    red, green, blue = bytes(plane)[y * plane.line_size + 3 * x :][:3]
    return red, green, blue


def conformed(clip: Path, tmp_path: Path, house_format: HouseFormat) -> Path:
    target = tmp_path / "copy.mp4"
    probed = probe(LocalFile(clip))
    conform.conform(LocalFile(clip), probed, house_format, target, tools=TOOLS)
    return target


def test_a_phones_upright_video_is_rotated(tmp_path: Path) -> None:
    # Red above, blue below; the file says that it has to be rotated by 90 degrees.
    halves = "color=red:s=96x64:r=30:d=1,drawbox=x=48:w=48:h=64:c=blue:t=fill"
    clip = make(tmp_path / "flat.mp4", *lavfi(halves, "sine=d=1"), "-c:v", "libx264")
    phone = turned(clip, tmp_path / "phone.mp4")
    probed = probe(LocalFile(phone))
    assert probed.turned
    assert "picture is rotated" in str(lacks(probed))
    assert (probed.width, probed.height) == (64, 96)
    target = conformed(phone, tmp_path, HouseFormat(192, 96, 30, 200_000, 64_000))
    top, bottom = colours(target, 96, 20), colours(target, 96, 76)
    assert {tuple(value > 128 for value in pixel) for pixel in (top, bottom)} == {
        (True, False, False),
        (False, False, True),
    }
    # Black beside it.
    assert max(colours(target, 20, 48)) < 40


def test_hdr_is_tone_mapped_to_sdr(tmp_path: Path) -> None:
    # Half of PQ's scale is about 100 cd/m2, white on an SDR screen: not half as bright.
    grey = "color=0x828282:s=96x64:r=30:d=1,format=yuv420p10le"
    clip = make(
        tmp_path / "hdr.mkv",
        *lavfi(grey, "sine=d=1"),
        *("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none"),
        *hdr("smpte2084"),
    )
    assert commands.tone_maps("ffmpeg"), "Debian's FFmpeg has zscale"
    shown = colours(conformed(clip, tmp_path, small()), 48, 32)
    assert min(shown) > 150


@pytest.mark.parametrize(
    "spoil",
    [
        ("-vf", "scale=128:64"),
        ("-pix_fmt", "yuv444p", "-profile:v", "high444"),
        ("-g", "7", "-keyint_min", "7"),
        ("-bf", "2"),
        ("-color_trc", "smpte170m"),
        ("-ac", "1"),
        ("-ar", "44100"),
    ],
    ids=" ".join,
)
def test_a_copy_that_is_not_as_requested_is_discarded(
    spoil: tuple[str, ...], tmp_path: Path
) -> None:
    house_format = small()
    clip = make(tmp_path / "clip.mkv", *lavfi("testsrc2=s=96x64:r=30:d=3", "sine=d=3"))
    ordered = commands.conforming(
        "ffmpeg", Source(("-i", str(clip))), house_format, 96, correction=Correction()
    )
    if spoil[0] == "-vf":
        ordered = tuple(word.replace("pad=96:64", "pad=128:64") for word in ordered)
    elif spoil[0] == "-color_trc":
        ordered = tuple(
            word.replace("color_trc=bt709", "color_trc=smpte170m") for word in ordered
        )
    else:
        ordered = (*ordered, *spoil)
    with pytest.raises(WrongOutputError, match="is not as requested"):
        conform.write(ordered, house_format, 96, tmp_path / "copy.mp4", tools=TOOLS)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mkv"]
