"""Logos of channels: PNGs, checked before they are stored."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from django.conf import settings

from media_library import storage
from media_library.conform.commands import logo_input
from media_library.ffmpeg import runner
from media_library.ffmpeg.runner import Bounds
from media_library.house_format import Logo

#: Bytes of the file, and pixels of its longer side.
MAX_BYTES: Final = 2 << 20
MAX_SIDE_PIXELS: Final = 4096
_MAGIC: Final = b"\x89PNG\r\n\x1a\n"
_DIGEST_CHARS: Final = 16


class LogoError(Exception):
    """The picture can't be used. `str()` is a sentence for the operator."""


def keep(picture: bytes) -> str:
    """Stores a logo and returns its digest. Raises `LogoError`, `StorageError`."""
    if len(picture) > MAX_BYTES:
        raise LogoError(f"The logo has more than {MAX_BYTES >> 20} MB: make it smaller.")
    if not picture.startswith(_MAGIC):
        raise LogoError("The logo is no PNG: save it as one.")
    digest = hashlib.sha256(picture).hexdigest()[:_DIGEST_CHARS]
    with TemporaryDirectory(prefix="streamsite-logo-") as folder:
        path = Path(folder) / "logo.png"
        path.write_bytes(picture)
        _require_png(path)
        storage.upload(path, Logo(digest).key)
    return digest


def _require_png(path: Path) -> None:
    """Decodes it within limits: a picture that can't be decoded can't be burnt in."""
    shown = ("-show_entries", "frame=width,height", "-of", "json")
    argv = (settings.FFPROBE_PATH, "-v", "error", *shown, *logo_input(path))
    try:
        output = runner.run(argv, bounds=Bounds(seconds=20, memory_bytes=2 << 30))
    except runner.ToolMissingError as error:
        raise LogoError(str(error)) from None
    except runner.ToolError:
        raise LogoError("The logo is damaged: save it as a PNG again.") from None
    frames = json.loads(output or "{}").get("frames", [])
    if len(frames) != 1:
        raise LogoError("The logo is damaged or animated: save it as a still PNG.")
    width, height = int(frames[0]["width"]), int(frames[0]["height"])
    if max(width, height) > MAX_SIDE_PIXELS:
        raise LogoError(
            f"The logo has {width}x{height} pixels: the maximum is {MAX_SIDE_PIXELS} each way."
        )
