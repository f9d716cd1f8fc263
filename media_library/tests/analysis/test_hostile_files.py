"""Malicious and damaged files: each gets a fault as a sentence, and the worker continues."""

from __future__ import annotations

import re
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from media_library import storage, tasks
from media_library.conform import conform
from media_library.conform.conform import EncodingFailedError
from media_library.ffmpeg.probe import NotMediaError, probe
from media_library.house_format import HouseFormat
from media_library.location import LocalFile
from media_library.models import MediaItem
from media_library.tests.clips import lavfi, make

HOUSE_FORMAT = HouseFormat(96, 64, 25, 100_000, 64_000)
VIDEO = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac")

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("ffmpeg")]


@pytest.fixture(autouse=True)
def data(settings: Settings, folder: Path, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path / "data"
    settings.RUN_DIR = tmp_path / "run"


@pytest.fixture
def bait() -> Iterator[socket.socket]:
    """A listening socket that must get no connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0)
        yield listening


def no_connection(bait: socket.socket) -> bool:
    try:
        bait.accept()
    except BlockingIOError:
        return True
    return False


def make_video(path: Path, seconds: float = 4, *options: str) -> Path:
    video, sound = f"testsrc2=s=96x64:r=25:d={seconds}", f"sine=d={seconds}"
    return make(path, *lavfi(video, sound), *VIDEO, *options)


def shortened(path: Path, share: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])


def inspect(*paths: Path) -> dict[str, MediaItem]:
    """Returns the pool's results for new items, by file name."""
    for path in paths:
        MediaItem.objects.create(key=path.name, title=path.stem)
    tasks.probe_new()
    return {item.key: item for item in MediaItem.objects.all()}


def playlist_of_files(path: Path, video: Path, address: str) -> None:
    head = "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n"
    path.write_text(f"{head}{video}\n#EXTINF:3,\nhttp://{address}/a.ts\n#EXT-X-ENDLIST\n")


def concat_script(path: Path, video: Path, address: str) -> None:
    path.write_text(f"ffconcat version 1.0\nfile '{video}'\nfile 'http://{address}/a.ts'\n")


def dash_manifest(path: Path, video: Path, address: str) -> None:
    path.write_text(
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" '
        'mediaPresentationDuration="PT3S"><Period><AdaptationSet mimeType="video/mp4">'
        f'<Representation id="1" bandwidth="1"><BaseURL>http://{address}/a.mp4</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>"
    )


@pytest.mark.parametrize(
    "write", [playlist_of_files, concat_script, dash_manifest], ids=lambda write: write.__name__
)
@pytest.mark.parametrize("name", ["trap.mp4", "trap.mkv", "trap.m3u8"])
def test_a_list_with_a_video_extension_reads_nothing(
    write: Callable[[Path, Path, str], None],
    name: str,
    folder: Path,
    tmp_path: Path,
    bait: socket.socket,
) -> None:
    secret = make_video(tmp_path / "secret.mp4")
    write(folder / name, secret, f"127.0.0.1:{bait.getsockname()[1]}")
    (item,) = inspect(folder / name).values()
    assert item.status == MediaItem.Status.FAULT
    assert "The library does not support it" in item.fault
    assert "which only names other files. Convert it to MP4 first" in item.fault
    assert no_connection(bait)
    with pytest.raises(EncodingFailedError):
        conform.conform(
            LocalFile(folder / name), probe(LocalFile(secret)), HOUSE_FORMAT,
            tmp_path / "c.mp4",
            tools=conform.Tools(),
        )  # fmt: skip
    assert no_connection(bait)


@pytest.mark.usefixtures("bucket")
def test_a_list_in_the_bucket_opens_no_other_object(tmp_path: Path) -> None:
    """It is read through an ffconcat list of ours, which must not admit another list."""
    storage.upload(make_video(tmp_path / "film.mp4"), "film.mp4")
    trap = tmp_path / "trap.mp4"
    trap.write_text("ffconcat version 1.0\nfile 'film.mp4'\n")
    storage.upload(trap, "trap.mp4")
    with pytest.raises(NotMediaError):
        probe(storage.locate("trap.mp4"))
    assert probe(storage.locate("film.mp4")).width == 96


def cut_in_the_index(path: Path) -> None:
    make_video(path)
    shortened(path, 0.9)


def cut_in_the_media_data(path: Path) -> None:
    make_video(path, 4, "-movflags", "+faststart")
    shortened(path, 0.6)


def never_closed(path: Path) -> None:
    """Writes a recorder's file after a power failure: an open mdat, and no index."""
    path.write_bytes(struct.pack(">I4s", 16, b"ftyp") + b"isom\0\0\2\0" + bytes(4) + b"mdat")


def empty(path: Path) -> None:
    path.touch()


def noise(path: Path) -> None:
    path.write_bytes(bytes((n * n * 31 + n * 7) % 251 for n in range(200_000)))


def letter(path: Path) -> None:
    path.write_text("Dear Sir or Madam, " * 1000)


def a_folder(path: Path) -> None:
    path.mkdir()


def photograph(path: Path) -> None:
    make(path, *lavfi("testsrc2=s=96x64"), "-frames:v", "1", "-f", "mjpeg")


def song(path: Path) -> None:
    make(path, *lavfi("sine=d=1"), "-c:a", "aac")


def hundred_thousand_hours(path: Path) -> None:
    picture = ("testsrc2=s=96x64:d=1", "sine=d=1")
    make(path, *lavfi(*picture), "-c:v", "libx264", "-c:a", "aac", "-f", "matroska")
    whole = path.read_bytes()
    # The length's id and size; then milliseconds, as a float of eight bytes.
    at = whole.index(b"\x44\x89\x88") + 3
    path.write_bytes(whole[:at] + struct.pack(">d", 1000 * 3600 * 1e5) + whole[at + 8 :])


def enormous_pictures(path: Path) -> None:
    """Some kilobytes that decode to 0.4 GB per picture."""
    picture = ("color=black:s=12000x12000:r=5:d=2",)
    make(path, *lavfi(*picture), "-c:v", "png", "-pix_fmt", "monob", "-f", "matroska")


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (cut_in_the_index, "It is cut off: "),
        (cut_in_the_media_data, "It is cut off: "),
        (never_closed, "It is cut off|It has no index"),
        (empty, "It is empty: upload it again"),
        (noise, "The library does not support it"),
        (letter, "The library does not support it"),
        (a_folder, "is not in the media folder"),
        (photograph, "The library does not support it"),
        (song, "It contains no video"),
        (hundred_thousand_hours, "Its length is given as 100000 hours"),
        (enormous_pictures, "it is damaged, or larger than 8192x4320"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_unusable_file_gets_a_fault_and_the_worker_continues(
    write: Callable[[Path], None], words: str, folder: Path
) -> None:
    bad, good = folder / "a-bad.mp4", folder / "b-good.mp4"
    write(bad)
    make_video(good)
    items = inspect(bad, good)
    assert items["a-bad.mp4"].status == MediaItem.Status.FAULT
    fault = items["a-bad.mp4"].fault
    assert re.search(words, fault), fault
    assert items["b-good.mp4"].status == MediaItem.Status.PROBED


def test_a_header_that_claims_ten_million_frames_is_bounded(folder: Path) -> None:
    path = make_video(folder / "many.mp4", 4, "-movflags", "+faststart")
    whole = bytearray(path.read_bytes())
    # Version and flags, one size for all, and their number; then one run of equal durations.
    sizes, times = whole.index(b"stsz") + 8, whole.index(b"stts") + 12
    whole[sizes : sizes + 8] = struct.pack(">II", 1, 10_000_000)
    whole[times : times + 4] = struct.pack(">I", 10_000_000)
    path.write_bytes(whole)
    good = make_video(folder / "z-good.mp4")
    items = inspect(path, good)
    assert items["many.mp4"].status in {MediaItem.Status.PROBED, MediaItem.Status.FAULT}
    assert items["z-good.mp4"].status == MediaItem.Status.PROBED


def test_a_thousand_streams_are_bounded(folder: Path) -> None:
    one = make(folder / "one.mkv", *lavfi("testsrc2=s=32x32:r=5:d=1"), "-c:v", "mpeg4")
    many = folder / "many.mkv"
    argv = ("ffmpeg", "-v", "error", "-nostdin", "-y", "-i", str(one))
    maps = [option for _ in range(1000) for option in ("-map", "0:v:0")]
    subprocess.run((*argv, *maps, "-c", "copy", str(many)), check=True, timeout=120)
    items = inspect(many)
    assert items["many.mkv"].status in {MediaItem.Status.PROBED, MediaItem.Status.FAULT}


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts"])
def test_preparing_a_truncated_file_fails_with_the_reason(
    name: str, folder: Path, tmp_path: Path
) -> None:
    path = make_video(
        folder / name, 30, *(("-movflags", "+faststart") if ".mp4" in name else ())
    )
    probed = probe(LocalFile(path))
    shortened(path, 0.5)
    with pytest.raises(EncodingFailedError, match="cut off in transfer"):
        conform.conform(
            LocalFile(path), probed, HOUSE_FORMAT, tmp_path / "copy.mp4", tools=conform.Tools()
        )
    assert not (tmp_path / "copy.mp4").exists()
