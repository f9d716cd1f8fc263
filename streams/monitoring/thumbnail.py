"""The preview picture: one frame of the newest segment, made when somebody asks for it.

It is made in the background: a page gets the last one when a newer one takes too long.
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

#: Seconds for which a picture is shown again rather than made anew.
KEPT: Final = 10
#: Seconds. A segment lasts 2 s: an older one belongs to a channel that has stopped.
STALE: Final = 30
#: Seconds FFmpeg may take for one frame; measured: 0.1.
PATIENCE: Final = 5
#: Seconds that a page waits for it.
WAIT: Final = 1.0
#: Pixels.
WIDTH: Final = 480


def folder(channel_pk: int) -> Path:
    """Where a channel's processes work."""
    return channel_folder(settings.RUN_DIR, channel_pk)


def picture(channel_pk: int) -> Path | None:
    """A JPEG of what is on air, at most `KEPT` seconds old, or None where nothing is."""
    segment = _newest_segment(folder(channel_pk) / "hls")
    if segment is None:
        return None
    kept = folder(channel_pk) / "hls" / "picture.jpg"
    if _age(kept) < KEPT:
        return kept
    _PICTURES.get(channel_pk, fresh_s=0, wait_s=WAIT)
    return kept if _age(kept) < STALE else None


def _make_once(channel_pk: int) -> None:
    """Make it anew, unless another process is at it or has done it."""
    hls = folder(channel_pk) / "hls"
    segment, kept = _newest_segment(hls), hls / "picture.jpg"
    if segment is None:
        return
    with (folder(channel_pk) / "picture.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if _age(kept) >= KEPT:
            _make(segment, kept)


#: Pages wait for a picture for a second, four at a time; the others show the last one.
_PICTURES: Final = Refreshed(_make_once, "pictures", kept_s=0, max_waiting=4, threads=2)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _newest_segment(hls: Path) -> Path | None:
    aged = [(_age(path), path) for path in hls.glob("*.ts")]
    age, newest = min(aged, default=(float("inf"), None))
    return newest if age < STALE else None


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
            run(command, bounds=Bounds(seconds=PATIENCE))
        except ToolError as error:
            # A segment just deleted, or a machine too busy: the last picture ages and goes.
            logger.warning("no preview picture of %s: %s", into.parent.name, error)
            return
    # As the segments: who may enter the folder may read it.
    draft.chmod(0o644)
    draft.replace(into)
