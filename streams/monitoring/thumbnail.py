"""The preview picture: one frame of the newest segment, made on request.

It is made in the background: a page gets the previous one if a new one takes too long.
"""

from __future__ import annotations

import fcntl
import logging
import time
from pathlib import Path
from typing import Final

from django.conf import settings

from media_library.ffmpeg.runner import Bounds, ToolError, opened, run
from media_library.location import LocalFile
from streams.playout.ffmpeg.process import channel_folder
from streamsite.processes.refreshed import Refreshed

logger = logging.getLogger(__name__)

#: Seconds for which a picture is reused.
PICTURE_TTL_S: Final = 10
#: Seconds. A segment lasts 2 s: older ones belong to a stopped channel.
SEGMENT_MAX_AGE_S: Final = 30
#: Seconds that FFmpeg may take for one frame; measured: 0.1.
FFMPEG_TIMEOUT_S: Final = 5
#: Seconds for which a page waits for a new picture.
PAGE_WAIT_S: Final = 1.0
#: Width of the picture in pixels.
WIDTH: Final = 480


def folder(channel_pk: int) -> Path:
    """Returns the folder in which a channel's processes work."""
    return channel_folder(settings.RUN_DIR, channel_pk)


def picture(channel_pk: int) -> Path | None:
    """Returns a recent JPEG of the channel, or None if nothing is on air.

    It is at most `PICTURE_TTL_S` seconds old, or `SEGMENT_MAX_AGE_S` if a new one takes longer.
    """
    segment = _newest_segment(folder(channel_pk) / "hls")
    if segment is None:
        return None
    kept = folder(channel_pk) / "hls" / "picture.jpg"
    if _age(kept) < PICTURE_TTL_S:
        return kept
    _PICTURES.get(channel_pk, fresh_s=0, wait_s=PAGE_WAIT_S)
    return kept if _age(kept) < SEGMENT_MAX_AGE_S else None


def _make_once(channel_pk: int) -> None:
    """Make a new picture, unless another process is making or has just made one."""
    hls = folder(channel_pk) / "hls"
    segment, kept = _newest_segment(hls), hls / "picture.jpg"
    if segment is None:
        return
    with (folder(channel_pk) / "picture.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if _age(kept) >= PICTURE_TTL_S:
            _make(segment, kept)


#: At most four pages wait for a picture, one second each; the others show the last one.
_PICTURES: Final = Refreshed(_make_once, "pictures", kept_s=0, max_waiting=4, threads=2)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _newest_segment(hls: Path) -> Path | None:
    aged = [(_age(path), path) for path in hls.glob("*.ts")]
    age, newest = min(aged, default=(float("inf"), None))
    return newest if age < SEGMENT_MAX_AGE_S else None


def _make(segment: Path, into: Path) -> None:
    draft = into.with_suffix(".draft")
    with opened(LocalFile(segment)) as source:
        # fmt: off
        command = [
            settings.FFMPEG_PATH, "-nostdin", "-v", "error", "-y",
            "-skip_frame", "nokey", *source.args,
            "-an", "-frames:v", "1", "-vf", f"scale={WIDTH}:-2", "-q:v", "4",
            "-f", "image2", "-c:v", "mjpeg", "-update", "1", str(draft),
        ]
        # fmt: on
        try:
            run(command, bounds=Bounds(seconds=FFMPEG_TIMEOUT_S))
        except ToolError as error:
            # The segment was just deleted, or the machine is too busy: keep the last picture.
            logger.warning("no preview picture of %s: %s", into.parent.name, error)
            return
    # As for the segments: the folder's permissions decide who may read it.
    draft.chmod(0o644)
    draft.replace(into)
