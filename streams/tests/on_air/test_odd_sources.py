"""Odd source files, prepared by the product and played in a loop without visible joins."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from media_library import actions, tasks
from media_library.conform import loudness
from media_library.ffmpeg.probe import Probe
from media_library.models import MediaItem, PreparedCopy
from media_library.tests.clips import hdr, lavfi, make
from streams.models import AsRun
from streams.tests.bench.audit import audit
from streams.tests.bench.node import Bench
from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.waiting import until

pytestmark = pytest.mark.slow

KEY = "k-odd"
#: Sources that are quick to make because of their small frames.
H264 = ("-c:v", "libx264", "-preset", "ultrafast")
HEVC = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none")
VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "300k")
#: Every second frame of the middle third is dropped, so frame distances differ.
VARIABLE = ("-vf", "select='not(between(t,1,3)*mod(n,2))'", "-fps_mode", "vfr")


def noise(volume: float, seconds: float) -> str:
    return f"anoisesrc=color=pink:amplitude={volume}:d={seconds}:seed=5"


def peaks(seconds: float) -> str:
    """Quiet, with short loud beats that a plain gain would clip."""
    return f"aevalsrc='(0.02+0.9*lt(mod(t,1),0.03))*sin(2*PI*700*t)':d={seconds}"


SURROUND = "aevalsrc=0.1*sin(880*t)|0.1*sin(990*t)|0.4*sin(2200*t)|0.5*sin(50*t)"
SURROUND += "|0.1*sin(3000*t)|0.1*sin(3300*t):c=5.1:d=4"

#: The files, and what the probe reports as odd in each.
ODD: dict[str, tuple[tuple[str, ...], Callable[[Probe], bool]]] = {
    "25-fps-mono.mp4": (
        (*lavfi("testsrc2=s=160x90:r=25:d=4", "sine=440:r=44100:d=4"), *H264, "-ac", "1"),
        lambda p: (p.fps, p.channels) == (Fraction(25), 1),
    ),
    "ntsc-loud.mkv": (
        (
            *lavfi("smptebars=s=176x144:r=30000/1001:d=4"),
            *("-f", "lavfi", "-i", "aevalsrc='clip(3*sin(2*PI*440*t),-1,1)':d=4"),
            *(*H264, "-c:a", "libmp3lame"),
        ),
        lambda p: (p.fps, p.audio_codec) == (Fraction(30000, 1001), "mp3"),
    ),
    "60-fps-quiet.mp4": (
        (*lavfi("testsrc2=s=160x90:r=60:d=3.4", noise(0.02, 3.4)), *H264),
        lambda p: p.fps == 60,
    ),
    "variable.mp4": (
        (*lavfi("testsrc2=s=160x90:r=30:d=4", noise(0.3, 4)), *VARIABLE, *H264),
        lambda p: p.fps is not None and p.fps not in {30, 25},
    ),
    "surround.mkv": (
        (*lavfi("testsrc2=s=160x90:r=24:d=4", SURROUND), *H264, "-c:a", "ac3"),
        lambda p: p.channels == 6,
    ),
    "mute.mp4": (
        (*lavfi("mandelbrot=s=160x90:r=25"), "-t", "3.2", *H264),
        lambda p: p.audio_codec == "",
    ),
    "portrait.mp4": (
        (*lavfi("testsrc2=s=90x160:r=30:d=3.5", peaks(3.5)), *H264),
        lambda p: p.width < p.height,
    ),
    "phone.mov": (
        (*lavfi("testsrc2=s=160x90:r=30:d=3", noise(0.1, 3)), *H264),
        # Rotated afterwards, see `turned`.
        lambda p: (p.width, p.height) == (90, 160),
    ),
    "422-interlaced.mov": (
        (
            *lavfi("testsrc2=s=160x96:r=25:d=4", "sine=880:r=48000:d=4"),
            *("-vf", "tinterlace=4", "-flags", "+ildct+ilme"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv422p10le"),
            *("-c:a", "pcm_s24le"),
        ),
        lambda p: p.pixel_format == "yuv422p10le",
    ),
    "hevc-hdr.mkv": (
        (
            *lavfi("testsrc2=s=160x90:r=50:d=3.1", peaks(3.1)),
            *(*HEVC, "-pix_fmt", "yuv420p10le", *hdr("smpte2084"), "-c:a", "flac"),
        ),
        lambda p: (p.video_codec, p.colour) == ("hevc", "smpte2084"),
    ),
    "vp9.webm": (
        (*lavfi("testsrc2=s=160x90:r=30:d=5", noise(0.8, 5)), *VP9, "-c:a", "libopus"),
        lambda p: (p.video_codec, p.audio_codec) == ("vp9", "opus"),
    ),
    "3-seconds-moov-at-the-end.mov": (
        (*lavfi("testsrc2=s=160x90:r=30:d=3", "sine=300:r=22050:d=3"), *H264),
        lambda p: p.seconds is not None and abs(p.seconds - 3) < Fraction(1, 10),
    ),
}


def turned(path: Path) -> None:
    """Give a MOV file the matrix of a phone that was held upright."""
    whole = path.read_bytes()
    # From the video track's header: a, b, u, c, d, v in 16.16, not rotated.
    straight = bytes.fromhex("00010000 00000000 00000000 00000000 00010000 00000000")
    upright = bytes.fromhex("00000000 00010000 00000000 ffff0000 00000000 00000000")
    at = whole.index(straight, whole.index(b"tkhd"))
    path.write_bytes(whole[:at] + upright + whole[at + len(straight) :])


@pytest.fixture
def items(bench: Bench, ffmpeg: str) -> list[MediaItem]:
    """The odd files in the storage, inspected by the pool."""
    made = []
    for name, (options, _) in ODD.items():
        path = make(bench.media / name, *options)
        if name == "phone.mov":
            turned(path)
        made.append(MediaItem.objects.create(key=name, title=path.stem))
    tasks.probe_new()
    for item in made:
        item.refresh_from_db()
    return made


def test_odd_sources_join_seamlessly(
    bench: Bench, items: list[MediaItem], server: RtmpServer
) -> None:
    """Each file is as odd as intended, has the target's loudness, and joins without a trace."""
    for item in items:
        assert item.status == MediaItem.Status.PROBED, (item.key, item.fault)
        assert item.probe is not None
        assert ODD[item.key][1](item.probe), (item.key, item.probe)
        assert item.thumbnails, item.key
    by_key = {item.key: item for item in items}
    assert by_key["3-seconds-moov-at-the-end.mov"].index == "end"

    channel = bench.channel(*items)
    for item in items:
        copy = actions.request_prepare(item, channel.house_format)
        assert tasks.prepare_item(copy.pk).startswith("Ready"), item.key
    copies = PreparedCopy.objects.select_related("item")
    lufs_by_key = {copy.item.key: copy.loudness_lufs for copy in copies}
    assert lufs_by_key.pop("mute.mp4") is None
    for key, lufs in lufs_by_key.items():
        assert lufs is not None, key
        assert abs(lufs - loudness.TARGET_LUFS) <= loudness.TOLERANCE_LU, (key, lufs)

    bench.start()
    bench.output(channel, server.address, KEY)
    bench.air(channel)
    # A whole loop, back to its beginning.
    until(lambda: AsRun.objects.count() > len(items) + 2, 120, "each item was on air")
    bench.halt(channel)
    assert server.sessions(KEY) == 1
    recording = audit(server.recordings(KEY)[0], channel.house_format)
    recording.assert_unbroken()
    assert recording.sizes == [(channel.house_format.width, channel.house_format.height)]
    aired = set(AsRun.objects.values_list("title", flat=True))
    assert aired == {item.title for item in items}
