"""The inspection of a file, from a folder and from a bucket, and the bytes it reads."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import av
import pytest
from av.container import InputContainer

from media_library import storage, tasks
from media_library.analysis import inspection
from media_library.analysis.inspection import Inspection, longest_keyframe_gap, windows
from media_library.conform import loudness
from media_library.conform.conform import Tools
from media_library.conform.loudness import Loudness
from media_library.ffmpeg import mp4
from media_library.ffmpeg.mp4 import Layout
from media_library.location import LocalFile, SignedUrl
from media_library.models import MediaItem
from media_library.tests.clips import hdr, lavfi, make
from streamsite.security.secret import Secret

VIDEO = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac")


# ---- pure ------------------------------------------------------------------------------------


def box(kind: bytes, inside: int) -> bytes:
    return struct.pack(">I4s", 8 + inside, kind) + bytes(inside)


def layout(whole: bytes, size: int | None = None) -> Layout | None:
    return mp4.layout(lambda at, n: whole[at : at + n], len(whole) if size is None else size)


def test_the_index_of_an_mp4_is_detected_at_either_end() -> None:
    head, index, media = box(b"ftyp", 16), box(b"moov", 300), box(b"mdat", 5000)
    assert layout(head + index + media) == Layout("front", 24 + 308 + 5008)
    assert layout(head + media + index) == Layout("end", 24 + 308 + 5008)
    assert layout(head + media) == Layout("", 24 + 5008)


def test_a_box_may_be_long_or_reach_to_the_end() -> None:
    long = struct.pack(">I4sQ", 1, b"mdat", 16 + 100) + bytes(100)
    assert layout(box(b"ftyp", 16) + long + box(b"moov", 9)) == Layout("end", 24 + 116 + 17)
    open_end = struct.pack(">I4s", 0, b"mdat") + bytes(77)
    assert layout(box(b"ftyp", 16) + open_end) == Layout("", 24 + 8 + 77)


def test_a_truncated_file_should_have_more_bytes() -> None:
    whole = box(b"ftyp", 16) + box(b"moov", 300) + box(b"mdat", 5000)
    assert layout(whole[:1000]) == Layout("front", len(whole))


@pytest.mark.parametrize(
    "other", [b"", b"RIFF", b"\x1aE\xdf\xa3" + bytes(100), b"#EXTM3U\n" * 9]
)
def test_a_file_that_is_no_mp4_has_no_layout(other: bytes) -> None:
    result = layout(other)
    assert result is None or not result.index


def test_a_hostile_index_is_read_in_few_steps() -> None:
    reads: list[int] = []

    def read(at: int, length: int) -> bytes:
        reads.append(at)
        return box(b"free", 0) + bytes(8)

    mp4.layout(read, 1 << 40)
    assert len(reads) <= mp4.MAX_BOXES


def test_windows_are_spread_over_a_video_and_cover_a_short_one() -> None:
    assert [window.start for window in windows(3600)] == [360, 1800, 3240]
    short = windows(45)
    assert [window.start for window in short] == [0, 15, 30]
    assert sum(window.seconds for window in short) == 45
    assert [window.start + window.seconds for window in windows(70)][-1] == 70
    assert len(windows(1)) == len(windows(None)) == 1


def test_packets_without_printed_flags_are_keyframes() -> None:
    listing = "#tb 0: 1/10\n0, 0, 0, 1, 9, 0xa\n0, 5, 5, 1, 9, 0xb, F=0x0\n"
    assert longest_keyframe_gap(listing) == pytest.approx(0.6)
    assert longest_keyframe_gap(f"{listing}0, 30, 30, 1, 9, 0xc\n") == pytest.approx(3)
    assert longest_keyframe_gap("#tb 0: 1/10\n0, 5, 5, 1, 9, 0xb, F=0x0\n") is None
    assert longest_keyframe_gap("") is None


def test_the_estimate_is_the_mean_of_energy_without_silence() -> None:
    assert loudness.estimate([Loudness(-20, -3), Loudness(None, -90)]) == -20
    assert loudness.estimate([Loudness(-20, 0), Loudness(-30, 0)]) == pytest.approx(
        -22.6, abs=0.1
    )
    assert loudness.estimate([Loudness(None, 0)]) is None


# ---- files -----------------------------------------------------------------------------------


class _Counting(BaseHTTPRequestHandler):
    """Serves ranges of one file for any path, and counts the bytes."""

    protocol_version = "HTTP/1.1"
    file: Path
    sent: int = 0

    def do_GET(self) -> None:
        size = self.file.stat().st_size
        first, _, last = (
            self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        )
        begin, end = int(first), int(last or size - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {begin}-{end}/{size}")
        self.send_header("Content-Length", str(end - begin + 1))
        self.end_headers()
        with self.file.open("rb") as file:
            file.seek(begin)
            while begin <= end and (piece := file.read(min(65536, end + 1 - begin))):
                try:
                    self.wfile.write(piece)
                except OSError:
                    # The client has enough and closed the connection.
                    self.close_connection = True
                    return
                type(self).sent += len(piece)
                begin += len(piece)

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


@pytest.fixture
def web() -> Iterator[tuple[str, type[_Counting]]]:
    class Handler(_Counting):
        """Counts for this test alone."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", Handler
    server.shutdown()
    thread.join()
    server.server_close()


def inspected(path: Path, url: str = "") -> Inspection:
    def read(at: int, length: int) -> bytes:
        with path.open("rb") as file:
            file.seek(at)
            return file.read(length)

    where = SignedUrl(Secret(f"{url}/film?X-Amz-Signature=c0ffee")) if url else LocalFile(path)
    return inspection.inspect(where, read, path.stat().st_size, tools=Tools(), name=path.name)


