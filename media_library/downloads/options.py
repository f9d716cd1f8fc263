"""What may be asked of a download, and what that is for yt-dlp. Pure.

Enumerations only: nothing that a person types reaches yt-dlp's own options.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Final, Self


class Quality(IntEnum):
    """The most lines of the picture; the nearest that the site has is taken."""

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
    """Sound alone, in which form; NO is the whole film."""

    NO = ""
    M4A = "m4a"
    MP3 = "mp3"
    OPUS = "opus"
    WAV = "wav"
    FLAC = "flac"


class Subtitles(StrEnum):
    NONE = "none"
    MANUAL = "manual"
    #: Those of people, and of a machine where people made none.
    AUTOMATIC = "automatic"


#: Such as en, pt-BR, zh-Hans.
LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,2}")
MOST_LANGUAGES: Final = 10


class OptionsError(ValueError):
    """What was asked for is none of what may be. `str()` says what may."""


@dataclass(frozen=True, slots=True)
class Options:
    quality: Quality = Quality.BEST
    container: Container = Container.MP4
    sound: Sound = Sound.NO
    subtitles: Subtitles = Subtitles.NONE
    languages: tuple[str, ...] = field(default=("en",))
    #: Into which the subtitles are translated too.
    translate: tuple[str, ...] = ()
    thumbnail: bool = True
    metadata: bool = True
    chapters: bool = True

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """From JSON; what is left out is the default. Raises `OptionsError`."""
        unknown = told.keys() - cls.__dataclass_fields__.keys()
        if unknown:
            raise OptionsError(f"There is no option {min(unknown)}.")
        return cls(
            quality=_one_of(Quality, told, "quality", Quality.BEST),
            container=_one_of(Container, told, "container", Container.MP4),
            sound=_one_of(Sound, told, "sound", Sound.NO),
            subtitles=_one_of(Subtitles, told, "subtitles", Subtitles.NONE),
            languages=_languages(told.get("languages", ("en",))),
            translate=_languages(told.get("translate", ())),
            **{name: _flag(told, name) for name in ("thumbnail", "metadata", "chapters")},
        )

    def told(self) -> dict[str, Any]:
        """As JSON holds it."""
        told = asdict(self)
        if not self.translate:
            # Jobs from before there were translations have the same profile as those without.
            del told["translate"]
        return told

    @property
    def profile(self) -> str:
        """Names what comes of a video with these options: two jobs alike have the same."""
        text = json.dumps(self.told(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def extension(self) -> str:
        return self.sound.value or self.container.value


def _one_of(kind: type[Any], told: Mapping[str, Any], name: str, default: Any) -> Any:
    given = told.get(name, default)
    try:
        return kind(given)
    except ValueError:
        known = ", ".join(str(each.value) for each in kind)
        raise OptionsError(f"{name} must be one of: {known}.") from None


def _flag(told: Mapping[str, Any], name: str) -> bool:
    given = told.get(name, True)
    if not isinstance(given, bool):
        raise OptionsError(f"{name} must be true or false.")
    return given


def _languages(given: object) -> tuple[str, ...]:
    if not isinstance(given, list | tuple) or len(given) > MOST_LANGUAGES:
        raise OptionsError(f"Languages are a list of {MOST_LANGUAGES} at most.")
    for each in given:
        if not isinstance(each, str) or not LANGUAGE.fullmatch(each):
            raise OptionsError("A language is written as en, pt-BR or zh-Hans.")
    return tuple(dict.fromkeys(given))


# ---- for yt-dlp ------------------------------------------------------------------------------

#: Seconds without a byte after which yt-dlp tries again, and how often.
SOCKET_TIMEOUT: Final = 20
RETRIES: Final = 5
FRAGMENT_RETRIES: Final = 10
#: Fragments fetched at once.
AT_ONCE: Final = 4
#: What FFmpeg may open of what was downloaded: see media_library.ffmpeg.runner. ffmetadata
#: holds the chapters, which yt-dlp writes itself.
_OPENED: Final = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,avi,flv,mxf,asf,ogg,aac,mp3,"
)
_FFMPEG_IN: Final = (
    *("-protocol_whitelist", "file,pipe"),
    *("-format_whitelist", _OPENED + "wav,flac,ac3,eac3,ffmetadata"),
)
#: Formats whose bytes go over HTTP alone.
PROTOCOLS: Final = (
    *("http", "https", "m3u8", "m3u8_native", "http_dash_segments"),
    "http_dash_segments_generator",
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one job works, and through what."""

    folder: str
    proxy: str
    ffmpeg: str
    #: False: only sites that yt-dlp knows.
    any_site: bool = False
    #: Whether a file with cookies lies in the folder.
    cookies: bool = False


COOKIES: Final = "cookies.txt"


def parameters(options: Options, place: Place) -> dict[str, Any]:
    """What `YoutubeDL` is made with for the film itself; JSON can hold it."""
    return {
        **_common(place),
        **_formats(options),
        "outtmpl": {"default": "media.%(ext)s"},
        "paths": {"home": place.folder, "temp": place.folder},
        "continuedl": True,
        "overwrites": None,
        "concurrent_fragment_downloads": AT_ONCE,
        "writethumbnail": options.thumbnail,
        "postprocessors": _postprocessors(options),
        "postprocessor_args": {"ffmpeg_i": list(_FFMPEG_IN)},
        "noplaylist": True,
        # Where an address leads to a list after all: none of it.
        "playlist_items": "0",
        "fixup": "detect_or_warn",
    }


def subtitle_parameters(options: Options, place: Place) -> dict[str, Any] | None:
    """What a second pass is made with, whose failure costs no film; None: there is none."""
    if options.subtitles is Subtitles.NONE or not options.languages:
        return None
    return {
        **_common(place),
        "outtmpl": {"default": "media.%(ext)s"},
        "paths": {"home": place.folder, "temp": place.folder},
        "skip_download": True,
        "writesubtitles": True,
        "writeautomaticsub": options.subtitles is Subtitles.AUTOMATIC,
        # yt-dlp takes regular expressions; a language has nothing of theirs in it.
        "subtitleslangs": list(options.languages),
        "subtitlesformat": "vtt/srt/best",
        "noplaylist": True,
        "ignore_no_formats_error": True,
    }


def look_parameters(place: Place, *, cap: int) -> dict[str, Any]:
    """For a look without a download: of a playlist only its first `cap` entries, flat."""
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
        "socket_timeout": SOCKET_TIMEOUT,
        "retries": RETRIES,
        "file_access_retries": 3,
        "fragment_retries": FRAGMENT_RETRIES,
        "extractor_retries": 2,
        "ffmpeg_location": place.ffmpeg,
        # Never another program that would fetch.
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
    # A sort degrades gracefully where a filter would find nothing at all.
    lines = [f"res:{options.quality.value}"] if options.quality else ["res"]
    wanted: Mapping[Container, Sequence[str]] = {
        # H.264 and AAC are what is prepared at least cost.
        Container.MP4: (*lines, "vcodec:h264", "acodec:aac", "ext:mp4:m4a"),
        Container.WEBM: (*lines, "vcodec:vp9", "acodec:opus", "ext:webm:webm"),
        Container.MKV: (*lines,),
    }
    return {
        "format": "bv*+ba/b",
        "format_sort": list(wanted[options.container]),
        # Matroska takes what the container that is wanted can't.
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
        # WebM holds VP8, VP9 and AV1 alone: what is none of these stays as it came.
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
