"""Wheels of yt-dlp for tests, in a folder that pip takes for an index: no network is needed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from zipfile import ZipFile

import yt_dlp

#: What stands in a broken one instead of all of yt-dlp.
BROKEN = {"yt_dlp/__init__.py": b"raise ImportError('made for another Python')\n"}


def wheel(
    folder: Path, version: str, *, content: dict[str, bytes] | None = None, needs: str = ""
) -> None:
    """The yt-dlp that is installed here, under another version; or `content` instead.

    `needs`: another package that it can't do without.
    """
    files = dict(_installed() if content is None else content)
    files["yt_dlp/version.py"] = f"__version__ = {version!r}\n".encode() + _VERSION
    about = f"yt_dlp-{version}.dist-info"
    files[f"{about}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: yt-dlp\nVersion: {version}\nProvides-Extra: default\n"
        "Provides-Extra: curl-cffi\nProvides-Extra: deno\n"
        + (f"Requires-Dist: {needs}\n" if needs else "")
    ).encode()
    files[f"{about}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    files[f"{about}/RECORD"] = "".join(f"{each},,\n" for each in files).encode()
    folder.mkdir(exist_ok=True)
    with ZipFile(folder / f"yt_dlp-{version}-py3-none-any.whl", "w") as made:
        for name, each in files.items():
            made.writestr(name, each)


#: What yt-dlp's own modules take from there.
_VERSION = (
    b"RELEASE_GIT_HEAD = ''\nVARIANT = 'pip'\nUPDATE_HINT = ''\nCHANNEL = 'stable'\n"
    b"ORIGIN = 'yt-dlp/yt-dlp'\n_pkg_version = __version__\n"
)


@cache
def _installed() -> dict[str, bytes]:
    home = Path(yt_dlp.__file__).parent
    return {
        str(each.relative_to(home.parent)): each.read_bytes()
        for each in home.rglob("*.py")
        if "__pycache__" not in each.parts
    }