@pytest.fixture(scope="module")
def hour(tmp_path_factory: pytest.TempPathFactory, ffmpeg: str) -> Path:
    """An hour of video with its index at the end, some 350 MB."""
    folder = tmp_path_factory.mktemp("hour")
    minutes = make(
        folder / "minutes.mkv",
        *lavfi("testsrc2=s=160x90:r=25:d=120", "sine=440:d=120"),
        *(*VIDEO, "-b:v", "700k", "-minrate", "700k", "-maxrate", "700k", "-bufsize", "700k"),
        *("-g", "75", "-x264-params", "nal-hrd=cbr"),
    )
    loop = ("-stream_loop", "29", "-i", str(minutes), "-c", "copy")
    path = make(folder / "hour.mp4", *loop)
    minutes.unlink()
    return path


@pytest.mark.slow
def test_an_hour_behind_a_url_is_read_only_in_part(
    hour: Path, web: tuple[str, type[_Counting]], record_property: Callable[[str, object], None]
) -> None:
    url, handler = web
    handler.file = hour
    result = inspected(hour, url)
    assert result.probe.seconds == pytest.approx(3600, abs=2)
    assert result.index == "end"
    assert result.loudness == pytest.approx(-21.8, abs=0.5)
    assert result.keyframe_seconds == pytest.approx(3, abs=0.1)
    assert result.strip
    record_property("bytes_read", handler.sent)
    record_property("bytes_of_file", hour.stat().st_size)
    # Bytes that were sent but not read count too: some MB for each of a dozen connections.
    assert handler.sent < hour.stat().st_size / 3


@pytest.mark.slow
def test_a_url_gives_the_same_result_as_the_file(
    hour: Path, web: tuple[str, type[_Counting]]
) -> None:
    url, handler = web
    handler.file = hour
    here, there = inspected(hour), inspected(hour, url)
    assert (there.index, there.probe.colour) == (here.index, here.probe.colour)
    assert there.loudness == pytest.approx(here.loudness, abs=0.2)
    assert there.keyframe_seconds == pytest.approx(here.keyframe_seconds, abs=0.1)


def test_three_thumbnails_are_side_by_side(tmp_path: Path, ffmpeg: str) -> None:
    # Red, then green, then blue, two seconds each; taller than wide.
    colours = "color=red:s=90x160:d=6,drawbox=t=fill:c=lime:enable='between(t,2,4)'"
    path = make(
        tmp_path / "rgb.mp4",
        *lavfi(f"{colours},drawbox=t=fill:c=blue:enable='gte(t,4)'", "sine=d=6"),
        *(*VIDEO, "-g", "5"),
    )
    strip = tmp_path / "strip.jpg"
    strip.write_bytes(inspected(path).strip)
    with av.open(str(strip)) as container:
        assert isinstance(container, InputContainer)
        frame = next(container.decode(video=0)).reformat(format="rgb24")
    assert (frame.width, frame.height) == (3 * inspection.WIDTH, inspection.HEIGHT)
    plane = frame.planes[0]

    def pixel(x: int) -> tuple[int, ...]:
        at = inspection.HEIGHT // 2 * plane.line_size + 3 * x
        return tuple(value > 128 for value in bytes(plane)[at : at + 3])

    middles = [pixel(inspection.WIDTH * place + inspection.WIDTH // 2) for place in range(3)]
    assert middles == [(True, False, False), (False, True, False), (False, False, True)]
    # Letterboxed: beside a tall picture it is black.
    assert pixel(10) == (False, False, False)


def test_hdr_is_detected_and_silence_has_no_loudness(tmp_path: Path, ffmpeg: str) -> None:
    path = make(
        tmp_path / "hdr.mkv",
        *lavfi("testsrc2=s=96x64:d=2", "anullsrc=r=48000:d=2"),
        *("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none"),
        *("-pix_fmt", "yuv420p10le", *hdr("arib-std-b67"), "-shortest"),
    )
    result = inspected(path)
    assert result.probe.colour == "arib-std-b67"
    assert result.loudness is None


def test_a_video_whose_windows_can_not_be_read_is_still_an_item(
    tmp_path: Path, ffmpeg: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its head is intact, and the rest is noise."""
    path = make(
        tmp_path / "noise.mkv", *lavfi("testsrc2=s=96x64:r=25:d=30", "sine=d=30"), *VIDEO
    )
    whole = path.read_bytes()
    # The index is at the end: without it, and amid noise, seeking fails.
    path.write_bytes(whole[: len(whole) // 8] + bytes(len(whole) - len(whole) // 8))
    result = inspected(path)
    assert result.probe.width == 96
    assert "noise.mkv" in caplog.text


@pytest.mark.django_db
@pytest.mark.usefixtures("ffmpeg", "bucket")
def test_an_item_of_a_bucket_is_inspected_and_its_thumbnails_are_stored(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", *lavfi("testsrc2=s=96x64:r=25:d=5", "sine=d=5"), *VIDEO)
    storage.upload(path, "shows/ä b#?.mp4")
    item = MediaItem.objects.create(key="shows/ä b#?.mp4", title="Odd")
    tasks.probe_new()
    item.refresh_from_db()
    assert (item.status, item.fault) == (MediaItem.Status.PROBED, "")
    assert (item.index, item.colour) == ("end", "")
    assert item.loudness_lufs == pytest.approx(-21.8, abs=0.5)
    assert item.keyframe_seconds == pytest.approx(5, abs=0.3)
    assert item.duration_seconds == pytest.approx(5, abs=0.1)
    assert item.thumbnails.startswith("thumbnails/")
    assert storage.read(item.thumbnails, 0, 2) == b"\xff\xd8"
