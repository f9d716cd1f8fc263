"""The options of a download, and their translation to yt-dlp's. Pure.

Enumerations only: user input never reaches yt-dlp's own options.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
)


class Quality(IntEnum):
    """The maximum height of the picture; the nearest that the site offers is used."""

    BEST = 0
    P2160 = 2160
    P1440 = 1440
    P1080 = 1080
    P720 = 720
    P480 = 480
    P360 = 360
    P240 = 240
    P144 = 144


class Container(StrEnum):
    MP4 = "mp4"
    WEBM = "webm"
    MKV = "mkv"


class Sound(StrEnum):
    """Audio only, in which format; NO is the whole video."""

    NO = ""
    M4A = "m4a"
    MP3 = "mp3"
    OPUS = "opus"
    WAV = "wav"
    FLAC = "flac"


class Subtitles(StrEnum):
    NONE = "none"
    MANUAL = "manual"
    #: Those made by people, or automatic ones if there are none.
    AUTOMATIC = "automatic"


_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,2}")
MAX_LANGUAGES: Final = 10


def _languages(given: tuple[str, ...]) -> tuple[str, ...]:
    if not all(map(_LANGUAGE.fullmatch, given)):
        raise ValueError("A language is written as en, pt-BR or zh-Hans.")
    return tuple(dict.fromkeys(given))


Languages = Annotated[
    tuple[str, ...], Field(max_length=MAX_LANGUAGES), AfterValidator(_languages)
]


class OptionsError(ValueError):
    """The requested option is not allowed. `str()` says which are."""


class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    quality: Quality = Quality.BEST
    container: Container = Container.MP4
    sound: Sound = Sound.NO
    subtitles: Subtitles = Subtitles.NONE
    languages: Languages = ("en",)
    #: Languages into which the subtitles are translated.
    translate: Languages = ()
    thumbnail: StrictBool = True
    metadata: StrictBool = True
    chapters: StrictBool = True

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Creates options from JSON, with defaults for missing ones. Raises `OptionsError`."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            wrong = error.errors(include_url=False)[0]
            if own := wrong.get("ctx", {}).get("error"):
                raise OptionsError(str(own)) from None
            raise OptionsError(f"{wrong['loc'][0]}: {wrong['msg']}.") from None

    def as_json(self) -> dict[str, Any]:
        """Returns the options for JSON."""
        values = self.model_dump(mode="json")
        if not self.translate:
            # Jobs from before the feature have the same profile as those without translations.
            del values["translate"]
        return values

    @property
    def profile(self) -> str:
        """Returns a digest of the options: jobs with the same options have the same profile."""
        text = json.dumps(self.as_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def extension(self) -> str:
        return self.sound.value or self.container.value


# ---- for yt-dlp ------------------------------------------------------------------------------

#: Seconds without a byte after which yt-dlp retries, and its number of retries.
SOCKET_TIMEOUT_S: Final = 20
RETRIES: Final = 5
FRAGMENT_RETRIES: Final = 10
#: Fragments downloaded at once.
CONCURRENT_FRAGMENTS: Final = 4
#: Containers that FFmpeg may open in a downloaded file: see media_library.ffmpeg.runner.
#: ffmetadata holds the chapters, which yt-dlp writes itself.
_OPENED: Final = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,avi,flv,mxf,asf,ogg,aac,mp3,"
)
_FFMPEG_IN: Final = (
    *("-protocol_whitelist", "file,pipe"),
    *("-format_whitelist", _OPENED + "wav,flac,ac3,eac3,ffmetadata"),
)
#: Protocols of formats that use HTTP only.
PROTOCOLS: Final = (
    *("http", "https", "m3u8", "m3u8_native", "http_dash_segments"),
    "http_dash_segments_generator",
)


@dataclass(frozen=True, slots=True)
class Place:
    """The folder, proxy and tools of one job."""

    folder: str
    proxy: str
    ffmpeg: str
    #: False: only sites that yt-dlp knows.
    any_site: bool = False
    #: Whether the folder has a file with cookies.
    cookies: bool = False


COOKIES: Final = "cookies.txt"


def parameters(options: Options, place: Place) -> dict[str, Any]:
    """Returns the parameters of `YoutubeDL` for the video itself, suitable for JSON."""
    return {
        **_common(place),
        **_formats(options),
        "outtmpl": {"default": "media.%(ext)s"},
        "paths": {"home": place.folder, "temp": place.folder},
        "continuedl": True,
        "overwrites": None,
        "concurrent_fragment_downloads": CONCURRENT_FRAGMENTS,
        "writethumbnail": options.thumbnail,
        "postprocessors": _postprocessors(options),
        "postprocessor_args": {"ffmpeg_i": list(_FFMPEG_IN)},
        "noplaylist": True,
        # If an address leads to a list after all, nothing of it is downloaded.
        "playlist_items": "0",
        "fixup": "detect_or_warn",
    }


def subtitle_parameters(options: Options, place: Place) -> dict[str, Any] | None:
    """Returns the parameters of the second pass, which may fail; None: there is none."""
    if options.subtitles is Subtitles.NONE or not options.languages:
        return None
    return {
        **_common(place),
        "outtmpl": {"default": "media.%(ext)s"},
        "paths": {"home": place.folder, "temp": place.folder},
        "skip_download": True,
        "writesubtitles": True,
        "writeautomaticsub": options.subtitles is Subtitles.AUTOMATIC,
        # yt-dlp takes regular expressions; a language has no special characters.
        "subtitleslangs": list(options.languages),
        "subtitlesformat": "vtt/srt/best",
        "noplaylist": True,
        "ignore_no_formats_error": True,
    }


def inspect_parameters(place: Place, *, cap: int) -> dict[str, Any]:
    """Returns the parameters of an inspection: of a list only its first `cap` entries, flat."""
    return {
        **_common(place),
        "extract_flat": "in_playlist",
        "lazy_playlist": True,
        "playlist_items": f"1:{cap}",
        "skip_download": True,
        "ignore_no_formats_error": True,
    }


def _common(place: Place) -> dict[str, Any]:
    return {
        "proxy": place.proxy,
        "geo_verification_proxy": None,
        "socket_timeout": SOCKET_TIMEOUT_S,
        "retries": RETRIES,
        "file_access_retries": 3,
        "fragment_retries": FRAGMENT_RETRIES,
        "extractor_retries": 2,
        "ffmpeg_location": place.ffmpeg,
        # Never an external program for downloads.
        "external_downloader": {"default": "native"},
        "hls_prefer_native": True,
        "skip_unavailable_fragments": False,
        "cachedir": False,
        "cookiefile": f"{place.folder}/{COOKIES}" if place.cookies else None,
        "usenetrc": False,
        "netrc_cmd": None,
        "enable_file_urls": False,
        "allowed_extractors": ["default"] if place.any_site else ["default", "-generic"],
        "js_runtimes": {"deno": {}},
        "remote_components": [],
        "quiet": True,
        "noprogress": True,
        "consoletitle": False,
        "ignoreerrors": False,
    }


def _formats(options: Options) -> dict[str, Any]:
    if options.sound is not Sound.NO:
        codec = {Sound.M4A: "aac", Sound.MP3: "mp3", Sound.OPUS: "opus"}.get(options.sound)
        return {"format": "ba/b", "format_sort": [f"acodec:{codec}"] if codec else []}
    # A sort degrades gracefully; a filter might match nothing.
    lines = [f"res:{options.quality.value}"] if options.quality else ["res"]
    sort_orders: Mapping[Container, Sequence[str]] = {
        # H.264 and AAC take the least work to prepare.
        Container.MP4: (*lines, "vcodec:h264", "acodec:aac", "ext:mp4:m4a"),
        Container.WEBM: (*lines, "vcodec:vp9", "acodec:opus", "ext:webm:webm"),
        Container.MKV: (*lines,),
    }
    return {
        "format": "bv*+ba/b",
        "format_sort": list(sort_orders[options.container]),
        # Matroska holds streams that the requested container can't.
        "merge_output_format": f"{options.container.value}/mkv",
    }


def _postprocessors(options: Options) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    if options.sound is not Sound.NO:
        steps.append(
            {
                "key": "FFmpegExtractAudio",
                "preferredcodec": options.sound.value,
                "preferredquality": "0",
            }
        )
    elif options.container is Container.WEBM:
        # WebM holds only VP8, VP9 and AV1: other videos keep their container.
        steps.append({"key": "FFmpegVideoRemuxer", "preferedformat": "webm>webm/mkv"})
    else:
        steps.append({"key": "FFmpegVideoRemuxer", "preferedformat": options.container.value})
    if options.metadata or options.chapters:
        steps.append(
            {
                "key": "FFmpegMetadata",
                "add_metadata": options.metadata,
                "add_chapters": options.chapters,
                "add_infojson": False,
            }
        )
    return steps
