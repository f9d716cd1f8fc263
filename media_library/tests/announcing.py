"""A site that announces a film, known to a yt-dlp of the tests' own.

Real yt-dlp in an environment of its own, as an update makes them, that knows one site more.
"""

from __future__ import annotations

import sys
import sysconfig
import venv
from pathlib import Path

from django.conf import settings

from media_library.downloads import ytdlp_versions

#: As YouTube does it: an error, and beside it the moment when it begins.
_EXTRACTOR = """
import yt_dlp
from yt_dlp.extractor.common import InfoExtractor


class AnnouncedIE(InfoExtractor):
    _VALID_URL = r"(?P<url>http://127\\.0\\.0\\.1:\\d+/announced/(?P<id>\\d+))"

    def _real_extract(self, url):
        video = self._match_id(url)
        told = self._download_json(url + ".json", video)
        info = {"id": video, "title": "Nosferatu", "formats": []}
        if "film" in told:
            return {**info, "formats": [{"url": told["film"], "ext": "mp4"}]}
        self.raise_no_formats(told["error"], expected=True, video_id=video)
        return {**info, "live_status": "is_upcoming", "release_timestamp": told["begins"]}


known = yt_dlp.YoutubeDL.add_default_info_extractors


def add(self):
    self.add_info_extractor(AnnouncedIE())
    known(self)


yt_dlp.YoutubeDL.add_default_info_extractors = add
"""


def use() -> None:
    """Let jobs of this test have it."""
    folder = settings.DATA_DIR / "tools" / "yt-dlp" / "announcing"
    venv.create(folder, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages: Path = folder / "lib" / version / "site-packages"
    (packages / "announcing.py").write_text(_EXTRACTOR)
    (packages / "announcing.pth").write_text(
        f"{sysconfig.get_path('purelib')}\nimport announcing\n"
    )
    ytdlp_versions._write(ytdlp_versions.Choice(folder.name, "", untouched=False))
