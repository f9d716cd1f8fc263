"""Wheels of yt-dlp for tests, in a folder that pip uses as an index: no network is needed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from zipfile import ZipFile

import yt_dlp

#: Content of a broken wheel instead of yt-dlp.
BROKEN = {"yt_dlp/__init__.py": b"raise ImportError('made for another Python')\n"}


def wheel(
    folder: Path, version: str, *, content: dict[str, bytes] | None = None, needs: str = ""
) -> None:
    """Builds a wheel of the installed yt-dlp with another version; or of `content`.

    `needs`: another package that it requires.
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
    files[f"{about}/RECORD"] = "".join(f"{name},,\n" for name in files).encode()
    folder.mkdir(exist_ok=True)
    with ZipFile(folder / f"yt_dlp-{version}-py3-none-any.whl", "w") as made:
        for name, data in files.items():
            made.writestr(name, data)


#: Names that yt-dlp's own modules import from there.
_VERSION = (
    b"RELEASE_GIT_HEAD = ''\nVARIANT = 'pip'\nUPDATE_HINT = ''\nCHANNEL = 'stable'\n"
    b"ORIGIN = 'yt-dlp/yt-dlp'\n_pkg_version = __version__\n"
)


@cache
def _installed() -> dict[str, bytes]:
    home = Path(yt_dlp.__file__).parent
    return {
        str(path.relative_to(home.parent)): path.read_bytes()
        for path in home.rglob("*.py")
        if "__pycache__" not in path.parts
    }
