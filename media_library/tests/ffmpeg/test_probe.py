from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from fractions import Fraction
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from media_library.ffmpeg import runner
from media_library.ffmpeg.probe import NotMediaError, NotReadableError, probe
from media_library.location import LocalFile, SignedUrl
from media_library.tests.clips import lavfi, make
from streamsite.security.secret import Secret


class _Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and ignores the query; without ranges, like the worst servers."""

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def clip(folder: Path, ffmpeg: str) -> Path:
    return make(
        folder / "it's a clip.mp4",
        *lavfi("testsrc2=s=96x64:r=30000/1001:d=3", "sine=r=44100:d=3"),
        *("-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", "-ac", "1"),
    )


@pytest.fixture
def web(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_file_is_read_into_values(clip: Path) -> None:
    result = probe(LocalFile(clip))
    assert (result.width, result.height, result.fps) == (96, 64, Fraction(30000, 1001))
    assert (result.video_codec, result.pixel_format) == ("h264", "yuv420p")
    assert (result.audio_codec, result.sample_rate, result.channels) == ("aac", 44_100, 1)
    assert result.seconds is not None
    assert abs(result.seconds - 3) < Fraction(1, 10)


def test_a_url_gives_the_same_result_as_the_file_and_is_in_no_argument(
    clip: Path, web: str
) -> None:
    url = SignedUrl(Secret(f"{web}/it's%20a%20clip.mp4?X-Amz-Signature=c0ffee"))
    assert probe(url) == probe(LocalFile(clip))
    with runner.opened(url) as source:
        assert "c0ffee" not in " ".join(source.args)


def test_a_file_without_sound_has_none(folder: Path) -> None:
    mute = make(folder / "mute.mkv", *lavfi("testsrc2=s=96x64:r=25:d=1"), "-c:v", "libx264")
    result = probe(LocalFile(mute))
    assert (result.audio_codec, result.sample_rate, result.channels) == ("", 0, 0)


def test_a_playlist_with_a_video_extension_is_not_opened(clip: Path, folder: Path) -> None:
    trap = folder / "trap.mp4"
    head = "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n"
    trap.write_text(f"{head}{clip}\n#EXT-X-ENDLIST\n")
    with pytest.raises(NotMediaError, match="Convert it to MP4"):
        probe(LocalFile(trap))


def test_a_list_of_files_with_a_video_extension_is_not_opened(
    clip: Path, folder: Path, web: str
) -> None:
    (folder / "trap.mkv").write_text(f"ffconcat version 1.0\nfile 'file:{clip}'\n")
    with pytest.raises(NotMediaError):
        probe(LocalFile(folder / "trap.mkv"))
    with pytest.raises((NotMediaError, NotReadableError)):
        probe(SignedUrl(Secret(f"{web}/trap.mkv")))


def test_a_file_with_audio_only_is_refused(folder: Path) -> None:
    song = make(folder / "song.m4a", *lavfi("sine=d=1"), "-c:a", "aac")
    with pytest.raises(NotMediaError, match="no video"):
        probe(LocalFile(song))


def test_a_missing_file_or_object_has_another_error_than_a_bad_one(
    folder: Path, web: str
) -> None:
    with pytest.raises(NotReadableError, match="No such file"):
        probe(LocalFile(folder / "nothing.mp4"))
    with pytest.raises(NotReadableError):
        probe(SignedUrl(Secret(f"{web}/nothing.mp4?X-Amz-Signature=c0ffee")))


def test_a_source_that_never_answers_is_given_up(tmp_path: Path) -> None:
    pipe = tmp_path / "silent.mp4"

    os.mkfifo(pipe)
    with pytest.raises(NotReadableError, match="was stopped"):
        probe(LocalFile(pipe), timeout_s=0.3)


def test_a_missing_ffprobe_is_reported_with_the_package(clip: Path) -> None:
    with pytest.raises(NotReadableError, match="apt install ffmpeg"):
        probe(LocalFile(clip), ffprobe="/nowhere/ffprobe")
