"""A site that announces a video, supported by the tests' own yt-dlp.

The real yt-dlp in an environment like those of an update, with support for one more site.
"""

from __future__ import annotations

import sys
import sysconfig
import venv
from pathlib import Path

from django.conf import settings

from media_library.downloads import ytdlp_versions

#: As on YouTube: an error, and beside it the time of the start.
_EXTRACTOR = """
import yt_dlp
from yt_dlp.extractor.common import InfoExtractor


class AnnouncedIE(InfoExtractor):
    _VALID_URL = r"(?P<url>http://127\\.0\\.0\\.1:\\d+/announced/(?P<id>\\d+))"

    def _real_extract(self, url):
        video = self._match_id(url)
        data = self._download_json(url + ".json", video)
        info = {"id": video, "title": "Nosferatu", "formats": []}
        if "video" in data:
            return {**info, "formats": [{"url": data["video"], "ext": "mp4"}]}
        self.raise_no_formats(data["error"], expected=True, video_id=video)
        return {**info, "live_status": "is_upcoming", "release_timestamp": data["begins"]}


add_default = yt_dlp.YoutubeDL.add_default_info_extractors


def add(self):
    self.add_info_extractor(AnnouncedIE())
    add_default(self)


yt_dlp.YoutubeDL.add_default_info_extractors = add
"""


def use() -> None:
    """Makes jobs of this test use it."""
    folder = settings.DATA_DIR / "tools" / "yt-dlp" / "announcing"
    venv.create(folder, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages: Path = folder / "lib" / version / "site-packages"
    (packages / "announcing.py").write_text(_EXTRACTOR)
    (packages / "announcing.pth").write_text(
        f"{sysconfig.get_path('purelib')}\nimport announcing\n"
    )
    ytdlp_versions.write_choice(ytdlp_versions.Choice(folder.name, "", untouched=False))
